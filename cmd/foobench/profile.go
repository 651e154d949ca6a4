package main

import (
	"context"
	"io"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"fooproxy/bench/compare"
	"fooproxy/bench/profile"
	"fooproxy/bench/target"
)

// runProfile profiles one target under one workload.
func runProfile(args []string, stdout, _ io.Writer) error {
	o := profile.Options{Out: stdout}
	fs := newFlags("profile", "")
	engine := fs.String("engine", "uring", "fooproxy's engine")
	name := fs.String("target", "", "profile this target of compare instead, flags after + as there: fooproxy-epoll+--log=/dev/null")
	workload := fs.String("workload", "pipelined", "one of compare's workloads")
	dir := fs.String("out", "bench/out/profile", "directory for the raw profiles and the flame graph")
	cores := fs.String("cores", "", "CPU of the target and CPU of the generator (default: the first two allowed)")
	fs.BoolVar(&o.Unasked, "unasked", false, "say only what share of fooproxy's time log, matching and admin take when nobody asked for them")
	fs.DurationVar(&o.Time, "time", 4*time.Second, "length of each profile; whole seconds for Go's own")
	fs.Float64Var(&o.Rate, "R", 30000, "requests per second of a workload in open loop")
	if err := parse(fs, args, stdout); err != nil {
		return err
	}
	if o.Time < time.Second {
		return usageError("--time: want at least 1s")
	}
	programs, err := target.OwnPrograms()
	if err != nil {
		return err
	}
	o.Foobench = programs.Foobench
	if *name == "" {
		*name = "fooproxy-" + *engine
	}
	all := append(target.All(programs), programs.Engine("auto"))
	picked, err := target.Select(all, *name)
	if err != nil {
		return usageError("%w", err)
	}
	workloads, err := compare.SelectWorkloads(*workload)
	if err != nil {
		return usageError("--workload: %w", err)
	}
	if _, err := picked[0].Find(); err != nil {
		return err
	}
	o.Target, o.Workload, o.Pprof = picked[0], workloads[0], picked[0].Engine
	if o.TargetCore, o.LoadCore, err = twoCores(*cores); err != nil {
		return usageError("--cores: %w", err)
	}
	o.Dir = filepath.Join(*dir, strings.ReplaceAll(*name, "/", "_")+"-"+o.Workload.Name)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	return profile.Run(ctx, o)
}
