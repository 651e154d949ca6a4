package report

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// palette is Okabe and Ito's, which readers who see few colours can tell apart, without its yellow.
var palette = []color.RGBA{
	{0, 114, 178, 255},
	{86, 180, 233, 255},
	{213, 94, 0, 255},
	{230, 159, 0, 255},
	{120, 120, 120, 255},
	{0, 158, 115, 255},
	{204, 121, 167, 255},
	{0, 0, 0, 255},
}

// dashes tell lines apart where colours are not seen.
var dashes = [][]vg.Length{nil, {vg.Points(6), vg.Points(3)}, {vg.Points(2), vg.Points(2)}}

const (
	plotWidth  = 24 * vg.Centimeter
	plotHeight = 11 * vg.Centimeter
)

// Plot is one picture of the page.
type Plot struct {
	Title, Caption string
	SVG            []byte
}

// Plots draws all pictures that the report has data for.
func (r *Report) Plots() ([]Plot, error) {
	var plots []Plot
	add := func(title, caption string, p *plot.Plot, err error) error {
		if err != nil || p == nil {
			return err
		}
		svg, err := render(p)
		plots = append(plots, Plot{title, caption, svg})
		return err
	}
	p, err := r.barPlot("cpu/msg")
	if err := add("CPU per message", "Time of the target's process, user and system, per answer; ratio to "+r.Baseline+
		", median of the rounds with the smallest and largest. Lower is better.", p, err); err != nil {
		return nil, err
	}
	p, err = r.barPlot("msgs/s")
	if err := add("Messages per second", "Ratio to "+r.Baseline+". Higher is better; where the generator sets the pace, direct shows how much there is to have.",
		p, err); err != nil {
		return nil, err
	}
	for _, figure := range []string{"cpu/msg", "msgs/s", "p99"} {
		p, err := r.scalingPlot("pingpong", figure)
		if err := add("Scaling with connections: "+figure, "Ping-pong of 16 bytes, one request outstanding per connection.", p, err); err != nil {
			return nil, err
		}
	}
	for _, w := range r.Workloads {
		p, err := r.latencyPlot(&w)
		if err := add("Latency by percentile: "+w.Name, w.About, p, err); err != nil {
			return nil, err
		}
	}
	p, err = r.memoryPlot()
	if err := add("Memory of idle connections", "Growth of the target's resident memory per connection.", p, err); err != nil {
		return nil, err
	}
	return plots, nil
}

func render(p *plot.Plot) ([]byte, error) {
	w, err := p.WriterTo(plotWidth, plotHeight, "svg")
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if _, err := w.WriteTo(&b); err != nil {
		return nil, err
	}
	// The XML declaration and the document type have no place inside a page.
	if i := bytes.Index(b.Bytes(), []byte("<svg")); i > 0 {
		b.Next(i)
	}
	return b.Bytes(), nil
}

func newPlot() *plot.Plot {
	p := plot.New()
	sans := font.Font{Typeface: "Liberation", Variant: "Sans"}
	for _, s := range []*draw.TextStyle{
		&p.Title.TextStyle, &p.X.Label.TextStyle, &p.Y.Label.TextStyle, &p.X.Tick.Label, &p.Y.Tick.Label, &p.Legend.TextStyle,
	} {
		s.Font = font.From(sans, 10)
	}
	p.Legend.Top = true
	p.Legend.Padding = vg.Points(3)
	p.Add(grid())
	return p
}

func grid() *plotter.Grid {
	g := plotter.NewGrid()
	g.Vertical.Color = nil
	g.Horizontal.Color = color.Gray{220}
	return g
}

// colorOf is a target's colour in every plot.
func (r *Report) colorOf(target string) color.RGBA {
	i := slices.IndexFunc(r.Targets, func(t Target) bool { return t.Name == target })
	return palette[max(i, 0)%len(palette)]
}

// bar is one bar with the range of its values.
type bar struct{ at, value, low, high float64 }

// barPlot draws a figure's ratio to the base line, grouped by workload; nil when there is nothing to compare.
func (r *Report) barPlot(figure string) (*plot.Plot, error) {
	f := FigureNamed(figure)
	p := newPlot()
	var names []string
	bars := map[string][]bar{}
	for _, w := range r.Workloads {
		base := r.Cell(w.Name, r.Baseline)
		if w.Idle || base.Stat(f).N == 0 {
			continue
		}
		for i, t := range r.Targets {
			if values := ratios(f, r.Cell(w.Name, t.Name), base); len(values) > 0 {
				at := float64(len(names)) + (float64(i)+0.5)/float64(len(r.Targets))*0.8 - 0.4
				bars[t.Name] = append(bars[t.Name], bar{at, Median(values), slices.Min(values), slices.Max(values)})
			}
		}
		names = append(names, w.Name)
	}
	if len(names) == 0 {
		return nil, nil
	}
	for _, t := range r.Targets {
		if len(bars[t.Name]) > 0 {
			style := barStyle{bars[t.Name], 0.8 / float64(len(r.Targets)) * 0.9, r.colorOf(t.Name)}
			p.Add(style)
			p.Legend.Add(t.Name, style)
		}
	}
	p.NominalX(names...)
	p.X.Tick.Label.Font.Size = vg.Points(8) // a dozen names have to fit
	p.Y.Label.Text = figure + " ÷ " + r.Baseline
	p.Y.Min = 0
	p.X.Max = float64(len(names)) - 0.5
	p.X.Min = -0.5
	p.Y.Max = min(p.Y.Max*1.25, 4)
	one := plotter.NewFunction(func(float64) float64 { return 1 })
	one.Color = color.Black
	p.Add(one)
	return p, nil
}

