package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"fooproxy/bench/report"
)

// comparing is a comparison that runs beside the test.
type comparing struct {
	cmd    *exec.Cmd
	out    bytes.Buffer
	lines  *bufio.Scanner // of stderr
	stderr strings.Builder
}

func startCompare(t *testing.T, args ...string) *comparing {
	t.Helper()
	c := &comparing{cmd: exec.Command(foobench, append([]string{"compare", "-v"}, args...)...)}
	c.cmd.Stdout = &c.out
	errs, err := c.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.lines = bufio.NewScanner(errs)
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.cmd.Process.Kill() })
	return c
}

// await reads what the comparison says until a line holds text.
func (c *comparing) await(t *testing.T, text string) {
	t.Helper()
	for c.lines.Scan() {
		c.stderr.WriteString(c.lines.Text() + "\n")
		if strings.Contains(c.lines.Text(), text) {
			return
		}
	}
	t.Fatalf("%q is not in\n%s", text, c.stderr.String())
}

// end waits for the comparison's own end.
func (c *comparing) end() (code int, stdout, stderr string) {
	for c.lines.Scan() {
		c.stderr.WriteString(c.lines.Text() + "\n")
	}
	_ = c.cmd.Wait()
	return c.cmd.ProcessState.ExitCode(), c.out.String(), c.stderr.String()
}

// childOf finds the process that parent has started with these words in its command line.
func childOf(parent int, words string) (pid int, found bool) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		line, err := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
		if err != nil || fields[1] != strconv.Itoa(parent) || !strings.Contains(strings.ReplaceAll(string(line), "\x00", " "), words) {
			continue
		}
		pid, err = strconv.Atoi(filepath.Base(filepath.Dir(path)))
		return pid, err == nil
	}
	return 0, false
}

// A target that is killed in the middle costs its cells, by name, and the comparison fails; the others are measured.
func TestCompareWhenATargetIsKilled(t *testing.T) {
	c := startCompare(t, "--targets", "relay-poll,relay-go", "--workloads", "pingpong16", "--runs", "2", "--time", "1s", "--warmup", "0s",
		"--out", "")
	for {
		if pid, found := childOf(c.cmd.Process.Pid, "relay --kind poll"); found {
			awaitTraffic(t, pid)
			if err := unix.Kill(pid, unix.SIGKILL); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	code, stdout, stderr := c.end()
	if code != exitFailed || !strings.Contains(stderr, "relay-poll under pingpong16: the target ended (signal: killed") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	var row string
	for line := range strings.Lines(stdout) {
		if f := strings.Fields(line); len(f) > 0 && f[0] == "relay-poll" {
			row = line
		}
	}
	if !strings.Contains(row, "FAILED") || !strings.Contains(stdout, "relay-go") {
		t.Errorf("a killed target has figures, or the other has none:\n%s", stdout)
	}
}

// Whoever has seen enough gets what was measured until then, as a table and as a report, and leaves no process behind.
func TestCompareInterrupted(t *testing.T) {
	dir := t.TempDir()
	c := startCompare(t, "--targets", "relay-poll", "--workloads", "pingpong16,pipelined", "--runs", "1000", "--time", "10ms", "--warmup", "0s",
		"--out", dir)
	c.await(t, "round 2")
	if err := c.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := c.end()
	if code != exitFailed || !strings.Contains(stderr, "interrupted") || !strings.Contains(stdout, "pingpong16") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	r, err := report.Load(filepath.Join(dir, "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Workloads) != 1 || len(r.Cells) != 1 || len(r.Cells[0].Runs) < 2 {
		t.Errorf("%d workloads, %d cells", len(r.Workloads), len(r.Cells))
	}
	if pid, found := childOf(c.cmd.Process.Pid, "relay"); found {
		t.Errorf("process %d is left", pid)
	}
}

// Whoever has seen enough of a load gets its figures.
func TestLoadInterrupted(t *testing.T) {
	listen := freePort(t)
	responder := start(t, listen, "respond", "--listen", listen, "--loops", "1")
	loading := exec.Command(foobench, "load", "-d", "1h", "--pid", fmt.Sprint(responder.Process.Pid), listen)
	var out, errs bytes.Buffer
	loading.Stdout, loading.Stderr = &out, &errs
	if err := loading.Start(); err != nil {
		t.Fatal(err)
	}
	awaitTraffic(t, responder.Process.Pid)
	if err := loading.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = loading.Wait()
	code := loading.ProcessState.ExitCode()
	if code != exitOK && code != exitInvalid || !strings.Contains(out.String(), "answers/s") {
		t.Fatalf("exit code %d\n%s%s", code, out.String(), errs.String())
	}
}
