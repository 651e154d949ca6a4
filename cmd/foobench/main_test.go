package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fooproxy/bench/load"
	"fooproxy/bench/report"
)

// foobench is the real binary, built once.
var foobench string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "foobench-test-")
	if err != nil {
		panic(err)
	}
	foobench = filepath.Join(dir, "foobench")
	out, err := exec.Command("go", "build", "-o", foobench, ".").CombinedOutput()
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s%v\n", out, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// run runs foobench to its end.
func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.Command(foobench, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// start runs foobench beside the test, which ends it, and waits until it listens.
func start(t *testing.T, listen string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, foobench, args...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	for {
		conn, err := net.Dial("tcp", listen)
		if err == nil {
			conn.Close()
			return cmd
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("%q ended: %v", args, err)
		default:
		}
	}
}

func TestLoadAgainstRespond(t *testing.T) {
	addr := freePort(t)
	start(t, addr, "respond", "--listen", addr, "--loops", "1")
	dir := t.TempDir()
	result, hdr := filepath.Join(dir, "r.json"), filepath.Join(dir, "r.hdr")
	code, stdout, stderr := run(t, "load", "-c", "4", "-P", "3", "-n", "5000", "-s", "32:0.5,9000:0.5", "--verify",
		"--json", result, "--hdr", hdr, addr)
	if code != exitOK && code != exitInvalid { // with two busy CPUs the generator may well be the limit
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	if !strings.Contains(stdout, "5000 answers") {
		t.Fatal(stdout)
	}
	b, err := os.ReadFile(result)
	if err != nil {
		t.Fatal(err)
	}
	var r load.Result
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	if r.Answers != 5000 || r.Command[1] != "load" || len(r.Service.Curve) == 0 {
		t.Fatalf("%+v", r)
	}
	if text, err := os.ReadFile(hdr); err != nil || len(text) == 0 {
		t.Fatal(err)
	}
}

// With nothing between the generator and its own upstream, the generator is all there is to measure, and it says so.
func TestLoadSaysInvalid(t *testing.T) {
	addr := freePort(t)
	code, stdout, stderr := run(t, "load", "--respond", addr, "-c", "16", "-P", "16", "-d", "200ms", addr)
	if code != exitInvalid || !strings.Contains(stderr, "INVALID") || !strings.Contains(stdout, "INVALID") {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
}

// Killing the target in the middle: a clear message, exit code 1, no figures.
func TestLoadWhenTheTargetIsKilled(t *testing.T) {
	listen, forward := freePort(t), freePort(t)
	start(t, forward, "respond", "--listen", forward, "--loops", "1")
	relay := start(t, listen, "relay", "--kind", "poll", "--listen", listen, "--forward", forward)
	loading := exec.Command(foobench, "load", "-d", "1h", "--pid", fmt.Sprint(relay.Process.Pid), listen)
	var out, errs bytes.Buffer
	loading.Stdout, loading.Stderr = &out, &errs
	if err := loading.Start(); err != nil {
		t.Fatal(err)
	}
	awaitTraffic(t, relay.Process.Pid)
	if err := relay.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = loading.Wait()
	if code := loading.ProcessState.ExitCode(); code != exitFailed || !strings.Contains(errs.String(), "the target") || out.Len() > 0 {
		t.Fatalf("exit code %d\n%s%s", code, out.String(), errs.String())
	}
}

// awaitTraffic waits until a process has used CPU time for relaying.
func awaitTraffic(t *testing.T, pid int) {
	t.Helper()
	for {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			t.Fatal(err)
		}
		fields := bytes.Fields(b)
		if string(fields[14]) != "0" { // system time in ticks of 10 ms
			return
		}
	}
}

func TestUsageErrors(t *testing.T) {
	for _, args := range [][]string{
		{},
		{"nothing"},
		{"load"},
		{"load", "a", "b"},
		{"load", "--no-such-flag", "127.0.0.1:1"},
		{"load", "-s", "x", "127.0.0.1:1"},
		{"load", "--arrivals", "sometimes", "127.0.0.1:1"},
		{"load", "--cores", "x", "127.0.0.1:1"},
		{"load", "--pid", "x", "127.0.0.1:1"},
		{"load", "-c", "0", "127.0.0.1:1"},
		{"compare", "--targets", "squid"},
		{"compare", "--workloads", "none"},
		{"compare", "--cores", "0"},
		{"relay", "--kind", "select"},
		{"respond", "--nak", "7"},
		{"floor", "-s", "0"},
		{"report"},
		{"diff", "one.json"},
		{"diff", "--alpha", "2", "a", "b"},
		{"profile", "--workload", "none"},
		{"profile", "--engine", "none"},
		{"scrape", "--engine", "none"},
		{"scrape", "-c", "0"},
		{"concept", "gravity"},
	} {
		code, stdout, stderr := run(t, args...)
		if lines := strings.Count(stderr, "\n"); code != exitUsage || len(args) > 0 && lines != 1 {
			t.Errorf("%q: exit code %d\n%s%s", args, code, stdout, stderr)
		}
	}
}

func TestHelp(t *testing.T) {
	code, stdout, _ := run(t, "--help")
	if code != exitOK {
		t.Fatal(code)
	}
	for _, c := range commands() {
		if !strings.Contains(stdout, c.name) {
			t.Errorf("%s is not listed", c.name)
		}
		code, stdout, stderr := run(t, c.name, "--help")
		if code != exitOK || stderr != "" || !strings.HasPrefix(stdout, "usage: foobench "+c.name+" [flags]") {
			t.Errorf("%s --help: exit code %d\n%s%s", c.name, code, stdout, stderr)
		}
	}
}

func TestEnvironmentGivesFlags(t *testing.T) {
	t.Setenv("FOOBENCH_TIMEOUT", "x")
	if code, _, stderr := run(t, "load", freePort(t)); code != exitUsage || !strings.Contains(stderr, "timeout") {
		t.Fatalf("%d %s", code, stderr)
	}
}

// A small comparison, from the command line to the report.
func TestCompare(t *testing.T) {
	dir := t.TempDir()
	began := time.Now()
	code, stdout, stderr := run(t, "compare", "--targets", "relay-poll,direct,relay-go", "--workloads", "pingpong16,churn,openloop,unix,idle",
		"--runs", "2", "--time", "40ms", "--turn", "20ms", "--warmup", "5ms", "--out", dir)
	if code != exitOK {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	r, err := report.Load(filepath.Join(dir, "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	if root := os.Getuid() == 0; r.Machine.Isolated != root || root && r.Machine.Congestion != "reno" {
		t.Errorf("as root %v: isolated %v, congestion control %s", root, r.Machine.Isolated, r.Machine.Congestion)
	}
	if len(r.Cells) != 15 || r.Baseline != "relay-poll" || len(r.FloorNs) == 0 || r.Begun.Before(began.Add(-time.Second)) {
		t.Fatalf("%d cells, base line %s, floor %v", len(r.Cells), r.Baseline, r.FloorNs)
	}
	for _, c := range r.Cells {
		if len(c.Runs) != 2 || c.Failure != "" {
			t.Errorf("%s under %s: %d runs, %s", c.Target, c.Workload, len(c.Runs), c.Failure)
		}
		for _, run := range c.Runs {
			if turns := len(run.Result.Turns); turns != 2 && c.Workload != "idle" {
				t.Errorf("%s under %s: %d turns, want 2", c.Target, c.Workload, turns)
			}
			if run.Result.Usage == nil || run.Result.Usage.CPU <= 0 && c.Workload != "idle" {
				t.Errorf("%s under %s: no CPU time", c.Target, c.Workload)
			}
		}
	}
	plots := filepath.Join(dir, "plots")
	code, markdown, stderr := run(t, "report", "--markdown", "--plots", plots, filepath.Join(dir, "report.json"))
	if code != exitOK || !strings.HasPrefix(markdown, "| workload | figure | relay-poll | relay-go |\n|---|---|---:|---:|\n| 16 × 1, 16B | CPU/message |") {
		t.Errorf("exit code %d\n%s%s", code, markdown, stderr)
	}
	if _, err := os.Stat(filepath.Join(plots, "cpu-per-message.svg")); err != nil {
		t.Error(err)
	}
	code, changes, stderr := run(t, "diff", filepath.Join(dir, "report.json"), filepath.Join(dir, "report.json"))
	if code != exitOK || !strings.HasPrefix(changes, "0 of ") {
		t.Errorf("exit code %d\n%s%s", code, changes, stderr)
	}
	for _, want := range []string{"pingpong16", "cpu/msg", "B/conn", "conns/s", "floor:"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("%q is missing in\n%s", want, stdout)
		}
	}
}

// Over a veth pair target and generator are in namespaces of their own, which nobody has to take away.
func TestCompareOverVeth(t *testing.T) {
	args := []string{
		"compare", "--veth", "--targets", "relay-poll,direct", "--workloads", "pingpong16,bulk1m", "--runs", "1", "--time", "20ms",
		"--warmup", "5ms", "--out", "",
	}
	code, stdout, stderr := run(t, args...)
	if os.Getuid() != 0 {
		if code != exitFailed {
			t.Errorf("exit code %d without the right to namespaces\n%s%s", code, stdout, stderr)
		}
		return
	}
	if code != exitOK || !strings.Contains(stdout, "reno over a veth pair") || strings.Contains(stdout, "FAILED") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	if code, _, stderr := run(t, append(args, "--congestion", "machine")...); code != exitUsage || !strings.Contains(stderr, "--veth") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

// A target that fails is reported as failed, and the comparison does not succeed.
func TestCompareWithABrokenTarget(t *testing.T) {
	dir := t.TempDir()
	code, stdout, stderr := run(t, "compare", "--targets", "relay-poll,relay-go+--no-such-flag", "--workloads", "pingpong16",
		"--runs", "1", "--time", "10ms", "--warmup", "1ms", "--out", dir)
	if code != exitFailed || !strings.Contains(stderr, "no-such-flag") || !strings.Contains(stdout, "FAILED") {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
}

func TestListNamesAll(t *testing.T) {
	code, stdout, _ := run(t, "compare", "--list")
	for _, want := range []string{"fooproxy-uring", "fooproxy-epoll", "haproxy", "nginx", "direct", "relay-go", "relay-poll", "bulk1m"} {
		if code != exitOK || !strings.Contains(stdout, want) {
			t.Errorf("%q is missing in\n%s", want, stdout)
		}
	}
}

// The profile of the real proxy, by its own end point: the parts, the picture and the raw profile.
func TestProfile(t *testing.T) {
	buildFooproxy(t)
	dir := t.TempDir()
	code, stdout, stderr := run(t, "profile", "--engine", "epoll", "--workload", "pipelined", "--time", "1s", "--out", dir)
	if code != exitOK {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	for _, want := range []string{"kernel entry", "scanning", "statistics", "logging", "loop", "Go runtime", "all of them right"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("%q is missing in\n%s", want, stdout)
		}
	}
	for _, name := range []string{"cpu.pb.gz", "flame.svg"} {
		if info, err := os.Stat(filepath.Join(dir, "fooproxy-epoll-pipelined", name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}
