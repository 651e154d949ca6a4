package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

	"fooproxy/server"
)

// The process's exit codes.
const (
	exitClean  = 0
	exitBroken = 1
	exitUsage  = 2
)

// version is set by the Makefile; a plain go build leaves it empty, and the toolchain's own stamp stands in.
var version string

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout, stderr io.Writer) int {
	o, err := parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		_, _ = io.WriteString(stdout, help)
		return exitClean
	case err != nil:
		fmt.Fprintf(stderr, "fooserver: %v\n", err)
		return exitUsage
	case o.version:
		fmt.Fprintf(stdout, "fooserver %s\n%s %s/%s\n", versionName(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return exitClean
	}
	// Before the listener is open: from its first client on the process can be told to stop.
	stop := make(chan os.Signal, 2)
	usr1 := make(chan os.Signal, 1)
	signal.Ignore(unix.SIGPIPE)
	signal.Notify(stop, unix.SIGTERM, unix.SIGINT)
	signal.Notify(usr1, unix.SIGUSR1)

	s, err := server.New(o.server)
	if wrong := (*server.OptionError)(nil); errors.As(err, &wrong) {
		fmt.Fprintf(stderr, "fooserver: --%s: %s\n", flagOf[wrong.Field], wrong.Why)
		return exitUsage
	}
	if err != nil {
		fmt.Fprintf(stderr, "fooserver: %s\n", explain(err))
		return exitBroken
	}
	// A processor for each loop, one for everything else.
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), s.Loops()+1))
	serve(s, stop, usr1, stdout, stderr)
	return exitClean
}

// serve runs until a signal stops the server. The statistics have a goroutine of their own: a full pipe behind standard output
// must not keep TERM from being heard.
func serve(s *server.Server, stop, usr1 <-chan os.Signal, stdout, stderr io.Writer) {
	begun := time.Now()
	s.Start()
	fmt.Fprintf(stderr, "fooserver: listening on %s\n", s.Addr())

	ended, printed := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(printed)
		for {
			select {
			case <-usr1:
				printCounts(stdout, s, begun)
				continue
			case <-ended:
			}
			select { // what was asked for before the end is still answered
			case <-usr1:
				printCounts(stdout, s, begun)
			default:
			}
			return
		}
	}()

	<-stop
	stopped := make(chan struct{})
	go func() {
		s.Stop()
		close(stopped)
	}()
	select {
	case <-stopped:
	case <-stop:
		s.Kill()
		<-stopped
	}
	close(ended)
	select {
	case <-printed:
	case <-time.After(time.Second): // nobody reads standard output
	}
}

// printCounts writes the statistics with one write.
func printCounts(w io.Writer, s *server.Server, begun time.Time) {
	c := s.Counts()
	var b []byte
	for _, line := range []struct {
		name  string
		value uint64
	}{
		{"msg_total", c.Total()},
		{"msg_req", c.Req},
		{"msg_ack", c.Ack},
		{"msg_nak", c.Nak},
		{"bad", c.Bad},
		{"connections", c.Open},
		{"connections_total", c.Accepted},
		{"loops", uint64(s.Loops())},
		{"uptime_seconds", uint64(time.Since(begun).Seconds())},
	} {
		b = fmt.Appendf(b, "%s %d\n", line.name, line.value)
	}
	_, _ = w.Write(b)
}

// explain adds what to do to the commonest failures.
func explain(err error) string {
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return err.Error() + "; choose another --port or --listen"
	case errors.Is(err, unix.EACCES):
		return err.Error() + "; choose a --port above 1023, or a directory where you may write"
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
