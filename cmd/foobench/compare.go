package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"fooproxy/bench/compare"
	"fooproxy/bench/report"
	"fooproxy/bench/sys"
	"fooproxy/bench/target"
)

func runCompare(args []string, stdout, stderr io.Writer) error {
	o := compare.Options{Out: stdout, Command: append([]string{"foobench", "compare"}, args...)}
	fs := newFlags("compare", "")
	var (
		targets    = fs.String("targets", "all", "comma-separated targets; +FLAG after a name adds a flag: fooproxy-epoll+--cork=true")
		workloads  = fs.String("workloads", "all", "comma-separated workloads")
		out        = fs.String("out", "bench/out", "directory for report.json and report.html; \"\" writes none")
		cores      = fs.String("cores", "", "CPU of the target and CPU of the generator (default: the first two allowed)")
		wide       = fs.Bool("wide", false, "leave the target on every CPU: for fooproxy-uring+--loops=2, say; figures are then not comparable with pinned ones")
		full       = fs.Bool("full", false, "the long form: more and longer runs")
		verbose    = fs.Bool("v", false, "print every run to stderr")
		listThings = fs.Bool("list", false, "list targets and workloads, and what is missing")
	)
	fs.IntVar(&o.Runs, "runs", 0, "runs of each target under each workload (default 5, with --full 9)")
	fs.DurationVar(&o.Time, "time", 0, "measured window of a run (default 250ms, with --full 2s)")
	// Long against what a turn costs beside its window, short against the ups and downs of a virtual machine's speed.
	fs.DurationVar(&o.Turn, "turn", 25*time.Millisecond, "length of the turns that a run is cut into, in which the targets alternate")
	fs.DurationVar(&o.Warmup, "warmup", 0, "load before the window (default 50ms, with --full 500ms)")
	fs.StringVar(&o.Congestion, "congestion", "", "TCP congestion control of the children, in a network namespace of their own, which takes root; machine = use the machine's network (default reno, or the machine's network without the right to another)")
	fs.BoolVar(&o.Veth, "veth", false, "the target in one network namespace, client and upstream in another, a veth pair between them; takes root and ip(8)")
	fs.StringVar(&o.Baseline, "baseline", "", "target that ratios are to (default haproxy, or the first that can run)")
	fs.BoolVar(&o.Spin, "spin", false, "the generator never sleeps: targets pay for no wake-up of it")
	if err := parse(fs, args, stdout); err != nil {
		return err
	}
	defaults(&o, *full)
	programs, err := target.OwnPrograms()
	if err != nil {
		return err
	}
	if o.TargetCore, o.LoadCore, err = twoCores(*cores); err != nil {
		return usageError("--cores: %w", err)
	}
	o.Programs = programs
	if *wide {
		o.TargetCore = target.AllCores
	}
	if *listThings {
		list(stdout, target.All(programs))
		return nil
	}
	if o.Targets, err = target.Select(target.All(programs), *targets); err != nil {
		return usageError("--targets: %w", err)
	}
	if o.Workloads, err = compare.SelectWorkloads(*workloads); err != nil {
		return usageError("--workloads: %w", err)
	}
	if err := isolate(&o, stderr); err != nil {
		return err
	}
	if *verbose {
		o.Log = stderr
	} else if isTerminal(os.Stderr) {
		o.Progress = showShare(os.Stderr)
		o.Out = clearing{stdout, os.Stderr}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	result, err := compare.Run(ctx, o)
	if result != nil && *out != "" && len(result.Cells) > 0 {
		err = errors.Join(err, writeReport(stdout, result, *out))
	}
	return err
}

// isolate gives the children a network of their own. A congestion control that paces by timers, as bbr does, would be measured
// along with the targets; reno is in every kernel.
func isolate(o *compare.Options, stderr io.Writer) error {
	if o.Congestion == "machine" {
		if o.Veth {
			return usageError("--veth: the machine's network has no such pair")
		}
		return nil
	}
	asked := o.Congestion != "" || o.Veth
	if o.Congestion == "" {
		o.Congestion = "reno"
	}
	err := target.Isolate(o.Congestion, o.Veth)
	o.Isolate = err == nil
	switch {
	case err != nil && asked:
		return fmt.Errorf("--congestion %s: %w; sysctl net.ipv4.tcp_allowed_congestion_control lists what may be chosen", o.Congestion, err)
	case err != nil:
		fmt.Fprintf(stderr, "foobench compare: the machine's network is used, with whatever else it does: %v\n", err)
	}
	return nil
}

// writeReport puts the JSON and the page into a directory.
func writeReport(stdout io.Writer, r *report.Report, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	raw, page := filepath.Join(dir, "report.json"), filepath.Join(dir, "report.html")
	fmt.Fprintf(stdout, "\n%s %s\n", raw, page)
	return errors.Join(r.Save(raw), writeFile(page, r.WriteHTML))
}

// defaults fills in what the flags left open.
func defaults(o *compare.Options, full bool) {
	runs, window, warmup := 5, 250*time.Millisecond, 50*time.Millisecond
	if full {
		runs, window, warmup = 9, 2*time.Second, 500*time.Millisecond
	}
	if o.Runs == 0 {
		o.Runs = runs
	}
	if o.Time == 0 {
		o.Time = window
	}
	if o.Warmup == 0 {
		o.Warmup = warmup
	}
}

// twoCores reads "0,1", or takes the first two CPUs that this process may use.
func twoCores(text string) (target, load int, err error) {
	list, err := numbers(text)
	if err != nil {
		return 0, 0, err
	}
	if text == "" {
		list = sys.Cores()
	}
	if len(list) < 2 {
		return 0, 0, errors.New("the target and the generator need a CPU each")
	}
	return list[0], list[1], nil
}

func list(w io.Writer, targets []target.Target) {
	fmt.Fprintln(w, "targets:")
	for _, t := range targets {
		version, err := t.Find()
		if err != nil {
			version = "missing: " + err.Error()
		}
		fmt.Fprintf(w, "  %-15s %s (%s)\n", t.Name, t.About, version)
	}
	fmt.Fprintln(w, "workloads:")
	for _, wl := range append(compare.Workloads(), compare.Others()...) {
		fmt.Fprintf(w, "  %-15s %s\n", wl.Name, wl.About)
	}
}
