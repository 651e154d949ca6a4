package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"fooproxy/bench/load"
)

// loadFlags is what the command line of load says beside load.Options.
type loadFlags struct {
	opt      load.Options
	sizes    string
	arrivals string
	cores    string
	pids     string
	json     string
	hdr      string
	turns    *bool
}

func runLoad(args []string, stdout, _ io.Writer) error {
	f, err := parseLoad(args, stdout)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if *f.turns {
		f.opt.Turns = turnsBy(ctx, os.Stdin, stdout)
	}
	spareProcessor(f.opt.Threads)
	result, err := load.Run(ctx, f.opt)
	if err != nil {
		return err
	}
	result.Command = append([]string{"foobench", "load"}, args...)
	if err := f.write(result, stdout); err != nil {
		return err
	}
	if len(result.Invalid) > 0 {
		return &exitError{exitInvalid, errors.New("INVALID: " + strings.Join(result.Invalid, "; "))}
	}
	return nil
}

func parseLoad(args []string, stdout io.Writer) (*loadFlags, error) {
	f := &loadFlags{}
	o := &f.opt
	fs := newFlags("load", "TARGET")
	fs.IntVar(&o.Conns, "c", 16, "connections")
	fs.IntVar(&o.Depth, "P", 0, "requests outstanding per connection (default 1; in open loop no limit)")
	fs.DurationVar(&o.Duration, "d", 0, "length of the measured window (default 10s)")
	fs.Uint64Var(&o.Messages, "n", 0, "measure until so many answers instead")
	fs.Float64Var(&o.Rate, "R", 0, "requests per second, sent on schedule whatever the answers do (open loop); 0 = closed loop")
	fs.StringVar(&f.arrivals, "arrivals", "constant", "schedule of the open loop: constant or poisson")
	fs.StringVar(&f.sizes, "s", "64", "bytes per request, LF included, with weights: 64:0.9,16384:0.1")
	fs.DurationVar(&o.Warmup, "warmup", 0, "load before the measured window")
	fs.IntVar(&o.Churn, "churn", 0, "requests per connection, after which it is closed and made again; 0 = connections stay")
	fs.BoolVar(&o.Idle, "idle", false, "one request per connection, then hold all connections still")
	fs.IntVar(&o.Still, "still", 0, "connections to make beside the others and never use")
	fs.DurationVar(&o.Split, "split", 0, "send every request in two halves so far apart (with -P 1)")
	fs.DurationVar(&o.Timeout, "timeout", 0, "an answer later than this fails the run (default 5s)")
	fs.IntVar(&o.Threads, "t", 1, "generator threads")
	fs.StringVar(&o.Respond, "respond", "", "also be the upstream: listen on this address and answer, in the same threads")
	fs.BoolVar(&o.Echo, "echo", false, "the built-in upstream answers with the request's data")
	fs.BoolVar(&o.Verify, "verify", false, "every answer must carry its request's data (an echoing upstream)")
	fs.BoolVar(&o.Spin, "spin", false, "never sleep: the target pays for no wake-up of the generator")
	fs.BoolVar(&o.SendFile, "sendfile", false, "send requests, all of one size above 4096, by sendfile(2), and have the built-in upstream read their heads only")
	fs.BoolVar(&o.NoDelay, "nodelay", true, "TCP_NODELAY on the generator's sockets")
	fs.Uint64Var(&o.Seed, "seed", 1, "seed of sizes and arrivals")
	fs.StringVar(&f.cores, "cores", "", "CPUs to pin the generator's threads to: 1 or 1,2")
	fs.StringVar(&f.pids, "pid", "", "processes of the target, to measure their CPU time and memory over the same window")
	fs.IntVar(&o.Alone, "target-core", -1, "CPU that the target should have to itself: what others use of it is measured")
	f.turns = turnsFlag(fs)
	fs.StringVar(&f.json, "json", "", "write the result as JSON to this file, - for stdout instead of the text")
	fs.StringVar(&f.hdr, "hdr", "", "write the percentile distribution (HdrHistogram's text format) to this file")
	if err := parse(fs, args, stdout); err != nil {
		return nil, err
	}
	if fs.NArg() != 1 {
		return nil, usageError("want one target address, got %d arguments", fs.NArg())
	}
	o.Target = fs.Arg(0)
	return f, f.finish()
}

// finish turns the texts of flags into options and fills in the defaults that depend on other flags.
func (f *loadFlags) finish() (err error) {
	o := &f.opt
	if o.Mix, err = load.ParseMix(f.sizes); err != nil {
		return usageError("-s: %w", err)
	}
	if o.Cores, err = numbers(f.cores); err != nil {
		return usageError("--cores: %w", err)
	}
	if o.PIDs, err = numbers(f.pids); err != nil {
		return usageError("--pid: %w", err)
	}
	switch f.arrivals {
	case "constant":
	case "poisson":
		o.Poisson = true
	default:
		return usageError("--arrivals: want constant or poisson, not %q", f.arrivals)
	}
	if o.Depth == 0 && o.Rate == 0 {
		o.Depth = 1
	}
	if o.Duration == 0 && o.Messages == 0 {
		o.Duration = defaultDuration
	}
	if f.json != "-" && isTerminal(os.Stderr) {
		o.Progress = showProgress(os.Stderr)
	}
	if err := o.Check(); err != nil {
		return usageError("%w", err)
	}
	return nil
}

// numbers reads "1,2,3"; nothing for "".
func numbers(text string) ([]int, error) {
	if text == "" {
		return nil, nil
	}
	var list []int
	for part := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil || n < 0 {
			return nil, fmt.Errorf("%q is not a list of numbers", text)
		}
		list = append(list, n)
	}
	return list, nil
}

// write puts the result where the flags want it.
func (f *loadFlags) write(r *load.Result, stdout io.Writer) error {
	if f.hdr != "" {
		if err := writeFile(f.hdr, r.WriteHDR); err != nil {
			return err
		}
	}
	encode := func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	switch f.json {
	case "-":
		return encode(stdout)
	case "":
	default:
		if err := writeFile(f.json, encode); err != nil {
			return err
		}
	}
	return r.WriteText(stdout)
}

func writeFile(path string, write func(io.Writer) error) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(write(file), file.Close())
}
