package sys

import "slices"

// Batches collects the times of batches of work. Their median is what the work costs when nobody else uses the CPU: a batch
// in which the thread was interrupted lies above it, unless that happens to more than half of them.
type Batches struct{ perUnit []float64 }

// Add notes that units of work took ns.
func (b *Batches) Add(ns, units int64) { b.perUnit = append(b.perUnit, float64(ns)/float64(units)) }

// Median is the time per unit in nanoseconds, 0 when nothing was added.
func (b *Batches) Median() float64 {
	if len(b.perUnit) == 0 {
		return 0
	}
	slices.Sort(b.perUnit)
	return b.perUnit[len(b.perUnit)/2]
}
