package report

import (
	"fmt"
	"io"
	"math"
	"time"
)

// WriteWorkload prints the rows of one workload.
func (r *Report) WriteWorkload(w io.Writer, workload string) {
	for _, wl := range r.Workloads {
		if wl.Name == workload {
			fmt.Fprintf(w, "\n%s: %s\n", wl.Name, wl.About)
			r.writeRows(w, &wl)
		}
	}
}

// WriteText prints everything.
func (r *Report) WriteText(w io.Writer) {
	r.WriteHead(w)
	for _, wl := range r.Workloads {
		r.WriteWorkload(w, wl.Name)
	}
	r.WriteTail(w)
}

// WriteHead prints where this was measured.
func (r *Report) WriteHead(w io.Writer) {
	m := &r.Machine
	fmt.Fprintf(w, "%s, %d CPUs, %s, Linux %s, %s, %s\n", m.CPU, m.Cores, m.Memory, m.Kernel, m.Network(), m.Go)
	fmt.Fprintf(w, "target on %s, client and upstream in one thread on CPU %d; medians of the runs, ± = (largest − smallest) / median;\n",
		m.TargetPlace(), m.LoadCore)
	fmt.Fprintf(w, "× = ratio to %s, turn against turn of the same round\n", r.Baseline)
	for _, t := range r.Targets {
		if t.Missing != "" {
			fmt.Fprintf(w, "left out: %s: %s\n", t.Name, t.Missing)
		}
	}
}

// Network says by what the programs were connected.
func (m *Machine) Network() string {
	switch {
	case m.Veth:
		return m.Congestion + " over a veth pair between two namespaces"
	case m.Isolated:
		return m.Congestion + " on a loopback of its own"
	}
	return m.Congestion + " on the machine's loopback"
}

// TargetPlace says where the target ran.
func (m *Machine) TargetPlace() string {
	if m.TargetCore < 0 {
		return "every CPU, shared with the generator"
	}
	return fmt.Sprintf("CPU %d", m.TargetCore)
}

// WriteTail prints the floor, the target's share of it, and what failed.
func (r *Report) WriteTail(w io.Writer) {
	if len(r.FloorNs) > 0 {
		floor := Median(r.FloorNs)
		fmt.Fprintf(w, "\nfloor: %.2f µs for 2 sends and 2 receives of 16 B through loopback TCP in one thread; over cpu/msg in %s:",
			floor/1e3, FloorWorkload)
		for _, t := range r.Targets {
			if shares := r.floorShares(r.Cell(FloorWorkload, t.Name)); len(shares) > 0 && !t.Direct {
				fmt.Fprintf(w, "  %s %.2f", t.Name, Median(shares))
			}
		}
		fmt.Fprintln(w)
	}
	disturbed, runs := 0, 0
	for _, c := range r.Cells {
		for _, run := range c.Runs {
			runs++
			if run.Disturbed != "" {
				disturbed++
			}
		}
	}
	if disturbed > 0 {
		fmt.Fprintf(w, "%d of %d runs were disturbed by other programs\n", disturbed, runs)
	}
	for _, f := range r.Failures() {
		fmt.Fprintf(w, "FAILED %s\n", f)
	}
}

// floorShares is the floor over the CPU per message, in each round.
func (r *Report) floorShares(c *Cell) (shares []float64) {
	f := FigureNamed("cpu/msg")
	if c == nil {
		return nil
	}
	for i := range c.Runs {
		if v, ok := f.of(&c.Runs[i]); ok && c.Runs[i].Round < len(r.FloorNs) {
			shares = append(shares, r.FloorNs[c.Runs[i].Round]/v)
		}
	}
	return shares
}

func (r *Report) writeRows(w io.Writer, wl *Workload) {
	width := 0
	for _, t := range r.Targets {
		width = max(width, len(t.Name))
	}
	fmt.Fprintf(w, "  %-*s", width, "")
	columns := columnsOf(wl)
	for _, name := range columns {
		fmt.Fprintf(w, " %19s", name)
	}
	fmt.Fprintln(w)
	for _, t := range r.Targets {
		cell := r.Cell(wl.Name, t.Name)
		if cell == nil {
			continue
		}
		fmt.Fprintf(w, "  %-*s", width, t.Name)
		if cell.Failure != "" {
			fmt.Fprintf(w, " FAILED: %s\n", cell.Failure)
			continue
		}
		for _, name := range columns {
			fmt.Fprintf(w, " %19s", r.entry(cell, wl.Name, FigureNamed(name)))
		}
		if cell.paced() {
			fmt.Fprint(w, "  paced by the generator")
		}
		fmt.Fprintln(w)
	}
}

// columnsOf picks the figures that mean something for a workload.
func columnsOf(wl *Workload) []string {
	switch {
	case wl.Idle:
		return []string{"B/conn", "memory"}
	case wl.Churn:
		return []string{"conns/s", "cpu/msg", "p50", "p99", "p99.9", "csw/s"}
	case wl.Stream:
		return []string{"msgs/s", "cpu/msg", "csw/s"}
	}
	return []string{"msgs/s", "cpu/msg", "p50", "p99", "p99.9", "csw/s"}
}

// paced tells whether the generator was the limit in most runs.
func (c *Cell) paced() bool {
	n := 0
	for _, run := range c.Runs {
		if run.Result.Generator.Busy > 0.98 && run.Result.Loop == "closed" && usage(&run).Busy < 0.95 {
			n++
		}
	}
	return 2*n > len(c.Runs)
}

// entry is "value ±spread ×ratio".
func (r *Report) entry(cell *Cell, workload string, f Figure) string {
	s := cell.Stat(f)
	if s.N == 0 {
		return "–"
	}
	text := Format(s.Median, f.Unit)
	if s.N > 1 {
		text += fmt.Sprintf(" ±%.0f%%", 100*math.Abs(s.Spread))
	}
	if ratio := Ratio(f, cell, r.Cell(workload, r.Baseline)); ratio.N > 0 && cell.Target != r.Baseline {
		text += fmt.Sprintf(" ×%.2f", ratio.Median)
	}
	return text
}

// Format prints a value with its unit in about three digits.
func Format(v float64, unit string) string {
	switch unit {
	case "ns":
		d := time.Duration(v)
		switch {
		case d < time.Microsecond:
			return fmt.Sprintf("%.0fns", v)
		case d < time.Millisecond:
			return fmt.Sprintf("%.3gµs", v/1e3)
		case d < time.Second:
			return fmt.Sprintf("%.3gms", v/1e6)
		}
		return fmt.Sprintf("%.3gs", v/1e9)
	case "B":
		if math.Abs(v) < 1<<10 {
			return fmt.Sprintf("%.0fB", v)
		}
		if math.Abs(v) < 1<<20 {
			return fmt.Sprintf("%.3gKiB", v/(1<<10))
		}
		return fmt.Sprintf("%.3gMiB", v/(1<<20))
	}
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.3gM", v/1e6)
	case v >= 1e4:
		return fmt.Sprintf("%.3gk", v/1e3)
	}
	return fmt.Sprintf("%.4g", v)
}
