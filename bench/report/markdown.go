package report

import (
	"fmt"
	"io"
	"math"
	"slices"
)

// peers are the programs that a reader would use instead.
var peers = []string{"haproxy", "nginx"}

// WriteMarkdown prints the figure that matters of every workload and target as a Markdown table. In brackets stand the
// ratio to the base line and, for our engines, that to the better one of the peers where both were measured.
func (r *Report) WriteMarkdown(w io.Writer) {
	var targets []Target
	head, rule := "| workload | figure |", "|---|---|"
	for _, t := range r.Targets {
		if t.Missing == "" && !t.Direct {
			targets = append(targets, t)
			head += " " + t.Name + " |"
			rule += "---:|"
		}
	}
	fmt.Fprintf(w, "%s\n%s\n", head, rule)
	for i := range r.Workloads {
		wl := &r.Workloads[i]
		f, label := wl.figure()
		fmt.Fprintf(w, "| %s | %s |", wl.Title(), label)
		for _, t := range targets {
			fmt.Fprintf(w, " %s |", r.markdownEntry(wl.Name, &t, f))
		}
		fmt.Fprintln(w)
	}
	r.writeHeadroom(w)
}

// Title is what a workload is called in a table that has little room.
func (w *Workload) Title() string {
	if w.Short != "" {
		return w.Short
	}
	return w.Name
}

// figure is the one that a workload is about.
func (w *Workload) figure() (f Figure, label string) {
	switch {
	case w.Idle:
		return FigureNamed("B/conn"), "resident per connection"
	case w.Churn:
		return FigureNamed("conns/s"), "connections/s"
	case w.Open:
		return FigureNamed("p99"), "p99"
	}
	return FigureNamed("cpu/msg"), "CPU/message"
}

func (r *Report) markdownEntry(workload string, t *Target, f Figure) string {
	cell := r.Cell(workload, t.Name)
	s := cell.Stat(f)
	if s.N == 0 {
		return "–"
	}
	text := Format(s.Median, f.Unit)
	if t.Name == r.Baseline {
		return text
	}
	ratio := Ratio(f, cell, r.Cell(workload, r.Baseline))
	if ratio.N == 0 {
		return text
	}
	best, ok := r.toBest(workload, cell, f)
	if !ok || !t.Engine {
		return fmt.Sprintf("%s (%.2f)", text, ratio.Median)
	}
	return fmt.Sprintf("%s (%.2f, %.2f)", text, ratio.Median, best)
}

// toBest is the ratio to the better one of the peers; not ok unless all of them were measured.
func (r *Report) toBest(workload string, cell *Cell, f Figure) (best float64, ok bool) {
	var all []float64
	for _, name := range peers {
		ratio := Ratio(f, cell, r.Cell(workload, name))
		if ratio.N == 0 {
			return 0, false
		}
		all = append(all, ratio.Median)
	}
	if f.Lower {
		return slices.Max(all), true
	}
	return slices.Min(all), true
}

// writeHeadroom prints how much more the generator does without a proxy than with the fastest one.
func (r *Report) writeHeadroom(w io.Writer) {
	i := slices.IndexFunc(r.Targets, func(t Target) bool { return t.Direct && t.Missing == "" })
	if i < 0 {
		return
	}
	fmt.Fprint(w, "\n| workload | no proxy | fastest proxy | ratio |\n|---|---:|---:|---:|\n")
	for k := range r.Workloads {
		wl := &r.Workloads[k]
		f := FigureNamed("msgs/s")
		if wl.Churn {
			f = FigureNamed("conns/s")
		}
		if wl.Idle || wl.Open {
			continue
		}
		direct := r.Cell(wl.Name, r.Targets[i].Name)
		name, least, fastest := "", math.Inf(1), 0.0
		for _, t := range r.Targets {
			cell := r.Cell(wl.Name, t.Name)
			if ratio := Ratio(f, direct, cell); !t.Direct && ratio.N > 0 && ratio.Median < least {
				name, least, fastest = t.Name, ratio.Median, cell.Stat(f).Median
			}
		}
		if name != "" {
			fmt.Fprintf(w, "| %s | %s/s | %s/s, %s | %.2f |\n", wl.Title(), Format(direct.Stat(f).Median, f.Unit),
				Format(fastest, f.Unit), name, least)
		}
	}
}
