package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// The process's exit codes.
const (
	exitAck     = 0
	exitBroken  = 1
	exitUsage   = 2
	exitNak     = 3
	exitMissing = 4
)

// version is set by the Makefile; a plain go build leaves it empty, and the toolchain's own stamp stands in.
var version string

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	o, err := parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		_, _ = os.Stdout.WriteString(help)
		return exitAck
	case err != nil:
		fmt.Fprintf(os.Stderr, "fooclient: %v\n", err)
		return exitUsage
	case o.version:
		fmt.Printf("fooclient %s\n%s %s/%s\n", versionName(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return exitAck
	}
	conn, err := net.DialTimeout(o.network, o.addr, o.timeout)
	if err != nil {
		fmt.Fprintf(os.Stderr, "fooclient: cannot connect: %s\n", explain(err))
		return exitBroken
	}
	defer func() { _ = conn.Close() }()
	if term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stdout.Fd())) {
		c := console{conn: conn, ledger: newLedger()}
		return c.run(os.Stdin, os.Stdout, o.addr, o.history)
	}
	f := filter{conn: conn, ledger: newLedger(), timeout: o.timeout, verbose: o.verbose, stdout: os.Stdout, stderr: os.Stderr}
	return f.run(os.Stdin)
}

// explain adds what to do to the commonest failure.
func explain(err error) string {
	if errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.ENOENT) {
		return err.Error() + "; is the server running?"
	}
	return err.Error()
}

func versionName() string {
	if version != "" {
		return version
	}
	if build, ok := debug.ReadBuildInfo(); ok && build.Main.Version != "" {
		return build.Main.Version
	}
	return "unknown"
}
