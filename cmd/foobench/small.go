package main

import (
	"context"
	"fmt"
	"io"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"fooproxy/bench/concept"
	"fooproxy/bench/floor"
	"fooproxy/bench/relay"
	"fooproxy/bench/sys"
	"fooproxy/server"
)

// runRespond is the upstream of tests and comparisons as a program of its own.
func runRespond(args []string, stdout, _ io.Writer) error {
	fs := newFlags("respond", "")
	var o server.Options
	fs.StringVar(&o.Listen, "listen", "127.0.0.1:8000", "address: host:port, port or unix:/path")
	fs.StringVar(&o.Reply, "reply", server.ReplyEcho, "data of the answers: echo, empty, or a text")
	fs.IntVar(&o.Loops, "loops", 0, "event loops; 0 = one per CPU")
	fs.Float64Var(&o.NakShare, "nak", 0, "share of NAKs, 0 to 1")
	fs.DurationVar(&o.Delay, "delay", 0, "from a request to its answer")
	fs.Uint64Var(&o.Seed, "seed", 1, "seed of the NAKs")
	if err := parse(fs, args, stdout); err != nil {
		return err
	}
	s, err := server.New(o)
	if err != nil {
		return usageError("%w", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	spareProcessor(s.Loops())
	s.Start()
	<-ctx.Done()
	s.Stop()
	return nil
}

// spareProcessor lets the rest of the program run beside threads that hardly ever let go of theirs.
func spareProcessor(busy int) {
	if runtime.GOMAXPROCS(0) <= busy {
		runtime.GOMAXPROCS(busy + 1)
	}
}

// runRelay is one of the base lines as a program of its own.
func runRelay(args []string, stdout, _ io.Writer) error {
	fs := newFlags("relay", "")
	kind := fs.String("kind", "go", "go: two goroutines per connection; poll: one thread and poll(2)")
	listen := fs.String("listen", "127.0.0.1:8001", "address: host:port or unix:/path")
	forward := fs.String("forward", "127.0.0.1:8000", "the upstream's address")
	if err := parse(fs, args, stdout); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	switch *kind {
	case "go":
		return relay.Goroutines(ctx, *listen, *forward)
	case "poll":
		return relay.Poll(ctx, *listen, *forward)
	}
	return usageError("--kind: want go or poll, not %q", *kind)
}

// runFloor prints one number, in nanoseconds.
func runFloor(args []string, stdout, _ io.Writer) error {
	fs := newFlags("floor", "")
	size := fs.Int("s", 16, "bytes of a message")
	over := fs.Duration("time", 500*time.Millisecond, "how long to measure")
	core := fs.Int("core", -1, "CPU to measure on; -1 = any")
	if err := parse(fs, args, stdout); err != nil {
		return err
	}
	if *size < 1 || *size > 32<<10 {
		return usageError("-s: want 1 to %d", 32<<10)
	}
	if err := sys.LockThread(*core); err != nil {
		return err
	}
	took, err := floor.Measure(*size, *over)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, took.Nanoseconds())
	return err
}

// runConcept measures one mechanism of the kernel by itself.
func runConcept(args []string, stdout, _ io.Writer) error {
	fs := newFlags("concept", "trigger|splice|cork")
	over := fs.Duration("time", 500*time.Millisecond, "how long to measure each way")
	batches := fs.Int("n", 50, "batches of writes for cork")
	congestion := fs.String("congestion", "", "TCP congestion control for splice; \"\" = the machine's")
	core := fs.Int("core", -1, "CPU to measure on; -1 = any")
	if err := parse(fs, args, stdout); err != nil {
		return err
	}
	if *over <= 0 || *batches < 1 {
		return usageError("--time and -n must be above 0")
	}
	if err := sys.LockThread(*core); err != nil {
		return err
	}
	switch fs.Arg(0) {
	case "trigger":
		return concept.Trigger(stdout, *over)
	case "splice":
		return concept.Splice(stdout, *over, *congestion)
	case "cork":
		return concept.Cork(stdout, *batches)
	}
	return usageError("want trigger, splice or cork, not %q", fs.Arg(0))
}
