package report

import (
	"fmt"
	"io"
)

// WriteMarkdown prints one figure of every workload and target as a Markdown table, with the ratio to the base line.
func (r *Report) WriteMarkdown(w io.Writer, figure string) {
	f := FigureNamed(figure)
	fmt.Fprintf(w, "| %s |", figure)
	rule := "|---|"
	for _, t := range r.Targets {
		if t.Missing == "" {
			fmt.Fprintf(w, " %s |", t.Name)
			rule += "---:|"
		}
	}
	fmt.Fprintf(w, "\n%s\n", rule)
	for _, wl := range r.Workloads {
		if !meaningful(r, wl.Name, figure) {
			continue
		}
		fmt.Fprintf(w, "| %s |", wl.Name)
		for _, t := range r.Targets {
			if t.Missing != "" {
				continue
			}
			cell := r.Cell(wl.Name, t.Name)
			s := cell.Stat(f)
			switch ratio := Ratio(f, cell, r.Cell(wl.Name, r.Baseline)); {
			case s.N == 0:
				fmt.Fprint(w, " – |")
			case ratio.N == 0 || t.Name == r.Baseline:
				fmt.Fprintf(w, " %s |", Format(s.Median, f.Unit))
			default:
				fmt.Fprintf(w, " %s ×%.2f |", Format(s.Median, f.Unit), ratio.Median)
			}
		}
		fmt.Fprintln(w)
	}
}
