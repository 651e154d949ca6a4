package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/peterbourgon/ff/v3"

	"fooproxy/server"
)

const help = `Usage: fooserver [flags]

Fooserver answers every Foo request ("REQ 7 hello") with ACK or NAK and the same Seq ("ACK 7 hello").

Examples:
  fooserver                            clients on port 8000 of all interfaces; the answers echo the requests
  fooserver --listen 127.0.0.1:0       a free port of this host only; standard error says which
  fooserver --listen unix:/tmp/foo.sock --reply empty
  fooserver --nak 0.1 --seed 7         one answer in ten is a NAK, the same ones in every run
  fooserver --delay 20ms --reorder 8   late, and shuffled among 8 neighbours
  kill -USR1 $(pidof fooserver)        print the statistics

Defaults stand in [brackets].

Where to listen:
  -p, --port PORT       TCP port on all interfaces; 0 lets the kernel choose [8000]
      --listen ADDR     host:port or unix:/path, instead of --port
      --loops N         event loops, each on a thread of its own; 0 is one per CPU [0]

How to answer:
      --nak SHARE       probability of a NAK, from 0 to 1 [0]
      --reply WHAT      echo: with the request's data; empty: without data; any other text: with that text [echo]
      --delay TIME      from the end of a request to its answer, like 500us, 20ms, 1.5s [0s]
      --reorder N       shuffle the answers within windows of N requests of a connection; a window is cut short
                        when its client pauses for 10 ms [0]
      --seed N          of --nak and --reorder. The n-th connection to send anything gets the same answers in every
                        run, however its requests are spread over packets [0]

When it ends:
      --drain-timeout TIME
                        how long clients may take to end after TERM [5s]

Other:
      --version         print the version
  -h, --help            print this

A flag wins over its environment variable (--drain-timeout is FOOSERVER_DRAIN_TIMEOUT), this over the default.

Requests longer than 64 KiB are answered while they arrive: send more than fits into the sockets' buffers only if you
read meanwhile. A client that does not take its answers is no longer read from once 1 MiB of them waits. Who sends
anything but valid requests is answered up to there and then disconnected.

Signals:
  USR1       print the statistics to standard output, one "name value" a line
  TERM, INT  stop: answer what has been received, wait for the clients to end; a second one stops at once

Exit codes:
  0  stopped by a signal
  1  could not start; one line on standard error says why
  2  wrong usage; one line on standard error says which flag and why
`

type options struct {
	server  server.Options
	version bool
}

// flagOf are the flags behind the fields of server.Options that New may refuse.
var flagOf = map[string]string{
	"Loops": "loops", "NakShare": "nak", "Reply": "reply", "Delay": "delay", "Reorder": "reorder", "Drain": "drain-timeout",
}

// parse reads the flags and the environment. The error is flag.ErrHelp, or one line that names the flag and says why.
func parse(args []string) (options, error) {
	o := options{server: server.Options{Drain: 5 * time.Second}}
	port, listen := 8000, ""
	fs := flag.NewFlagSet("fooserver", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	number := func(name string, to *int, most int) {
		fs.Func(name, "", func(text string) (err error) {
			n, err := strconv.Atoi(text)
			if err != nil || n < 0 || n > most {
				return fmt.Errorf("must be a number from 0 to %d", most)
			}
			*to = n
			return nil
		})
	}
	span := func(name string, to *time.Duration, most time.Duration) {
		fs.Func(name, "", func(text string) error {
			d, err := time.ParseDuration(text)
			if err != nil || d < 0 || d > most {
				return fmt.Errorf("must be a time from 0s to %v, like 20ms", most)
			}
			*to = d
			return nil
		})
	}
	number("p", &port, math.MaxUint16)
	number("port", &port, math.MaxUint16)
	fs.StringVar(&listen, "listen", "", "")
	number("loops", &o.server.Loops, server.LoopsMax)
	fs.Func("nak", "", func(text string) (err error) {
		if o.server.NakShare, err = strconv.ParseFloat(text, 64); err != nil || !(o.server.NakShare >= 0 && o.server.NakShare <= 1) {
			return errors.New("must be a number from 0 to 1")
		}
		return nil
	})
	fs.StringVar(&o.server.Reply, "reply", server.ReplyEcho, "")
	span("delay", &o.server.Delay, server.DelayMax)
	number("reorder", &o.server.Reorder, server.ReorderMax)
	fs.Func("seed", "", func(text string) (err error) {
		if o.server.Seed, err = strconv.ParseUint(text, 0, 64); err != nil {
			return errors.New("must be a number from 0 to 18446744073709551615")
		}
		return nil
	})
	span("drain-timeout", &o.server.Drain, time.Hour)
	fs.BoolVar(&o.version, "version", false, "")

	if err := fs.Parse(args); err != nil {
		return o, reword(err)
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("argument %q belongs to no flag; see fooserver --help", fs.Arg(0))
	}
	if err := environment(fs); err != nil {
		return o, err
	}
	o.server.Drain = max(o.server.Drain, 1) // to the server 0 is its default; here it is no wait at all
	if o.server.Reply == "" {
		o.server.Reply = server.ReplyEmpty
	}
	o.server.Listen = listen
	if listen == "" {
		o.server.Listen = ":" + strconv.Itoa(port)
	} else if !strings.Contains(listen, ":") {
		return o, fmt.Errorf("--listen: %q must be host:port or unix:/path", listen)
	}
	return o, nil
}

// environment sets from FOOSERVER_* what the command line has not set.
func environment(fs *flag.FlagSet) error {
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	given["port"] = given["port"] || given["p"]
	env := flag.NewFlagSet("fooserver", flag.ContinueOnError)
	fs.VisitAll(func(f *flag.Flag) {
		if !given[f.Name] && f.Name != "p" && f.Name != "version" {
			env.Var(f.Value, f.Name, "")
		}
	})
	if err := ff.Parse(env, nil, ff.WithEnvVarPrefix("FOOSERVER")); err != nil {
		_, why, _ := strings.Cut(err.Error(), "from environment variable ")
		return fmt.Errorf("environment variable %s", why)
	}
	return nil
}

// reword writes flags in the errors of package flag as the help does.
func reword(err error) error {
	if errors.Is(err, flag.ErrHelp) {
		return err
	}
	text := strings.Replace(err.Error(), " for -", " for flag -", 1) // as it says of booleans
	if name, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
		return fmt.Errorf("%s: unknown flag; see fooserver --help", dashed(name))
	}
	if name, ok := strings.CutPrefix(text, "flag needs an argument: -"); ok {
		return fmt.Errorf("%s: its value is missing", dashed(name))
	}
	if value, rest, ok := strings.Cut(text, " for flag -"); ok {
		name, why, _ := strings.Cut(rest, ": ")
		return fmt.Errorf("%s: %s: %s", dashed(name), value, why)
	}
	return err
}

// dashed is a flag as the help writes it.
func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}
