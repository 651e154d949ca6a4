package report

import (
	"fmt"
	"io"
	"math"
	"slices"
)

// Change is one figure of one cell that two reports have in common.
type Change struct {
	Workload, Target, Figure string
	Before, After            float64 // medians
	Relative                 float64 // After / Before − 1; of the ratios to the base line when both have one
	ByRatio                  bool
	P                        float64 // chance to see such a difference when nothing has changed
	N                        [2]int
}

// Significant tells whether the change is one: improbable by chance, and not tiny.
func (c *Change) Significant(alpha, least float64) bool {
	return c.P < alpha && math.Abs(c.Relative) >= least
}

// diffFigures are those that a diff looks at.
var diffFigures = []string{"msgs/s", "cpu/msg", "p50", "p99", "conns/s", "B/conn"}

// Diff compares what two reports have in common. Where both have the same base line, the ratios to it are compared, round by
// round: a machine that is slower today is no change of the target. The base line itself is compared as it is.
func Diff(before, after *Report) (changes []Change) {
	for _, cell := range after.Cells {
		old := before.Cell(cell.Workload, cell.Target)
		if old == nil || old.Failure != "" || cell.Failure != "" {
			continue
		}
		for _, name := range diffFigures {
			f := FigureNamed(name)
			a, b := old.Values(f), cell.Values(f)
			if len(a) == 0 || len(b) == 0 || !meaningful(after, cell.Workload, name) {
				continue
			}
			c := Change{
				Workload: cell.Workload, Target: cell.Target, Figure: name,
				Before: Median(a), After: Median(b), N: [2]int{len(a), len(b)},
			}
			if before.Baseline == after.Baseline && cell.Target != after.Baseline {
				ra := ratios(f, old, before.Cell(cell.Workload, before.Baseline))
				rb := ratios(f, &cell, after.Cell(cell.Workload, after.Baseline))
				if len(ra) > 0 && len(rb) > 0 {
					a, b, c.ByRatio = ra, rb, true
				}
			}
			c.Relative = Median(b)/Median(a) - 1
			c.P = MannWhitney(a, b)
			changes = append(changes, c)
		}
	}
	return changes
}

// meaningful leaves out the figures that a workload does not print.
func meaningful(r *Report, workload, figure string) bool {
	for _, w := range r.Workloads {
		if w.Name == workload {
			return slices.Contains(columnsOf(&w), figure)
		}
	}
	return false
}

// WriteDiff prints the changes that are significant, or all, and how many could be chance.
func WriteDiff(w io.Writer, changes []Change, alpha, least float64, all bool) (significant int) {
	tooFew := 0
	for _, c := range changes {
		if smallestP(c.N[0], c.N[1]) >= alpha {
			tooFew++
		}
		verdict := ""
		if c.Significant(alpha, least) {
			significant++
			verdict = "worse"
			if (c.Relative < 0) == FigureNamed(c.Figure).Lower {
				verdict = "better"
			}
		} else if !all {
			continue
		}
		unit, by := FigureNamed(c.Figure).Unit, ""
		if c.ByRatio {
			by = " relative to the base line"
		}
		fmt.Fprintf(w, "%-13s %-16s %-8s %10s → %-10s %+6.1f %%%s  p=%.4f  n=%d+%d  %s\n", c.Workload, c.Target, c.Figure,
			Format(c.Before, unit), Format(c.After, unit), 100*c.Relative, by, c.P, c.N[0], c.N[1], verdict)
	}
	fmt.Fprintf(w, "%d of %d figures changed by %.0f %% or more (two-sided Mann-Whitney, p < %g; by chance alone %.1f would be below that p)\n",
		significant, len(changes), 100*least, alpha, alpha*float64(len(changes)))
	if tooFew > 0 {
		fmt.Fprintf(w, "%d figures have too few runs to ever reach p < %g\n", tooFew, alpha)
	}
	return significant
}
