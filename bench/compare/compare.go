package compare

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"fooproxy/bench/report"
	"fooproxy/bench/target"
)

// Options is what a comparison does.
type Options struct {
	Programs   target.Programs
	Targets    []target.Target
	Workloads  []Workload
	Runs       int           // rounds per workload
	Time       time.Duration // measured window of a run
	Warmup     time.Duration
	Retries    int    // how many disturbed runs are repeated, over the whole comparison, each once
	Baseline   string // target that ratios are to; "" = haproxy when it is there, else the first
	Spin       bool   // the generator never sleeps
	TargetCore int
	LoadCore   int
	Command    []string // how the user asked for this
	Out        io.Writer
	Log        io.Writer // what goes on, a line per run; nil = nothing
}

// comparison is one going on.
type comparison struct {
	Options
	report *report.Report
	dir    string
	rate   float64 // of the open loop
}

// Run compares and returns every run. A target that fails under a workload loses that cell and the error says so; the
// report holds the rest.
func Run(ctx context.Context, o Options) (*report.Report, error) {
	if o.Runs < 1 || o.Time <= 0 || o.Warmup < 0 {
		return nil, errors.New("compare: want at least one run, of a time above 0")
	}
	if o.TargetCore == o.LoadCore {
		return nil, fmt.Errorf("compare: the target and the generator need a CPU each, and both were given %d", o.TargetCore)
	}
	dir, err := os.MkdirTemp("", "foobench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	c := &comparison{Options: o, dir: dir}
	began := time.Now()
	c.report = &report.Report{Begun: began, Command: o.Command, Machine: machine(o.TargetCore, o.LoadCore)}
	if err := c.findTargets(); err != nil {
		return nil, err
	}
	c.report.WriteHead(o.Out)
	for _, w := range o.Workloads {
		if err := c.workload(ctx, w); err != nil {
			return c.report, err
		}
		c.report.WriteWorkload(o.Out, w.Name)
	}
	c.report.Took = time.Since(began).Round(time.Second).String()
	c.report.WriteTail(o.Out)
	if failed := c.report.Failures(); len(failed) > 0 {
		return c.report, errors.New(strings.Join(failed, "; "))
	}
	return c.report, nil
}

// findTargets asks every target for its version and leaves out those that cannot run.
func (c *comparison) findTargets() error {
	var here []target.Target
	for _, t := range c.Targets {
		entry := report.Target{Name: t.Name, About: t.About, Direct: t.Direct, Engine: t.Engine}
		version, err := t.Find()
		if err != nil {
			entry.Missing = err.Error()
		} else {
			entry.Version = version
			here = append(here, t)
		}
		c.report.Targets = append(c.report.Targets, entry)
	}
	c.Targets = here
	if len(here) == 0 {
		return errors.New("none of the targets can run here")
	}
	has := func(name string) bool {
		return slices.ContainsFunc(here, func(t target.Target) bool { return t.Name == name })
	}
	switch {
	case c.Baseline != "" && !has(c.Baseline):
		return fmt.Errorf("the base line %s is not among the targets", c.Baseline)
	case c.Baseline != "":
	case has("haproxy"):
		c.Baseline = "haproxy"
	default:
		c.Baseline = here[0].Name
	}
	c.report.Baseline = c.Baseline
	return nil
}

// workload runs all rounds of one workload: forwards, backwards, forwards …
func (c *comparison) workload(ctx context.Context, w Workload) error {
	if w.Open && c.rate == 0 {
		if err := c.calibrate(ctx); err != nil {
			return err
		}
	}
	entry := report.Workload{
		Name: w.Name, About: w.About, Idle: w.Idle, Churn: w.Churn, Open: w.Open, Conns: w.Conns, Loop: w.Loop,
		Load: strings.Join(w.loadFlags(c.times()), " "),
	}
	c.report.Workloads = append(c.report.Workloads, entry)
	first := len(c.report.Cells)
	for _, t := range c.Targets {
		c.report.Cells = append(c.report.Cells, report.Cell{Target: t.Name, Workload: w.Name})
	}
	for round := range c.Runs {
		if err := c.measureFloor(ctx); err != nil {
			return err
		}
		for k := range c.Targets {
			i := k
			if round%2 == 1 {
				i = len(c.Targets) - 1 - k
			}
			cell := &c.report.Cells[first+i]
			if cell.Failure != "" {
				continue
			}
			run, err := c.patiently(ctx, w, c.Targets[i])
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				cell.Failure = err.Error()
				continue
			}
			run.Round = round
			cell.Runs = append(cell.Runs, run)
		}
	}
	return nil
}

// patiently repeats a disturbed run once; the second counts in any case.
func (c *comparison) patiently(ctx context.Context, w Workload, t target.Target) (run report.Run, err error) {
	for again := false; ; again = true {
		if run, err = c.once(ctx, w, t); err != nil {
			return run, err
		}
		c.logf("%-13s %-16s %10.0f/s %8.0f ns/msg  generator busy %.0f%%  %s", w.Name, t.Name, run.Result.PerSec,
			run.Result.Usage.CPUPerMsg, 100*run.Result.Generator.Busy, run.Disturbed)
		if run.Disturbed == "" || again || c.Retries == 0 {
			return run, nil
		}
		c.Retries--
	}
}

func (c *comparison) logf(format string, args ...any) {
	if c.Log != nil {
		fmt.Fprintf(c.Log, format+"\n", args...)
	}
}

// calibrate finds the rate of the open loop: half of what the base line does in closed loop.
func (c *comparison) calibrate(ctx context.Context) error {
	for _, t := range c.Targets {
		if t.Name != c.Baseline {
			continue
		}
		run, err := c.patiently(ctx, closedLoop("calibrate", "", 64, 1, "64"), t)
		if err != nil {
			return fmt.Errorf("finding the rate of the open loop with %s: %w", t.Name, err)
		}
		c.rate = float64(int(run.Result.PerSec/2/1000)) * 1000
		c.logf("open loop at %.0f requests/s", c.rate)
	}
	return nil
}
