package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"fooproxy/top"
)

const topHelp = `Usage: fooproxy top [--once] [--every TIME] [ADDR]

Shows the figures of a running fooproxy in the terminal, live: rates, latencies, connections, violations, loops. ADDR is what
that proxy was given as --admin: HOST:PORT, a PORT of this host, or unix:/PATH. [127.0.0.1:8002]

  --once        print all figures once, a "name value" a line, and exit
  --every TIME  ask so often [1s]

q quits.
`

const adminDefault = "127.0.0.1:8002"

// runTop is the subcommand top.
func runTop(args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("fooproxy top", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.Usage = func() {}
	once := flags.Bool("once", false, "")
	every := flags.Duration("every", time.Second, "")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		_, _ = io.WriteString(stdout, topHelp)
		return nil
	} else if err != nil {
		return usagef("top: %v; see fooproxy top --help", err)
	}
	if *every < 100*time.Millisecond {
		return usagef("--every %v: is too often; give 100ms or more", *every)
	}
	addr := adminDefault
	switch flags.NArg() {
	case 0:
	case 1:
		if err := addrValue(&addr, "127.0.0.1", false).set(flags.Arg(0)); err != nil {
			return usagef("top %s: %v", quote(flags.Arg(0)), err)
		}
	default:
		return usagef("top takes one address; flags come before it, see fooproxy top --help")
	}
	source := top.NewSource(addr)
	if *once {
		stats, err := source.Stats()
		if err != nil {
			return err
		}
		_, err = stdout.Write(top.AppendOnce(nil, stats))
		return err
	}
	if file, ok := stdout.(*os.File); !ok || !term.IsTerminal(int(file.Fd())) {
		return fmt.Errorf("top needs a terminal; %s prints the figures once", strings.Join([]string{"fooproxy top --once", addr}, " "))
	}
	return top.Live(source, *every)
}
