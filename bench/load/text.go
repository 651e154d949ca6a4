package load

import (
	"fmt"
	"io"
	"time"
)

// WriteText prints the result in the manner of wrk.
func (r *Result) WriteText(w io.Writer) error {
	p := printer{w: w}
	depth := fmt.Sprintf(" × %d outstanding", r.Depth)
	if r.Depth >= depthUnlimited {
		depth = ""
	}
	p.line("%s loop against %s: %d connections%s, %s bytes, %d thread(s), %v measured",
		r.Loop, r.Target, r.Conns, depth, r.Sizes, r.Threads, r.Elapsed.Round(time.Millisecond))
	p.line("")
	p.line("  %-22s %9s %9s %9s %9s %9s %9s %9s", "", "mean", "p50", "p90", "p99", "p99.9", "p99.99", "max")
	if r.Response != nil {
		p.times("response (from due)", r.Response)
	}
	p.times("service (from send)", &r.Service)
	if r.Response == nil {
		p.line("  A closed loop sends no request while it waits: these times are not corrected for coordinated omission.")
	}
	p.line("")
	p.line("  %d answers in %v, %d of them NAK; %s sent, %s received", r.Answers, r.Elapsed.Round(time.Millisecond), r.Naks,
		bytesText(float64(r.BytesOut)), bytesText(float64(r.BytesIn)))
	if r.Rate > 0 {
		p.line("  asked for %.0f requests/s; made at most %v late (p99 %v)", r.Rate, r.Generator.LagMax, r.Generator.LagP99)
	}
	if r.Closed > 0 {
		p.line("  connections/s  %.0f (made, used, closed)", float64(r.Closed)/r.Elapsed.Seconds())
	}
	if r.Unended > 0 {
		p.line("  %d connections were not ended by the target within a second of our end", r.Unended)
	}
	p.line("  answers/s      %.0f", r.PerSec)
	p.line("  transfer/s     %s", bytesText(float64(r.BytesOut+r.BytesIn)/r.Elapsed.Seconds()))
	p.line("  generator      busy %.0f %% of the time, waited for a CPU %.1f %%", 100*r.Generator.Busy, 100*r.Generator.Waited)
	if u := r.Usage; u != nil {
		p.line("  target         %.0f ns CPU per answer, busy %.0f %%, %.0f context switches/s, %s resident (%+.0f bytes per connection)",
			u.CPUPerMsg, 100*u.Busy, u.Switches, bytesText(float64(u.Resident)), u.PerConn)
	}
	for _, why := range r.Invalid {
		p.line("  INVALID: %s", why)
	}
	return p.err
}

// WriteHDR prints the percentile distribution in HdrHistogram's text format, in microseconds: of the response time in open
// loop, of the service time in closed loop.
func (r *Result) WriteHDR(w io.Writer) error {
	h := r.hist.service
	if r.Response != nil {
		h = r.hist.response
	}
	_, err := h.PercentilesPrint(w, 5, 1000)
	return err
}

// printer remembers the first error of a series of prints.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}

func (p *printer) times(name string, t *Times) {
	p.line("  %-22s %9s %9s %9s %9s %9s %9s %9s", name, short(t.Mean), short(t.P50), short(t.P90), short(t.P99), short(t.P999),
		short(t.P9999), short(t.Max))
}

// short prints a time with three digits or so.
func short(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%.1fµs", float64(d)/1e3)
	case d < time.Second:
		return fmt.Sprintf("%.2fms", float64(d)/1e6)
	}
	return fmt.Sprintf("%.2fs", d.Seconds())
}

func bytesText(n float64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	i := 0
	for n >= 1024 && i < len(units)-1 {
		n /= 1024
		i++
	}
	return fmt.Sprintf("%.3g %s", n, units[i])
}
