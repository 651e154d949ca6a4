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
	// Turn is the figure of one turn, nil when it is known of whole runs only. A run's figure is then the median of its turns: what
	// happened to the machine during one of them does not show.
	Turn func(*load.Turn) (float64, bool)
}

// Figures are all numbers, in the order of the tables.
var Figures = []Figure{
	{
		"msgs/s", "1/s", false,
		func(r *Run) (float64, bool) { return r.Result.PerSec, r.Result.Answers > 0 },
		func(t *load.Turn) (float64, bool) { return float64(t.Answers) / t.Elapsed.Seconds(), t.Answers > 0 },
	},
	{
		"cpu/msg", "ns", true,
		func(r *Run) (float64, bool) { return usage(r).CPUPerMsg, r.Result.Usage != nil && r.Result.Answers > 0 },
		func(t *load.Turn) (float64, bool) {
			return float64(t.CPU) / float64(t.Answers), t.Answers > 0 && t.CPU > 0
		},
	},
	{"p50", "ns", true, func(r *Run) (float64, bool) { return float64(r.Result.Latency().P50), r.Result.Latency().Count > 0 }, nil},
	{
		"p99", "ns", true,
		func(r *Run) (float64, bool) { return float64(r.Result.Latency().P99), r.Result.Latency().Count > 0 },
		func(t *load.Turn) (float64, bool) { return float64(t.P99), t.P99 > 0 },
	},
	{"p99.9", "ns", true, func(r *Run) (float64, bool) { return float64(r.Result.Latency().P999), r.Result.Latency().Count > 0 }, nil},
	{"memory", "B", true, func(r *Run) (float64, bool) { return float64(usage(r).Resident), r.Result.Usage != nil }, nil},
	{"B/conn", "B", true, func(r *Run) (float64, bool) { return usage(r).PerConn, r.Result.Usage != nil }, nil},
	{"csw/s", "1/s", true, func(r *Run) (float64, bool) { return usage(r).Switches, r.Result.Usage != nil }, nil},
	{
		"conns/s", "1/s", false,
		func(r *Run) (float64, bool) {
			return float64(r.Result.Closed) / max(r.Result.Elapsed.Seconds(), 1e-9), r.Result.Closed > 0
		},
		func(t *load.Turn) (float64, bool) { return float64(t.Closed) / t.Elapsed.Seconds(), t.Closed > 0 },
	},
}

// of is the figure of a run.
func (f *Figure) of(r *Run) (float64, bool) {
	if turns := f.turns(r); len(turns) > 0 {
		return Median(turns), true
	}
	return f.Of(r)
}

// turns are the figures of a run's turns; nil when one has none, so that two runs can be compared turn by turn.
func (f *Figure) turns(r *Run) (values []float64) {
	if f.Turn == nil {
		return nil
	}
	for i := range r.Result.Turns {
		v, ok := f.Turn(&r.Result.Turns[i])
		if !ok {
			return nil
		}
		values = append(values, v)
	}
	return values
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
		if v, ok := f.of(&c.Runs[i]); ok {
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
		for j := range to.Runs {
			if to.Runs[j].Round != of.Runs[i].Round {
				continue
			}
			if ratio, ok := f.ratio(&of.Runs[i], &to.Runs[j]); ok {
				values = append(values, ratio)
			}
		}
	}
	return values
}

// ratio compares two runs of one round: turn by turn where there are as many of both, which were made next to each other.
func (f *Figure) ratio(of, to *Run) (float64, bool) {
	if a, b := f.turns(of), f.turns(to); len(a) == len(b) && len(a) > 0 {
		for i := range a {
			a[i] /= b[i]
		}
		return Median(a), true
	}
	a, ok := f.of(of)
	b, known := f.of(to)
	return a / b, ok && known && b != 0
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
