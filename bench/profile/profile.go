package profile

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/pprof/profile"

	"fooproxy/bench/compare"
	"fooproxy/bench/load"
	"fooproxy/bench/target"
)

// Options is what is profiled, and how.
type Options struct {
	Foobench   string
	Target     target.Target
	Workload   compare.Workload
	Pprof      bool // the target takes --admin ADDR and serves /debug/pprof/profile there
	Unasked    bool // say only what observability costs a fooproxy of which nobody asks any
	Time       time.Duration
	Rate       float64 // of a workload in open loop
	TargetCore int
	LoadCore   int
	Dir        string // where the raw profiles and the picture go
	Out        io.Writer
}

// warmup is how long the workload runs before the profile begins.
const warmup = 300 * time.Millisecond

// Run starts the target under the workload, takes its profile and prints where the time went.
func Run(ctx context.Context, o Options) error {
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "foobench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	env, err := compare.NewEnv(work, o.Workload, o.TargetCore, false)
	if err != nil {
		return err
	}
	url := ""
	if o.Pprof && !o.Unasked {
		port, err := target.FreePort()
		if err != nil {
			return err
		}
		address := fmt.Sprintf("127.0.0.1:%d", port)
		flags := []string{"--admin", address}
		if !strings.Contains(o.Target.Name, "--track") && !strings.Contains(o.Target.Name, "--log") {
			flags = append(flags, "--track=off") // which the admin page would switch on
		}
		o.Target = o.Target.With(o.Target.Name, flags)
		url = "http://" + address
	}
	p, err := target.Start(ctx, o.Target, env)
	if err != nil {
		return err
	}
	defer p.Stop()
	fmt.Fprintf(o.Out, "%s under %s for %v\n  %s\n", o.Target.Name, o.Workload.Name, o.Time, strings.Join(p.Args, " "))
	// The load outlasts both profiles, and is then told to stop.
	args := o.Workload.LoadArgs(o.Foobench, env, compare.LoadTimes{Window: time.Hour, Warmup: 0, Rate: o.Rate}, o.Target.Direct)
	var result bytes.Buffer
	generator, err := target.Spawn(args, o.LoadCore, nil, &result)
	if err != nil {
		return err
	}
	defer generator.Stop()
	if err := settle(ctx, generator); err != nil {
		return err
	}
	if o.Unasked {
		if err := o.unasked(ctx, p.PID); err != nil {
			return err
		}
		return finish(ctx, o.Out, generator, &result)
	}
	if url != "" {
		if err := o.pprof(ctx, url); err != nil {
			return err
		}
	}
	if err := o.perf(ctx, p.PID, url == ""); err != nil {
		return err
	}
	return finish(ctx, o.Out, generator, &result)
}

// settle lets the workload get going.
func settle(ctx context.Context, generator *target.Process) error {
	ctx, cancel := context.WithTimeout(ctx, warmup)
	defer cancel()
	return generator.Outlasts(ctx)
}

// finish stops the generator, which has then checked every answer, and prints the pace.
func finish(ctx context.Context, out io.Writer, generator *target.Process, result *bytes.Buffer) error {
	if err := generator.Signal(os.Interrupt); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if _, err := generator.Wait(ctx); err != nil {
		return err
	}
	var r load.Result
	if err := json.Unmarshal(result.Bytes(), &r); err != nil {
		return fmt.Errorf("the load failed: %s", generator.Output())
	}
	fmt.Fprintf(out, "%.0f answers per second while profiled, all of them right\n", r.PerSec)
	return nil
}

// pprof takes Go's own profile.
func (o *Options) pprof(ctx context.Context, url string) error {
	url += fmt.Sprintf("/debug/pprof/profile?seconds=%d", max(1, int(o.Time.Seconds())))
	raw, err := fetch(ctx, url)
	if err != nil {
		return fmt.Errorf("the target's profile: %w", err)
	}
	name := filepath.Join(o.Dir, "cpu.pb.gz")
	if err := os.WriteFile(name, raw, 0o644); err != nil {
		return err
	}
	p, err := profile.ParseData(raw)
	if err != nil {
		return fmt.Errorf("the target's profile: %w", err)
	}
	fmt.Fprintln(o.Out, "\nby part, from Go's profile (for kernel entry: who entered):")
	WriteShares(o.Out, Classify(p))
	flame := filepath.Join(o.Dir, "flame.svg")
	file, err := os.Create(flame)
	if err != nil {
		return err
	}
	title := fmt.Sprintf("%s under %s", o.Target.Name, o.Workload.Name)
	if err := errors.Join(WriteFlame(file, p, title), file.Close()); err != nil {
		return err
	}
	fmt.Fprintf(o.Out, "\nflame graph %s; raw profile: go tool pprof %s\n", flame, name)
	return nil
}

func fetch(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", url, response.Status, bytes.TrimSpace(body))
	}
	return body, err
}

// perf takes the kernel's side; needed tells that there is nothing else to show.
func (o *Options) perf(ctx context.Context, pid int, needed bool) error {
	if _, err := exec.LookPath("perf"); err != nil {
		if needed {
			return errors.New("this target has no profile of its own, and perf is not installed: apt install linux-perf")
		}
		fmt.Fprintln(o.Out, "\nthe kernel's side is not shown: perf is not installed (apt install linux-perf)")
		return nil
	}
	data := filepath.Join(o.Dir, "perf.data")
	if err := recordPerf(ctx, pid, data, o.Time, "-F", "1999", "-g"); err != nil {
		return err
	}
	entries, err := readPerf(ctx, data)
	if err != nil {
		return err
	}
	kernel := 0.0
	for _, e := range entries {
		if e.kernel {
			kernel += e.Part
		}
	}
	fmt.Fprintf(o.Out, "\nby side, from perf: kernel %.1f %%, process %.1f %%\n", 100*kernel, 100*(1-kernel))
	if shares, ours := classifyPerf(entries); ours {
		fmt.Fprintln(o.Out, "by part, from perf (for kernel entry: the kernel's functions):")
		WriteShares(o.Out, shares)
	}
	fmt.Fprintln(o.Out, "by function:")
	for i, e := range entries {
		if i == 20 {
			break
		}
		side := "process"
		if e.kernel {
			side = "kernel"
		}
		fmt.Fprintf(o.Out, "  %5.1f %%  %-8s %s\n", 100*e.Part, side, e.Name)
	}
	fmt.Fprintf(o.Out, "\nraw samples: perf report -i %s\n", data)
	return nil
}
