package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
)

func TestMaxConnFor(t *testing.T) {
	for _, c := range []struct {
		descriptors uint64
		loops, want int
	}{
		{0, 1, 0},
		{40, 1, 0},
		{41, 1, 0},
		{42, 1, 1},
		{1024, 2, 488},
		{20000, 2, 9976},
		{1 << 30, 2, maxConnMost},
		{1<<64 - 1, 1024, maxConnMost},
	} {
		if got := maxConnFor(c.descriptors, c.loops); got != c.want {
			t.Errorf("%d descriptors, %d loops: %d, want %d", c.descriptors, c.loops, got, c.want)
		}
	}
}

// Pipes are for tunnels and long Data, at most a share of the descriptors, and few enough for every loop to have some.
func TestPipesFor(t *testing.T) {
	for _, c := range []struct {
		flags       []string
		descriptors uint64
		loops, want int
	}{
		{[]string{"--splice=off"}, 1 << 20, 1, 0},
		{[]string{"--splice=on"}, 1 << 20, 1, pipesMost / 4},
		{[]string{"--splice=on", "--tunnel"}, 1 << 20, 1, pipesMost},
		{[]string{"--tunnel"}, 1 << 20, 1, pipesMost},
		{[]string{"--arbitrary=tunnel"}, 1 << 20, 4, pipesMost},
		{[]string{"--tunnel"}, 1024, 1, 1024 / pipesShare / descriptorsPerPipe},
		{[]string{"--tunnel"}, 1024, 2, 1024 / pipesShare / descriptorsPerPipe / 2},
		{[]string{"--tunnel"}, 10, 2, 0},
	} {
		o, err := parseOptions(c.flags)
		if err != nil {
			t.Fatal(err)
		}
		if got := o.pipesFor(c.descriptors, c.loops); got != c.want {
			t.Errorf("%v, %d descriptors, %d loops: %d, want %d", c.flags, c.descriptors, c.loops, got, c.want)
		}
	}
}

// limited runs fooproxy --check under limits of its own; ulimit is the shell's.
func limited(t *testing.T, soft, hard int, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	script := fmt.Sprintf(`ulimit -S -n %d && ulimit -H -n %d && exec "$0" --check "$@"`, soft, hard)
	cmd := exec.CommandContext(t.Context(), "/bin/sh", append([]string{"-c", script, os.Args[0]}, args...)...)
	cmd.Env = childEnviron()
	return finish(t, cmd)
}

func TestSoftLimitIsRaisedAndMaxConnDerived(t *testing.T) {
	code, stdout, stderr := limited(t, 100, 600, "--splice=off")
	want := fmt.Sprintf("\nmaxconn            = %-24d # the descriptor limit\n", maxConnFor(600, runtime.NumCPU()))
	if code != exitClean || stderr != "" || !strings.Contains(stdout, want) {
		t.Errorf("exit %d, stderr %q, stdout lacks %q:\n%s", code, stderr, want, stdout)
	}
}

func TestMaxConnAboveTheLimitIsLowered(t *testing.T) {
	code, stdout, stderr := limited(t, 100, 600, "--maxconn", "5000", "--loops", "1", "--splice=off")
	if code != exitClean || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, "level=WARN") ||
		!strings.Contains(stderr, "asked=5000 maxconn=280 descriptors=600") || !strings.Contains(stdout, "\nmaxconn            = 280 ") {
		t.Errorf("exit %d, stderr:\n%sstdout:\n%s", code, stderr, stdout)
	}
}

func TestMaxConnWithinTheLimitStays(t *testing.T) {
	code, stdout, stderr := limited(t, 100, 600, "--maxconn", "50")
	if code != exitClean || stderr != "" || !strings.Contains(stdout, "\nmaxconn            = 50                       # --maxconn\n") {
		t.Errorf("exit %d, stderr %q, stdout:\n%s", code, stderr, stdout)
	}
}

func TestNoRoomForConnections(t *testing.T) {
	code, _, stderr := limited(t, 20, 20)
	if code != exitBroken || stderr != "fooproxy: the limit of 20 descriptors leaves none for connections; raise it (ulimit -n, LimitNOFILE=)\n" {
		t.Errorf("exit %d:\n%s", code, stderr)
	}
}

func TestBacklogAboveTheKernelsIsWarnedOf(t *testing.T) {
	code, _, stderr := limited(t, 100, 600, "--backlog", "2147483647")
	if code != exitClean || !strings.Contains(stderr, "net.core.somaxconn") || !strings.Contains(stderr, "asked=2147483647 ") {
		t.Errorf("exit %d:\n%s", code, stderr)
	}
}
