package compare

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"fooproxy/bench/report"
	"fooproxy/bench/target"
)

// A run is disturbed when the generator had to wait for its CPU, or something else used the target's, for more than this
// share of the window. In bulk the generator waits up to a tenth of it for the kernel's own thread that receives what was sent
// (ksoftirqd); what others use is known in ticks of some milliseconds only.
const (
	waitedMax  = 0.12
	foreignMax = 0.20
)

// contender is a target of one round, running, with a generator of its own.
type contender struct {
	cell *report.Cell
	t    target.Target
	p    *target.Process
	g    *generator
}

// round starts every target whose cell has not failed, lets them take turns, and adds a run to each cell.
func (c *comparison) round(ctx context.Context, w Workload, round int, cells []report.Cell) error {
	running := c.startAll(ctx, w, cells)
	defer func() {
		for _, k := range running {
			k.stop()
		}
	}()
	drop := func(k *contender, err error) {
		k.cell.Failure = whose(k.p, err).Error()
		k.stop()
		running = slices.DeleteFunc(running, func(o *contender) bool { return o == k })
	}
	turns, length := c.turns(w)
	var floors []float64
	for n := range turns {
		if w.Name == report.FloorWorkload {
			ns, err := c.measureFloor(ctx)
			if err != nil {
				return err
			}
			floors = append(floors, ns)
		}
		for _, k := range inTurn(running, round+n) {
			c.step(w.Name, round, k.t.Name)
			if _, err := k.g.turn(length); err != nil {
				drop(k, err)
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
	if len(floors) > 0 {
		c.report.FloorNs = append(c.report.FloorNs, report.Median(floors))
	}
	for _, k := range slices.Clone(running) {
		c.remember(k.t.Name, k.p.Args)
		run, err := k.finish(round)
		if err != nil {
			drop(k, err)
			continue
		}
		k.cell.Runs = append(k.cell.Runs, run)
		c.logf("%-13s %-16s round %d %10.0f/s %8.0f ns/msg  generator busy %.0f%%  %s", w.Name, k.t.Name, round+1, run.Result.PerSec,
			run.Result.Usage.CPUPerMsg, 100*run.Result.Generator.Busy, run.Disturbed)
	}
	return ctx.Err()
}

// inTurn is A B C in even turns and C B A in odd ones.
func inTurn(list []*contender, n int) []*contender {
	list = slices.Clone(list)
	if n%2 == 1 {
		slices.Reverse(list)
	}
	return list
}

// turns is into how many turns a run is cut, and how long each is. Still connections are looked at once.
func (c *comparison) turns(w Workload) (n int, length time.Duration) {
	if w.Idle {
		return 1, min(c.Turn, c.Time)
	}
	n = max(1, int(c.Time/c.Turn))
	return n, c.Time / time.Duration(n)
}

// startAll starts all that have not failed, at the same time: most of that is waiting.
func (c *comparison) startAll(ctx context.Context, w Workload, cells []report.Cell) []*contender {
	started := make([]*contender, len(cells))
	var starting sync.WaitGroup
	for i := range cells {
		if cells[i].Failure != "" {
			continue
		}
		starting.Go(func() {
			var err error
			if started[i], err = c.start(ctx, w, &cells[i]); err != nil {
				cells[i].Failure = err.Error()
			}
		})
	}
	starting.Wait()
	return slices.DeleteFunc(started, func(k *contender) bool { return k == nil })
}

// start starts the target of a cell and its generator.
func (c *comparison) start(ctx context.Context, w Workload, cell *report.Cell) (*contender, error) {
	i := slices.IndexFunc(c.Targets, func(t target.Target) bool { return t.Name == cell.Target })
	t := c.Targets[i]
	dir, err := os.MkdirTemp(c.dir, "run-")
	if err != nil {
		return nil, err
	}
	env, err := NewEnv(dir, w, c.TargetCore, c.Veth)
	if err != nil {
		return nil, err
	}
	p, err := target.Start(ctx, t, env)
	if err != nil {
		return nil, err
	}
	_, length := c.turns(w)
	args := w.LoadArgs(c.Programs.Foobench, env, LoadTimes{Window: length, Warmup: c.Warmup, Rate: c.rate, Spin: c.Spin, Turns: true}, t.Direct)
	args = slices.Insert(args, len(args)-1, "--cores", strconv.Itoa(c.LoadCore), "--pid", strconv.Itoa(p.PID),
		"--target-core", strconv.Itoa(c.TargetCore))
	g, err := startGenerator(args, c.LoadCore)
	if err != nil {
		err = whose(p, err)
		_ = p.Stop()
		return nil, err
	}
	return &contender{cell, t, p, g}, nil
}

// whose adds to what went wrong that the target has ended. Its connections break first and its end is known a little later.
func whose(p *target.Process, err error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if p.Outlasts(ctx) == nil {
		return err
	}
	_, why := p.Ended()
	return fmt.Errorf("the target ended (%s); %w", why, err)
}

func (k *contender) stop() {
	k.g.stop()
	_ = k.p.Stop()
}

// finish brings the result of a round home.
func (k *contender) finish(round int) (run report.Run, err error) {
	run.Round = round
	if run.Result, err = k.g.finish(); err != nil {
		return run, err
	}
	g := &run.Result.Generator
	if g.Waited > waitedMax {
		run.Disturbed = fmt.Sprintf("generator without its CPU %.0f%%", 100*g.Waited)
	}
	if g.Foreign > foreignMax {
		run.Disturbed += fmt.Sprintf(" others on the target's CPU %.0f%%", 100*g.Foreign)
	}
	return run, nil
}

// remember notes how a target was started, once.
func (c *comparison) remember(name string, args []string) {
	for i := range c.report.Targets {
		if t := &c.report.Targets[i]; t.Name == name && t.Command == "" {
			t.Command = strings.Join(args, " ")
		}
	}
}

// measureFloor measures the floor for some milliseconds, in a child on the target's CPU.
func (c *comparison) measureFloor(ctx context.Context) (ns float64, err error) {
	var stdout bytes.Buffer
	p, err := target.Spawn([]string{c.Programs.Foobench, "floor", "--time", "20ms"}, c.TargetCore, nil, &stdout)
	if err != nil {
		return 0, err
	}
	code, err := p.Wait(ctx)
	if err != nil {
		return 0, err
	}
	ns, err = strconv.ParseFloat(strings.TrimSpace(stdout.String()), 64)
	if code != 0 || err != nil {
		return 0, fmt.Errorf("foobench floor: exit code %d: %s %s", code, p.Output(), stdout.String())
	}
	return ns, nil
}
