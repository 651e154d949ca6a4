// Command foobench generates load for the Foo protocol, checks every answer, and compares proxies.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/peterbourgon/ff/v3"
)

// Exit codes. 3 is not used, so that 4 means the same here as in the project's other programs: the result is incomplete.
const (
	exitOK      = 0
	exitFailed  = 1 // the target failed, or something could not be started
	exitUsage   = 2
	exitInvalid = 4 // the generator, not the target, was the limit
)

// command is one of foobench's subcommands.
type command struct {
	name, summary string
	run           func(args []string, stdout, stderr io.Writer) error
}

// exitError carries an exit code with its message.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func usageError(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

func commands() []command {
	return []command{
		{"load", "generate load, check every answer and measure", runLoad},
		{"stream", "make raw byte streams, check every byte and measure: for tunnels", runStream},
		{"compare", "run the same workloads against fooproxy, its peers and base lines", runCompare},
		{"report", "show the report.json of a comparison again, as a table and as a page", runReport},
		{"diff", "say which figures of two comparisons differ by more than chance", runDiff},
		{"scrape", "say whether scraping the admin address moves what requests take", runScrape},
		{"profile", "say where a proxy's time goes under a workload", runProfile},
		{"respond", "be an upstream that answers", runRespond},
		{"relay", "be one of the plain relays that serve as base lines", runRelay},
		{"concept", "measure one mechanism of the kernel: trigger, splice or cork", runConcept},
		{"floor", "measure the least that relaying a message costs here", runFloor},
	}
}

func main() { os.Exit(dispatch(os.Args[1:], os.Stdout, os.Stderr)) }

func dispatch(args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 || args[0] == "-h" || args[0] == "--help" || args[0] == "help" {
		overview(stdout)
		if len(args) == 0 {
			return exitUsage
		}
		return exitOK
	}
	for _, c := range commands() {
		if c.name != args[0] {
			continue
		}
		err := c.run(args[1:], stdout, stderr)
		switch {
		case err == nil, errors.Is(err, flag.ErrHelp):
			return exitOK
		default:
			fmt.Fprintf(stderr, "foobench %s: %v\n", c.name, err)
			var exit *exitError
			if errors.As(err, &exit) {
				return exit.code
			}
			return exitFailed
		}
	}
	fmt.Fprintf(stderr, "foobench: no command %q; foobench --help lists them\n", args[0])
	return exitUsage
}

// newFlags is the flag set of a command; operands say what stands after the flags. What goes wrong is told by parse.
func newFlags(command, operands string) *flag.FlagSet {
	fs := flag.NewFlagSet(strings.TrimSpace("foobench "+command+" [flags] "+operands), flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	return fs
}

// parse reads flags, then FOOBENCH_* from the environment. What is wrong is a usage error; whoever asked for help gets it on
// stdout.
func parse(fs *flag.FlagSet, args []string, stdout io.Writer) error {
	err := ff.Parse(fs, args, ff.WithEnvVarPrefix("FOOBENCH"))
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintf(stdout, "usage: %s\n\n%s\n", fs.Name(), about(fs.Name()))
		fs.SetOutput(stdout)
		fs.PrintDefaults()
		return err
	case err != nil:
		command, _, _ := strings.Cut(fs.Name(), " [")
		return usageError("%w; %s --help lists the flags", err, command)
	}
	return nil
}

// examples are what the help of a command shows beside its flags.
var examples = map[string]string{
	"load":    "foobench load -c 64 -R 20000 --arrivals poisson -d 30s 127.0.0.1:8001",
	"stream":  "foobench stream --both --respond 127.0.0.1:8000 127.0.0.1:8001",
	"compare": "foobench compare --targets fooproxy-uring,haproxy --workloads pingpong,bulk16k --time 800ms",
	"report":  "foobench report --html page.html bench/out/report.json",
	"diff":    "foobench diff before.json after.json",
	"profile": "foobench profile --engine epoll --workload bulk16k",
	"respond": "foobench respond --listen 127.0.0.1:8000 --reply empty",
	"relay":   "foobench relay --kind poll --listen 127.0.0.1:8001 --forward 127.0.0.1:8000",
	"concept": "foobench concept cork",
	"floor":   "foobench floor --core 0",
}

// about is what a command does, and an example. usage begins with "foobench" and its name.
func about(usage string) string {
	name := strings.Fields(usage)[1]
	for _, c := range commands() {
		if c.name == name {
			text := strings.ToUpper(c.summary[:1]) + c.summary[1:] + ".\n"
			if example := examples[name]; example != "" {
				text += "\n  " + example + "\n"
			}
			return text
		}
	}
	return ""
}

func overview(w io.Writer) {
	fmt.Fprint(w, "usage: foobench COMMAND [flags]\n\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-9s %s\n", c.name, c.summary)
	}
	fmt.Fprint(w, "\nfoobench COMMAND --help lists the flags of a command. Every flag can also be given as an environment variable,\n"+
		"FOOBENCH_ and the flag's name in capitals.\n")
}
