package compare

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"fooproxy/bench/load"
	"fooproxy/bench/report"
	"fooproxy/bench/target"
)

// A run is disturbed when the generator had to wait for its CPU, or something else used the target's, for more than this
// share of the window.
const (
	waitedMax  = 0.02
	foreignMax = 0.06
)

// once makes one run: a fresh target, a fresh generator.
func (c *comparison) once(ctx context.Context, w Workload, t target.Target) (run report.Run, err error) {
	dir, err := os.MkdirTemp(c.dir, "run-")
	if err != nil {
		return run, err
	}
	env, err := NewEnv(dir, w, c.TargetCore)
	if err != nil {
		return run, err
	}
	p, err := target.Start(ctx, t, env)
	if err != nil {
		return run, err
	}
	defer p.Stop()
	c.remember(t.Name, p.Args)
	args := w.LoadArgs(c.Programs.Foobench, env, c.times(), t.Direct)
	args = append(args[:len(args)-1], "--cores", strconv.Itoa(c.LoadCore), "--pid", strconv.Itoa(p.PID),
		"--target-core", strconv.Itoa(c.TargetCore), env.Listen)
	if run.Result, err = c.generate(ctx, args); err != nil {
		if ended, why := p.Ended(); ended {
			return run, fmt.Errorf("the target ended (%s); %w", why, err)
		}
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

// generate runs foobench load and reads its result. A run that is INVALID because the generator was the limit is a run: the
// report shows it.
func (c *comparison) generate(ctx context.Context, args []string) (r load.Result, err error) {
	var stdout bytes.Buffer
	p, err := target.Spawn(args, c.LoadCore, &stdout)
	if err != nil {
		return r, err
	}
	limit, cancel := context.WithTimeout(ctx, c.Time+c.Warmup+time.Minute)
	defer cancel()
	code, err := p.Wait(limit)
	if err != nil {
		return r, fmt.Errorf("the generator did not finish: %w: %s", err, p.Output())
	}
	if code != 0 && code != exitInvalid {
		return r, fmt.Errorf("%s", strings.TrimPrefix(p.Output(), "foobench load: "))
	}
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil {
		return r, fmt.Errorf("the generator's result: %w: %s", err, p.Output())
	}
	return r, nil
}

// exitInvalid is foobench load's exit code for a run that the generator itself limited.
const exitInvalid = 4

// times is what the options say about the length of a run.
func (c *comparison) times() LoadTimes {
	return LoadTimes{Window: c.Time, Warmup: c.Warmup, Rate: c.rate, Spin: c.Spin}
}

// remember notes how a target was started, once.
func (c *comparison) remember(name string, args []string) {
	for i := range c.report.Targets {
		if t := &c.report.Targets[i]; t.Name == name && t.Command == "" {
			t.Command = strings.Join(args, " ")
		}
	}
}

// measureFloor adds one measurement of the floor, made by a child on the target's CPU.
func (c *comparison) measureFloor(ctx context.Context) error {
	var stdout bytes.Buffer
	p, err := target.Spawn([]string{c.Programs.Foobench, "floor", "--time", "50ms"}, c.TargetCore, &stdout)
	if err != nil {
		return err
	}
	code, err := p.Wait(ctx)
	if err != nil {
		return err
	}
	ns, err := strconv.ParseFloat(strings.TrimSpace(stdout.String()), 64)
	if code != 0 || err != nil {
		return fmt.Errorf("foobench floor: exit code %d: %s %s", code, p.Output(), stdout.String())
	}
	c.report.FloorNs = append(c.report.FloorNs, ns)
	return nil
}
