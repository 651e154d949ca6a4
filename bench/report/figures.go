package report

import (
	"math"
	"slices"

	"fooproxy/bench/load"
)

// Figure is one number that runs are compared by.
type Figure struct {
	Name  string
	Unit  string
	Lower bool // lower is better
	Of    func(*Run) (float64, bool)
}

// Figures are all numbers, in the order of the tables.
var Figures = []Figure{
	{"msgs/s", "1/s", false, func(r *Run) (float64, bool) { return r.Result.PerSec, r.Result.Answers > 0 }},
	{"cpu/msg", "ns", true, func(r *Run) (float64, bool) {
		return usage(r).CPUPerMsg, r.Result.Usage != nil && r.Result.Answers > 0
	}},
	{"p50", "ns", true, func(r *Run) (float64, bool) { return float64(r.Result.Latency().P50), r.Result.Latency().Count > 0 }},
	{"p99", "ns", true, func(r *Run) (float64, bool) { return float64(r.Result.Latency().P99), r.Result.Latency().Count > 0 }},
	{"p99.9", "ns", true, func(r *Run) (float64, bool) { return float64(r.Result.Latency().P999), r.Result.Latency().Count > 0 }},
	{"memory", "B", true, func(r *Run) (float64, bool) { return float64(usage(r).Resident), r.Result.Usage != nil }},
	{"B/conn", "B", true, func(r *Run) (float64, bool) { return usage(r).PerConn, r.Result.Usage != nil }},
	{"csw/s", "1/s", true, func(r *Run) (float64, bool) { return usage(r).Switches, r.Result.Usage != nil }},
	{"conns/s", "1/s", false, func(r *Run) (float64, bool) {
		return float64(r.Result.Closed) / max(r.Result.Elapsed.Seconds(), 1e-9), r.Result.Closed > 0
	}},
}

// Stat is the median of several runs and how far they lie apart.
type Stat struct {
	Median float64
	Spread float64 // (largest − smallest) / median
	N      int
}

// FigureNamed finds a figure; it panics on a name that is not in Figures.
func FigureNamed(name string) Figure {
	i := slices.IndexFunc(Figures, func(f Figure) bool { return f.Name == name })
	return Figures[i]
}

// Values are the figure of each run that has it.
func (c *Cell) Values(f Figure) (values []float64) {
	if c == nil {
		return nil
	}
	for i := range c.Runs {
		if v, ok := f.Of(&c.Runs[i]); ok {
			values = append(values, v)
		}
	}
	return values
}

// Stat is the median and spread of a figure.
func (c *Cell) Stat(f Figure) Stat { return statOf(c.Values(f)) }

func statOf(values []float64) Stat {
	if len(values) == 0 {
		return Stat{Median: math.NaN()}
	}
	m := Median(values)
	return Stat{m, (slices.Max(values) - slices.Min(values)) / m, len(values)}
}

// Ratio is the median of the ratios of two cells' runs, round by round: what drifts between rounds cancels out.
func Ratio(f Figure, of, to *Cell) Stat { return statOf(ratios(f, of, to)) }

// ratios are those of the runs of the same round.
func ratios(f Figure, of, to *Cell) (values []float64) {
	if of == nil || to == nil {
		return nil
	}
	for i := range of.Runs {
		v, ok := f.Of(&of.Runs[i])
		for j := range to.Runs {
			if base, known := f.Of(&to.Runs[j]); ok && known && to.Runs[j].Round == of.Runs[i].Round && base != 0 {
				values = append(values, v/base)
			}
		}
	}
	return values
}

// Median of values, which stay in their order.
func Median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	n := len(s)
	if n == 0 {
		return math.NaN()
	}
	return (s[(n-1)/2] + s[n/2]) / 2
}

// usage is what the target used, zero when it was not measured.
func usage(r *Run) load.TargetUsage {
	if r.Result.Usage == nil {
		return load.TargetUsage{}
	}
	return *r.Result.Usage
}
