package compare

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"fooproxy/bench/load"
	"fooproxy/bench/report"
	"fooproxy/bench/target"
)

// ScrapeOptions is what Scrape does.
type ScrapeOptions struct {
	Foobench   string
	Target     target.Target // takes --admin
	Conns      int
	Rate       float64 // requests per second, over all connections
	Windows    int     // measured of each kind
	TargetCore int
	LoadCore   int
	Out        io.Writer
}

// scrapeWindow is the length of a window, in which one scrape falls: as if somebody scraped every second.
const scrapeWindow = time.Second

// scraped are the kinds of windows: what is asked for in each.
var scraped = []string{"", "/metrics", "/stats"}

// arm is one kind of window and what was found in it.
type arm struct {
	path string
	p99  []float64 // ns, one of each window
	took []float64 // ns, of each scrape
}

// Scrape holds many connections with a light load and measures whether scrapes of the admin address move what requests take. All
// arms alternate against one process, so that they differ in the scrape alone.
func Scrape(ctx context.Context, o ScrapeOptions) error {
	dir, err := os.MkdirTemp("", "foobench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	w := Workload{
		Name: "scrape", Conns: o.Conns, Open: true,
		Flags: []string{"-c", strconv.Itoa(o.Conns), "-s", "16", "--arrivals", "poisson"},
	}
	env, err := NewEnv(dir, w, o.TargetCore, false)
	if err != nil {
		return err
	}
	socket := filepath.Join(dir, "admin")
	t := o.Target.With(o.Target.Name, []string{"--admin=unix:" + socket})
	p, err := target.Start(ctx, t, env)
	if err != nil {
		return err
	}
	defer p.Stop()
	args := w.LoadArgs(o.Foobench, env, LoadTimes{Window: scrapeWindow, Warmup: 300 * time.Millisecond, Rate: o.Rate, Turns: true}, false)
	g, err := startGenerator(append(args[:len(args)-1], "--cores", strconv.Itoa(o.LoadCore), args[len(args)-1]), o.LoadCore)
	if err != nil {
		return whose(p, err)
	}
	defer g.stop()
	arms := make([]*arm, len(scraped))
	for i, path := range scraped {
		arms[i] = &arm{path: path}
	}
	for n := range o.Windows {
		for i := range arms {
			if err := arms[(n+i)%len(arms)].window(ctx, g, socket); err != nil {
				return whose(p, err)
			}
		}
	}
	r, err := g.finish()
	if err != nil {
		return err
	}
	writeScrape(o, arms, &r)
	return nil
}

// window measures one window, with the arm's scrape in the middle of it.
func (a *arm) window(ctx context.Context, g *generator, socket string) error {
	type scrape struct {
		took time.Duration
		err  error
	}
	done := make(chan scrape, 1)
	if a.path == "" {
		done <- scrape{}
	} else {
		time.AfterFunc(scrapeWindow/2, func() {
			began := time.Now()
			err := get(ctx, socket, a.path)
			done <- scrape{time.Since(began), err}
		})
	}
	turn, err := g.turn(scrapeWindow)
	s := <-done
	if err = errors.Join(err, s.err); err != nil {
		return err
	}
	a.p99 = append(a.p99, float64(turn.P99))
	a.took = append(a.took, float64(s.took))
	return ctx.Err()
}

// get asks for a path on a connection of its own, and reads the whole answer.
func get(ctx context.Context, socket, path string) error {
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+path, nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	n, err := io.Copy(io.Discard, answer.Body)
	if err == nil && (answer.StatusCode != http.StatusOK || n == 0) {
		err = fmt.Errorf("%s: %s, %d bytes", path, answer.Status, n)
	}
	return err
}

func writeScrape(o ScrapeOptions, arms []*arm, r *load.Result) {
	fmt.Fprintf(o.Out, "%s: %d connections, %.0f requests per second, windows of %v in turn, %d of each kind; %d answers, all right\n",
		o.Target.Name, o.Conns, o.Rate, scrapeWindow, o.Windows, r.Answers)
	fmt.Fprintf(o.Out, "  %-12s %12s %22s %8s %8s %12s\n", "scraped", "median p99", "of all windows", "ratio", "chance", "scrape took")
	us := func(ns float64) string { return fmt.Sprintf("%.0f µs", ns/1e3) }
	none := report.Median(arms[0].p99)
	for _, a := range arms {
		line := fmt.Sprintf("  %-12s %12s %22s", orNothing(a.path), us(report.Median(a.p99)), us(slices.Min(a.p99))+" – "+us(slices.Max(a.p99)))
		if a.path != "" {
			line += fmt.Sprintf(" %8.2f %8.2f %12s", report.Median(a.p99)/none, report.MannWhitney(arms[0].p99, a.p99), us(report.Median(a.took)))
		}
		fmt.Fprintln(o.Out, line)
	}
	fmt.Fprintln(o.Out, "  chance: how probable such a difference is when the scrape changes nothing (Mann-Whitney, two-sided)")
	for _, why := range r.Invalid {
		fmt.Fprintln(o.Out, "  INVALID:", why)
	}
}

func orNothing(path string) string {
	if path == "" {
		return "nothing"
	}
	return path
}
