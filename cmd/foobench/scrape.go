package main

import (
	"context"
	"io"
	"os/signal"
	"syscall"

	"fooproxy/bench/compare"
	"fooproxy/bench/target"
)

// runScrape measures what a scrape a second does to those whose requests are under way.
func runScrape(args []string, stdout, _ io.Writer) error {
	o := compare.ScrapeOptions{Out: stdout}
	fs := newFlags("scrape", "")
	engine := fs.String("engine", "uring", "fooproxy's engine")
	cores := fs.String("cores", "", "CPU of the target and CPU of the generator (default: the first two allowed)")
	fs.IntVar(&o.Conns, "c", 5000, "connections")
	fs.Float64Var(&o.Rate, "R", 5000, "requests per second, over all connections")
	fs.IntVar(&o.Windows, "windows", 20, "windows of a second, of each of three kinds")
	if err := parse(fs, args, stdout); err != nil {
		return err
	}
	if o.Conns < 1 || o.Rate <= 0 || o.Windows < 1 {
		return usageError("-c, -R and --windows must be above 0")
	}
	programs, err := target.OwnPrograms()
	if err != nil {
		return err
	}
	picked, err := target.Select(target.All(programs), "fooproxy-"+*engine)
	if err != nil {
		return usageError("--engine: %w", err)
	}
	if _, err := picked[0].Find(); err != nil {
		return err
	}
	o.Foobench, o.Target = programs.Foobench, picked[0]
	if o.TargetCore, o.LoadCore, err = twoCores(*cores); err != nil {
		return usageError("--cores: %w", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	return compare.Scrape(ctx, o)
}
