package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"fooproxy/bench/stream"
)

// runStream is the load of tunnels: raw bytes.
func runStream(args []string, stdout, _ io.Writer) error {
	var o stream.Options
	fs := newFlags("stream", "--respond UPSTREAM TARGET")
	fs.IntVar(&o.Conns, "c", 4, "connections")
	fs.BoolVar(&o.Both, "both", false, "streams both ways")
	fs.DurationVar(&o.Duration, "d", time.Second, "length of the measured window")
	fs.DurationVar(&o.Warmup, "warmup", 0, "load before the measured window")
	fs.StringVar(&o.Respond, "respond", "", "be the upstream on this address")
	fs.IntVar(&o.Core, "cores", -1, "CPU to pin the generator to")
	fs.IntVar(&o.PID, "pid", 0, "process of the target, to measure its CPU time over the same window")
	fs.IntVar(&o.TargetCore, "target-core", -1, "CPU that the target should have to itself: what others use of it is measured")
	fs.BoolVar(&o.Spin, "spin", false, "never sleep")
	turns := turnsFlag(fs)
	asJSON := fs.String("json", "", "- = print the result as JSON")
	if err := parse(fs, args, stdout); err != nil {
		return err
	}
	if fs.NArg() != 1 {
		return usageError("want one target address, got %d arguments", fs.NArg())
	}
	o.Target = fs.Arg(0)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if *turns {
		o.Turns = turnsBy(ctx, os.Stdin, stdout)
	}
	spareProcessor(1)
	r, err := stream.Run(ctx, o)
	if err != nil {
		return err
	}
	r.Command = append([]string{"foobench", "stream"}, args...)
	if *asJSON == "-" {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	fmt.Fprintf(stdout, "%.0f MiB/s", r.PerSec)
	if r.Usage != nil {
		fmt.Fprintf(stdout, ", CPU of the target %.0f µs/MiB, busy %.0f%%", r.Usage.CPUPerMsg/1000, 100*r.Usage.Busy)
	}
	_, err = fmt.Fprintf(stdout, ", generator busy %.0f%%\n", 100*r.Generator.Busy)
	return err
}
