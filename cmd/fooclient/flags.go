package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/peterbourgon/ff/v3"
)

const help = `Usage: fooclient [flags] [ADDRESS]

Fooclient talks Foo to a server or proxy. ADDRESS is host:port or unix:/path; without it, it is -p on this host.

On a terminal it is a conversation with line editing and history: text becomes the next request ("hello" is sent as
"REQ 1 hello"), a line that is Foo goes as it is, answers are shown when they come with the time they took, and
"quit" (or Ctrl-D) ends.

Otherwise it sends the lines of standard input in the same way, all without waiting for answers, prints the answers to
standard output as they come, and ends when all are there. Blank lines are skipped.

Examples:
  fooclient                                   talk to what listens on port 8001
  fooclient db:8000                           talk to port 8000 of the host db
  printf 'one\ntwo\n' | fooclient -v          send two requests, show both directions
  seq -f 'REQ %.0f x' 50000 | fooclient >/dev/null; echo $?

Flags, with their defaults in [brackets]:
  -p, --port PORT     TCP port on this host [8001]
      --timeout TIME  the longest wait for the connection, and without any answer while one is missing; 0s is for
                      ever. On a terminal only for the connection [10s]
  -v, --verbose       print requests after "> " and answers after "< "; not on a terminal
      --history FILE  where a terminal's lines are remembered, "" is nowhere [~/.fooclient_history]
      --version       print the version
  -h, --help          print this

A flag wins over its environment variable (--timeout is FOOCLIENT_TIMEOUT), this over the default.

Exit codes:
  0  every request was answered with ACK; on a terminal, the user has ended
  1  cannot connect, or the conversation broke; one line on standard error says why
  2  wrong usage; one line on standard error says which flag and why
  3  every request was answered, at least one with NAK
  4  an answer is missing
`

type options struct {
	network, addr string // of net.Dial
	timeout       time.Duration
	verbose       bool
	history       string
	version       bool
}

// parse reads the flags and the environment. The error is flag.ErrHelp, or one line that names the flag and says why.
func parse(args []string) (options, error) {
	o := options{timeout: 10 * time.Second}
	if home, err := os.UserHomeDir(); err == nil {
		o.history = filepath.Join(home, ".fooclient_history")
	}
	port := 8001
	fs := flag.NewFlagSet("fooclient", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	setPort := func(text string) error {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 65535 {
			return errors.New("must be a number from 1 to 65535")
		}
		port = n
		return nil
	}
	fs.Func("p", "", setPort)
	fs.Func("port", "", setPort)
	fs.Func("timeout", "", func(text string) error {
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 {
			return errors.New("must be a time like 500ms or 10s")
		}
		o.timeout = d
		return nil
	})
	fs.BoolVar(&o.verbose, "v", false, "")
	fs.BoolVar(&o.verbose, "verbose", false, "")
	fs.StringVar(&o.history, "history", o.history, "")
	fs.BoolVar(&o.version, "version", false, "")

	if err := fs.Parse(args); err != nil {
		return o, reword(err)
	}
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if err := environment(fs, given); err != nil {
		return o, err
	}
	switch {
	case fs.NArg() > 1:
		return o, fmt.Errorf("argument %q: only one address is wanted, and flags stand before it", fs.Arg(1))
	case fs.NArg() == 1 && (given["p"] || given["port"]):
		return o, fmt.Errorf("--port: the address %q says the port already", fs.Arg(0))
	case fs.NArg() == 0:
		o.network, o.addr = "tcp", net.JoinHostPort("localhost", strconv.Itoa(port))
		return o, nil
	}
	return o, o.setAddress(fs.Arg(0))
}

func (o *options) setAddress(addr string) error {
	if path, ok := strings.CutPrefix(addr, "unix:"); ok && path != "" {
		o.network, o.addr = "unix", path
		return nil
	}
	if _, port, err := net.SplitHostPort(addr); err != nil || port == "" {
		return fmt.Errorf("address %q: must be host:port or unix:/path", addr)
	}
	o.network, o.addr = "tcp", addr
	return nil
}

// environment sets from FOOCLIENT_* what the command line has not set.
func environment(fs *flag.FlagSet, given map[string]bool) error {
	aliases := map[string]string{"port": "p", "verbose": "v"}
	env := flag.NewFlagSet("fooclient", flag.ContinueOnError)
	fs.VisitAll(func(f *flag.Flag) {
		if len(f.Name) > 1 && f.Name != "version" && !given[f.Name] && !given[aliases[f.Name]] {
			env.Var(f.Value, f.Name, "")
		}
	})
	if err := ff.Parse(env, nil, ff.WithEnvVarPrefix("FOOCLIENT")); err != nil {
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
		return fmt.Errorf("%s: unknown flag; see fooclient --help", dashed(name))
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
