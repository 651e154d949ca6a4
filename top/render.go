package top

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"

	"fooproxy/admin"
)

// Where a line's name ends, and the least width at which a figure still has its sparkline beside it.
const (
	nameWidth  = 13
	sparkFrom  = 60
	figureCols = 28 // of a figure before its sparkline
	barCols    = 20
)

var (
	strong = lipgloss.NewStyle().Bold(true)
	faint  = lipgloss.NewStyle().Faint(true)
	warn   = lipgloss.NewStyle().Foreground(lipgloss.Color("3"))
	alarm  = lipgloss.NewStyle().Bold(true).Foreground(lipgloss.Color("1"))
	good   = lipgloss.NewStyle().Foreground(lipgloss.Color("2"))
	line1  = lipgloss.NewStyle().Foreground(lipgloss.Color("6"))
)

// Render draws the figures into at most width × height cells; note, if any, comes last. What does not fit is left out: loops
// first, then lines from below, and every line is cut at the right edge.
func Render(s *admin.Stats, note string, width, height int) string {
	lines := slices.Concat([]string{title(s)}, traffic(s, width), state(s), []string{""})
	rest := height - len(lines)
	if note != "" {
		rest--
	}
	lines = append(lines, loops(s, rest)...)
	if len(lines) > height {
		lines = lines[:max(height, 0)]
	}
	if note != "" && height > 0 {
		lines = append(lines[:min(len(lines), height-1)], note)
	}
	for i, l := range lines {
		lines[i] = ansi.Truncate(l, max(width, 0), "…")
	}
	return strings.Join(lines, "\n")
}

func title(s *admin.Stats) string {
	text := strong.Render("fooproxy") + " " + s.Engine + "  " + s.Listen + " → " + s.Forward + faint.Render("  up "+uptime(s.Uptime))
	if s.Draining {
		text += " " + warn.Render("draining")
	}
	if s.Fallback != "" {
		text += faint.Render("  no io_uring: " + s.Fallback)
	}
	return text
}

// traffic is what passes: rates and latencies of the last seconds.
func traffic(s *admin.Stats, width int) []string {
	lines := []string{
		withSpark("requests/s", fmt.Sprintf("%-8s 10 s %s", count(s.RequestRate1), count(s.RequestRate10)), s.History.RequestRate, width),
		withSpark("responses/s", fmt.Sprintf("%-8s 10 s %s", count(s.ResponseRate1), count(s.ResponseRate10)), s.History.ResponseRate, width),
	}
	if s.Latency == nil {
		return append(lines, named("latency", faint.Render("not measured, see --track")))
	}
	var text []string
	for _, q := range quantiles(&s.Latency.Last10)[1:] { // the mean says least, and a line of 80 cells has no room for it
		text = append(text, q.name+" "+strong.Render(duration(q.us)))
	}
	if width < sparkFrom { // in two lines
		lines = append(lines, named("latency 10 s", strings.Join(text[:2], " ")))
		return append(lines, named("", strings.Join(text[2:], " ")))
	}
	return append(lines,
		named("latency 10 s", strings.Join(text, "  ")),
		withSpark("p99", duration(s.Latency.Last1.P99), s.History.P99, width),
	)
}

// state is what there is, and what went wrong.
func state(s *admin.Stats) []string {
	c := &s.Connections
	bad := fmt.Sprintf("%d", s.Violations.Total)
	if s.Violations.Total > 0 {
		bad = warn.Render(bad) + "  " + ranked(s.Violations.ByReason, 4)
	}
	log := "off"
	if s.Log.Enabled {
		log = fmt.Sprintf("%d dropped", s.Log.Dropped)
		if s.Log.Dropped > 0 {
			log = alarm.Render(log)
		}
	}
	return []string{
		named("messages", fmt.Sprintf("%d  req %d  ack %d  nak %d  unmatched %d", s.MsgTotal, s.MsgReq, s.MsgAck, s.MsgNak, s.Counters["unmatched"])),
		named("connections", fmt.Sprintf("%d of %d  %s", c.Open, c.Max, ranked(c.ByState, 3))),
		named("", ranked(c.ByClass, 4)+fmt.Sprintf("  total %d", c.Total)),
		named("ended", ranked(s.Ends, 5)),
		named("violations", bad),
		named("buffers", fmt.Sprintf("%s held  %d read pauses", size(s.Buffers.HeldBytes), s.Buffers.ReadPauses)),
		named("request log", log),
	}
}

