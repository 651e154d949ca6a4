package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"strings"
)

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"svg": func(b []byte) template.HTML { return template.HTML(b) }, // drawn by Plots, with escaped labels
}).Parse(pageText))

// row is a line of a table of the page.
type row struct {
	Target  string
	Base    bool
	Entries []entryView
	Note    string
}

type entryView struct {
	Value, Spread, Ratio string
	Good                 string // "better", "worse" or "": a ratio beyond the spread of both
}

type tableView struct {
	Workload Workload
	Columns  []string
	Rows     []row
}

// WriteHTML writes the page: everything in one file, nothing loaded from elsewhere.
func (r *Report) WriteHTML(w io.Writer) error {
	plots, err := r.Plots()
	if err != nil {
		return err
	}
	var tables []tableView
	for _, wl := range r.Workloads {
		tables = append(tables, r.table(&wl))
	}
	var tail strings.Builder
	r.WriteTail(&tail)
	return page.Execute(w, map[string]any{
		"Report": r, "Plots": plots, "Tables": tables, "Command": strings.Join(r.Command, " "), "Tail": strings.TrimSpace(tail.String()),
	})
}

func (r *Report) table(wl *Workload) tableView {
	view := tableView{Workload: *wl, Columns: columnsOf(wl)}
	for _, t := range r.Targets {
		cell := r.Cell(wl.Name, t.Name)
		if cell == nil {
			continue
		}
		line := row{Target: t.Name, Base: t.Name == r.Baseline, Note: cell.Failure}
		if cell.paced() {
			line.Note = "paced by the generator"
		}
		for _, name := range view.Columns {
			line.Entries = append(line.Entries, r.entryView(cell, wl.Name, FigureNamed(name)))
		}
		view.Rows = append(view.Rows, line)
	}
	return view
}

func (r *Report) entryView(cell *Cell, workload string, f Figure) (e entryView) {
	s := cell.Stat(f)
	if s.N == 0 {
		return e
	}
	e.Value = Format(s.Median, f.Unit)
	if s.N > 1 {
		e.Spread = fmt.Sprintf("±%.0f%%", 100*math.Abs(s.Spread))
	}
	base := r.Cell(workload, r.Baseline)
	if ratio := Ratio(f, cell, base); ratio.N > 0 && cell.Target != r.Baseline {
		e.Ratio = fmt.Sprintf("×%.2f", ratio.Median)
		if p := MannWhitney(cell.Values(f), base.Values(f)); p < 0.05 && math.Abs(ratio.Median-1) > 0.02 {
			e.Good = "worse"
			if (ratio.Median < 1) == f.Lower {
				e.Good = "better"
			}
		}
	}
	return e
}
