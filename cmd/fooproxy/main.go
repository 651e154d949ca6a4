package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"fooproxy/proxy"
	"fooproxy/ring"
)

// The process's exit codes.
const (
	exitClean  = 0
	exitBroken = 1
	exitUsage  = 2
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr, newService))
}

// run is the whole process. start opens the listeners and must not return before clients can connect.
func run(args []string, stdout, stderr io.Writer, start func(proxy.Config) (service, error)) int {
	if len(args) > 0 {
		switch args[0] {
		case "recount":
			return report(stderr, runRecount(args[1:], os.Stdin, stdout, stderr))
		case "top":
			return report(stderr, runTop(args[1:], stdout))
		}
	}
	options, err := parseOptions(args)
	if err == nil && options.version {
		printVersion(stdout)
		if options.verbose {
			fmt.Fprintf(stdout, "\n%s", ring.Probe(ring.Options{}))
		}
		return exitClean
	}
	if errors.Is(err, flag.ErrHelp) {
		printHelp(stdout)
		return exitClean
	}
	if err == nil {
		err = options.run(stdout, stderr, start)
	}
	return report(stderr, err)
}

// run does what the options ask for, which are right in themselves.
func (o *options) run(stdout, stderr io.Writer, start func(proxy.Config) (service, error)) error {
	// From here on no signal can end the process by surprise: listeners open later than this.
	signals := catchSignals()
	level := new(slog.LevelVar)
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	for _, name := range o.unknownEnv(os.Environ()) {
		log.Warn("environment variable is no setting, ignored", "name", name)
	}
	if err := o.inherit(log); err != nil {
		return err
	}
	if err := o.resolve(context.Background()); err != nil {
		return err
	}
	if err := o.limit(log); err != nil {
		return err
	}
	o.warnBacklog(log)
	if o.checkOnly {
		if err := o.checkFiles(); err != nil {
			return err
		}
		o.printCheck(stdout)
		return nil
	}
	p := &process{options: o, signals: signals, drain: make(chan struct{}, 1), stdout: stdout, log: log}
	var err error
	if p.admin, err = o.openAdmin(level, log, p.askDrain); err != nil {
		return err
	}
	if p.admin != nil {
		defer p.admin.Close()
	}
	o.cfg.Logger = log
	if p.service, err = start(o.cfg); err != nil {
		return err
	}
	return p.run()
}

// report writes what is wrong, one line each, and returns the exit code.
func report(stderr io.Writer, err error) int {
	if err == nil {
		return exitClean
	}
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintf(stderr, "fooproxy: %s\n", strings.TrimSuffix(line, "\n"))
	}
	if usage := (*usageError)(nil); errors.As(err, &usage) {
		return exitUsage
	}
	return exitBroken
}
