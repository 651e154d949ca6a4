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
	Turn       time.Duration // about how long each of the turns is that a run is cut into
	Warmup     time.Duration
	Baseline   string // target that ratios are to; "" = haproxy when it is there, else the first
	Spin       bool   // the generator never sleeps
	TargetCore int
	LoadCore   int
	Command    []string // how the user asked for this
	Out        io.Writer
	Log        io.Writer // what goes on, a line per run; nil = nothing
	Isolate    bool      // the children get a network of their own, for each workload; see target.Isolate
	Congestion string    // of that network
	Veth       bool      // with Isolate: the generator is in a network of its own too, and a veth pair joins the two
	// Progress, when not nil, is called before every turn with the share of all turns that is done.
	Progress func(done float64, what string)
}

// comparison is one going on.
type comparison struct {
	Options
	report  *report.Report
	dir     string
	rate    float64 // of the open loop
	stepped int     // turns begun
}

// Run compares and returns every run. A target that fails under a workload loses that cell and the error says so; the
// report holds the rest.
func Run(ctx context.Context, o Options) (*report.Report, error) {
	if o.Runs < 1 || o.Time <= 0 || o.Turn <= 0 || o.Warmup < 0 {
		return nil, errors.New("compare: want at least one run and one turn, of a time above 0")
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
	c.report.Machine.Isolated, c.report.Machine.Veth = o.Isolate, o.Veth
	if err := c.findTargets(); err != nil {
		return nil, err
	}
	c.report.WriteHead(o.Out)
	for _, w := range o.Workloads {
		if err = c.workload(ctx, w); err != nil {
			c.report.DropEmpty()
		}
		c.report.WriteWorkload(o.Out, w.Name)
		if err != nil {
			break
		}
	}
	c.report.Took = time.Since(began).Round(time.Second).String()
	c.report.WriteTail(o.Out)
	if ctx.Err() != nil {
		return c.report, errors.New("interrupted: what is above was measured until then")
	}
	if err != nil {
		return c.report, err
	}
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

// workload runs all rounds of one workload.
func (c *comparison) workload(ctx context.Context, w Workload) error {
	if c.Isolate {
		// A new one each time: the closed connections of the last workload, which the kernel keeps for a minute, go with theirs.
		if err := target.Isolate(c.Congestion, c.Veth); err != nil {
			return err
		}
	}
	if w.Open && c.rate == 0 {
		if err := c.calibrate(ctx); err != nil {
			return err
		}
	}
	entry := report.Workload{
		Name: w.Name, Short: w.Short, About: w.About, Idle: w.Idle, Churn: w.Churn, Open: w.Open, Conns: w.Conns, Loop: w.Loop,
		Load:   w.command() + " " + strings.Join(w.loadFlags(LoadTimes{Window: c.Time, Warmup: c.Warmup, Rate: c.rate, Spin: c.Spin}), " "),
		Stream: w.Stream,
	}
	c.report.Workloads = append(c.report.Workloads, entry)
	first := len(c.report.Cells)
	for _, t := range c.Targets {
		c.report.Cells = append(c.report.Cells, report.Cell{Target: t.Name, Workload: w.Name})
	}
	for round := range c.Runs {
		if err := c.round(ctx, w, round, c.report.Cells[first:]); err != nil {
			return err
		}
	}
	return nil
}

// step says that a turn begins.
func (c *comparison) step(workload string, round int, name string) {
	c.stepped++
	if c.Progress == nil {
		return
	}
	all := 0
	for _, w := range c.Workloads {
		n, _ := c.turns(w)
		all += n * c.Runs * len(c.Targets)
	}
	c.Progress(float64(c.stepped)/float64(all), fmt.Sprintf("%s, round %d of %d: %s", workload, round+1, c.Runs, name))
}

func (c *comparison) logf(format string, args ...any) {
	if c.Log != nil {
		fmt.Fprintf(c.Log, format+"\n", args...)
	}
}

// calibrate finds the rate of the open loop: half of what the base line does in closed loop.
func (c *comparison) calibrate(ctx context.Context) error {
	cells := []report.Cell{{Target: c.Baseline}}
	if err := c.round(ctx, closedLoop("calibrate", "", 64, 1, "64"), 0, cells); err != nil {
		return err
	}
	if cells[0].Failure != "" {
		return fmt.Errorf("finding the rate of the open loop with %s: %s", c.Baseline, cells[0].Failure)
	}
	c.rate = float64(int(cells[0].Runs[0].Result.PerSec/2/1000)) * 1000
	c.logf("open loop at %.0f requests/s", c.rate)
	return nil
}
