package stats

import "math"

// Distribution is a reader's sum of histograms: durations in ns. The zero value is empty.
type Distribution struct {
	Count uint64 // durations
	Sum   uint64 // ns
	Max   int64  // the longest, exact

	counts [buckets]uint64
}

// Add adds what h has published. While h's writer publishes, Sum may be up to one turn ahead of Count; the counts
// themselves always agree with each other, and from one Add to the next none ever shrinks.
func (d *Distribution) Add(h *Histogram) {
	for i := range h.buckets {
		n := h.buckets[i].open.Load()
		d.counts[i] += n
		d.Count += n
	}
	d.Sum += h.openSum.Load()
	d.Max = max(d.Max, int64(min(h.openMax.Load(), math.MaxInt64)))
}

// Sub leaves what has been added since earlier, which d has grown from. Max becomes the upper end of the highest bucket left.
func (d *Distribution) Sub(earlier *Distribution) {
	longest := d.Max
	d.Max = 0
	for i := range d.counts {
		d.counts[i] -= earlier.counts[i]
		if d.counts[i] != 0 {
			_, hi := bucketRange(i)
			d.Max = hi
			if i == buckets-1 {
				d.Max = longest
			}
		}
	}
	d.Max = min(d.Max, longest)
	d.Count -= earlier.Count
	d.Sum -= earlier.Sum
}

// Quantile returns the smallest duration in ns, to three digits, such that a share q in [0, 1] of all are not longer; 0
// when there are none. It is the upper end of a bucket, as HdrHistogram gives it, and never above Max.
func (d *Distribution) Quantile(q float64) int64 {
	rank := max(uint64(math.Ceil(min(max(q, 0), 1)*float64(d.Count))), 1)
	var n uint64
	for i, c := range d.counts {
		n += c
		if n >= rank {
			_, hi := bucketRange(i)
			if i == buckets-1 {
				return d.Max
			}
			return min(hi, d.Max)
		}
	}
	return d.Max
}

// Mean returns the average in ns, 0 when there are none.
func (d *Distribution) Mean() float64 {
	if d.Count == 0 {
		return 0
	}
	return float64(d.Sum) / float64(d.Count)
}

// CountUpTo returns how many durations are at most ns. Those in the bucket of ns itself, at most a thousandth away, are
// counted in.
func (d *Distribution) CountUpTo(ns int64) uint64 {
	if ns < 0 {
		return 0
	}
	if ns >= valueMax {
		return d.Count
	}
	var n uint64
	for _, c := range d.counts[:bucketOf(uint64(ns))+1] {
		n += c
	}
	return n
}

// Each calls f with every bucket that has a count, in rising order: its lowest and highest duration in ns, and how many.
// The last bucket's highest is 68.7 s, whatever it holds.
func (d *Distribution) Each(f func(lo, hi int64, n uint64)) {
	for i, c := range d.counts {
		if c != 0 {
			lo, hi := bucketRange(i)
			f(lo, hi, c)
		}
	}
}