// scalingPlot draws a figure over the number of connections, for the workloads of one loop.
func (r *Report) scalingPlot(loop, figure string) (*plot.Plot, error) {
	f := FigureNamed(figure)
	p := newPlot()
	lines := 0
	for i, t := range r.Targets {
		var points plotter.XYs
		for _, w := range r.Workloads {
			if s := r.Cell(w.Name, t.Name).Stat(f); w.Loop == loop && s.N > 0 {
				points = append(points, plotter.XY{X: float64(w.Conns), Y: scaled(f, s.Median)})
			}
		}
		if len(points) < 2 {
			continue
		}
		line, dots, err := plotter.NewLinePoints(points)
		if err != nil {
			return nil, err
		}
		line.Color, line.Width, line.Dashes = r.colorOf(t.Name), vg.Points(1.5), dashes[i%len(dashes)]
		dots.Color = r.colorOf(t.Name)
		p.Add(line, dots)
		p.Legend.Add(t.Name, line)
		lines++
	}
	if lines == 0 {
		return nil, nil
	}
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, connTicks(r, loop)
	p.X.Label.Text = "connections"
	p.Y.Label.Text = figure + unitOf(f)
	p.Y.Tick.Marker = unitTicks{"1/s"}
	p.Y.Min = 0
	p.Y.Max *= 1.6 // room for the legend
	return p, nil
}

// connTicks marks the numbers of connections that were measured.
func connTicks(r *Report, loop string) plot.Ticker {
	var ticks plot.ConstantTicks
	for _, w := range r.Workloads {
		if w.Loop == loop {
			ticks = append(ticks, plot.Tick{Value: float64(w.Conns), Label: fmt.Sprint(w.Conns)})
		}
	}
	return ticks
}

// latencyPlot draws the percentiles of every target under one workload: the median of the runs at each.
func (r *Report) latencyPlot(w *Workload) (*plot.Plot, error) {
	p := newPlot()
	lines := 0
	for i, t := range r.Targets {
		points := r.Cell(w.Name, t.Name).curve()
		if len(points) < 2 {
			continue
		}
		line, err := plotter.NewLine(points)
		if err != nil {
			return nil, err
		}
		line.Color, line.Width, line.Dashes = r.colorOf(t.Name), vg.Points(1.5), dashes[i%len(dashes)]
		p.Add(line)
		p.Legend.Add(t.Name, line)
		lines++
	}
	if lines == 0 {
		return nil, nil
	}
	p.X.Label.Text = "percentile"
	p.X.Tick.Marker = plot.ConstantTicks{
		{Value: nines(0), Label: "0"},
		{Value: nines(50), Label: "50"},
		{Value: nines(90), Label: "90"},
		{Value: nines(99), Label: "99"},
		{Value: nines(99.9), Label: "99.9"},
		{Value: nines(99.99), Label: "99.99"},
	}
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, microTicks{}
	p.Y.Label.Text = "time"
	p.Legend.Left = true
	return p, nil
}

// nines stretches the percentiles near 100: 90, 99, 99.9 lie equally far apart.
func nines(percentile float64) float64 { return -math.Log10(1 - percentile/100) }

// curve is the median over the runs of each percentile, in microseconds. The last percentile of the runs is left out
// when it stands for too few answers to mean anything.
func (c *Cell) curve() (points plotter.XYs) {
	if c == nil || len(c.Runs) == 0 {
		return nil
	}
	for k, point := range c.Runs[0].Result.Latency().Curve {
		var values []float64
		for i := range c.Runs {
			t := c.Runs[i].Result.Latency()
			if beyond := float64(t.Count) * (1 - point.Percentile/100); k < len(t.Curve) && t.Curve[k].Time > 0 && beyond >= 10 {
				values = append(values, float64(t.Curve[k].Time)/1e3)
			}
		}
		if len(values) > 0 {
			points = append(points, plotter.XY{X: nines(point.Percentile), Y: Median(values)})
		}
	}
	return points
}

// memoryPlot draws the bytes per idle connection.
func (r *Report) memoryPlot() (*plot.Plot, error) {
	f := FigureNamed("B/conn")
	p := newPlot()
	var names []string
	for _, w := range r.Workloads {
		for _, t := range r.Targets {
			values := r.Cell(w.Name, t.Name).Values(f)
			if !w.Idle || len(values) == 0 {
				continue
			}
			at := float64(len(names))
			for i := range values {
				values[i] /= 1 << 10
			}
			p.Add(barStyle{[]bar{{at, Median(values), slices.Min(values), slices.Max(values)}}, 0.6, r.colorOf(t.Name)})
			names = append(names, t.Name)
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	p.NominalX(names...)
	p.X.Min, p.X.Max = -0.5, float64(len(names))-0.5
	p.Y.Min, p.Y.Max = min(p.Y.Min, 0), 1.1*p.Y.Max
	p.Y.Tick.Marker = unitTicks{"1/s"}
	p.Y.Label.Text = "KiB resident per connection"
	return p, nil
}

// scaled brings times to microseconds.
func scaled(f Figure, v float64) float64 {
	if f.Unit == "ns" {
		return v / 1e3
	}
	return v
}

func unitOf(f Figure) string {
	if f.Unit == "ns" {
		return ", µs"
	}
	return strings.TrimSuffix(", "+f.Unit, ", 1/s")
}