// loops is a table of the event loops in at most height lines.
func loops(s *admin.Stats, height int) []string {
	lines := []string{faint.Render(fmt.Sprintf("loop  cpu  %-*s   busy   conns     req/s    resp/s      held", barCols, ""))}
	for i, l := range s.Loops {
		if len(lines) == height-1 && i < len(s.Loops)-1 {
			return append(lines, faint.Render(fmt.Sprintf("%d more loops", len(s.Loops)-i)))
		}
		cpu := "-"
		if l.CPU >= 0 {
			cpu = fmt.Sprint(l.CPU)
		}
		lines = append(lines, fmt.Sprintf("%4d  %3s  %s %4.0f %%  %6s  %8s  %8s  %8s",
			l.Index, cpu, bar(l.Busy1), 100*l.Busy1, count(float64(l.Connections)), count(l.RequestRate1), count(l.ResponseRate1), size(l.BufferedBytes)))
	}
	return lines
}

func named(name, text string) string {
	return faint.Render(fmt.Sprintf("%-*s", nameWidth, name)) + text
}

func withSpark(name, text string, values []float64, width int) string {
	if width < sparkFrom {
		return named(name, text)
	}
	return named(name, fmt.Sprintf("%-*s", figureCols, text)) + line1.Render(sparkline(values, width-nameWidth-figureCols))
}

// sparkline draws the last n values between 0 and the largest of them.
func sparkline(values []float64, n int) string {
	steps := []rune("▁▂▃▄▅▆▇█")
	values = values[max(0, len(values)-max(n, 0)):]
	if len(values) == 0 {
		return ""
	}
	most := slices.Max(values)
	var b strings.Builder
	for _, v := range values {
		step := 0
		if most > 0 && v > 0 {
			step = min(int(v/most*float64(len(steps)-1)+0.5), len(steps)-1)
		}
		b.WriteRune(steps[step])
	}
	return b.String()
}

// bar draws a share of 0 to 1.
func bar(share float64) string {
	full := min(max(int(share*barCols+0.5), 0), barCols)
	style := good
	if share > 0.9 {
		style = warn
	}
	return style.Render(strings.Repeat("█", full)) + faint.Render(strings.Repeat("░", barCols-full))
}

// ranked lists the most frequent of names that are not 0.
func ranked(counts map[string]uint64, most int) string {
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	var parts []string
	for _, name := range names[:min(most, len(names))] {
		if counts[name] > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", name, counts[name]))
		}
	}
	if len(parts) == 0 {
		return faint.Render("none")
	}
	return strings.Join(parts, "  ")
}

// count is a number in at most six characters.
func count(v float64) string { return scaled(v, 1000, "", "k", "M", "G", "T") }

// size is a number of bytes.
func size(bytes uint64) string {
	return scaled(float64(bytes), 1024, " B", " KiB", " MiB", " GiB", " TiB")
}

// duration is a time given in µs.
func duration(us float64) string { return scaled(us, 1000, " µs", " ms", " s") }

func scaled(v, step float64, units ...string) string {
	unit := 0
	for v >= step && unit < len(units)-1 {
		v /= step
		unit++
	}
	digits := 0
	if unit > 0 && v < 100 {
		digits = 1
	}
	return fmt.Sprintf("%.*f%s", digits, v, units[unit])
}

func uptime(seconds float64) string {
	return (time.Duration(seconds) * time.Second).String()
}
