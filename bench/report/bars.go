package report

import (
	"fmt"
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// barStyle draws bars with a whisker from the smallest to the largest value: gonum's own bar chart has no whiskers and
// wants a bar for every group.
type barStyle struct {
	bars  []bar
	width float64 // in units of the x axis
	color color.Color
}

// Plot implements plot.Plotter.
func (b barStyle) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	whisker := draw.LineStyle{Color: color.Black, Width: vg.Points(0.7)}
	top := c.Max.Y
	for _, v := range b.bars {
		left, right := x(v.at-b.width/2), x(v.at+b.width/2)
		high := min(y(v.value), top)
		c.FillPolygon(b.color, []vg.Point{{X: left, Y: y(0)}, {X: left, Y: high}, {X: right, Y: high}, {X: right, Y: y(0)}})
		c.StrokeLine2(whisker, x(v.at), min(y(v.low), top), x(v.at), min(y(v.high), top))
	}
}

// DataRange implements plot.DataRanger.
func (b barStyle) DataRange() (xmin, xmax, ymin, ymax float64) {
	xmin, xmax, ymin, ymax = math.Inf(1), math.Inf(-1), 0, 0
	for _, v := range b.bars {
		xmin, xmax = min(xmin, v.at-b.width), max(xmax, v.at+b.width)
		ymin, ymax = min(ymin, v.low), max(ymax, v.value)
	}
	return xmin, xmax, ymin, ymax
}

// Thumbnail implements plot.Thumbnailer.
func (b barStyle) Thumbnail(c *draw.Canvas) {
	c.FillPolygon(b.color, []vg.Point{
		{X: c.Min.X, Y: c.Min.Y}, {X: c.Min.X, Y: c.Max.Y}, {X: c.Max.X, Y: c.Max.Y}, {X: c.Max.X, Y: c.Min.Y},
	})
}

// unitTicks labels an axis as the tables do.
type unitTicks struct{ unit string }

// Ticks implements plot.Ticker.
func (u unitTicks) Ticks(low, high float64) []plot.Tick {
	ticks := plot.DefaultTicks{}.Ticks(low, high)
	for i := range ticks {
		if ticks[i].Label != "" {
			ticks[i].Label = Format(ticks[i].Value, u.unit)
		}
	}
	return ticks
}

// microTicks labels a logarithmic axis of microseconds with units that people read.
type microTicks struct{}

// Ticks implements plot.Ticker.
func (microTicks) Ticks(low, high float64) (ticks []plot.Tick) {
	for decade := math.Pow10(int(math.Floor(math.Log10(low)))); decade <= high; decade *= 10 {
		for k := 1.0; k < 10; k++ {
			v := decade * k
			if v < low || v > high {
				continue
			}
			label := ""
			if k == 1 || k == 2 || k == 5 {
				label = microText(v)
			}
			ticks = append(ticks, plot.Tick{Value: v, Label: label})
		}
	}
	return ticks
}

func microText(v float64) string {
	switch {
	case v < 1:
		return fmt.Sprintf("%.3g ns", v*1e3)
	case v < 1e3:
		return fmt.Sprintf("%.3g µs", v)
	case v < 1e6:
		return fmt.Sprintf("%.3g ms", v/1e3)
	}
	return fmt.Sprintf("%.3g s", v/1e6)
}
