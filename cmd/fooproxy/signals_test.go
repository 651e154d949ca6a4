package main

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// running is fooproxy as a child that is ready.
type running struct {
	*exec.Cmd
	t      *testing.T
	out    *os.File
	errs   *bufio.Reader
	logged bytes.Buffer
}

// launch starts fooproxy and waits for the line that says it listens. Standard output keeps the bounds of each write.
func launch(t *testing.T, args ...string) *running {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	far := os.NewFile(uintptr(pair[1]), "stdout of the child")
	defer far.Close()
	r := &running{Cmd: child(t, nil, args...), t: t, out: os.NewFile(uintptr(pair[0]), "stdout")}
	r.Stdout = far
	errs, err := r.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	r.errs = bufio.NewReader(errs)
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Process.Kill(); r.Wait(); r.out.Close() })
	r.waitLog("msg=listening")
	return r
}

// waitLog reads standard error up to the line that holds text.
func (r *running) waitLog(text string) {
	r.t.Helper()
	for {
		line, err := r.errs.ReadString('\n')
		r.logged.WriteString(line)
		if err != nil {
			r.t.Fatalf("standard error ended before %q:\n%s", text, r.logged.String())
		}
		if strings.Contains(line, text) {
			return
		}
	}
}

func (r *running) signal(sig os.Signal) {
	r.t.Helper()
	if err := r.Process.Signal(sig); err != nil {
		r.t.Fatal(err)
	}
}

// exit waits for the child's end and returns its code.
func (r *running) exit() int {
	rest, _ := io.ReadAll(r.errs)
	r.logged.Write(rest)
	r.Wait()
	return r.ProcessState.ExitCode()
}

// packet reads what one write of the child put out.
func (r *running) packet() string {
	r.t.Helper()
	buf := make([]byte, 64<<10)
	n, err := r.out.Read(buf)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(buf[:n])
}

func TestUSR1PrintsInOneWrite(t *testing.T) {
	r := launch(t, "--maxconn", "10")
	for range 3 {
		r.signal(unix.SIGUSR1)
		text := r.packet()
		if !strings.HasPrefix(text, "msg_total 0\nengine fake\nloops 1\nmaxconn 10\nuptime_seconds ") || !strings.HasSuffix(text, "\n") {
			t.Fatalf("statistics:\n%s", text)
		}
		for _, m := range processMetrics {
			if !strings.Contains(text, "\n"+m.line+" ") {
				t.Errorf("no line %s in:\n%s", m.line, text)
			}
		}
	}
	r.signal(unix.SIGTERM)
	if code := r.exit(); code != exitClean {
		t.Errorf("exit %d:\n%s", code, r.logged.String())
	}
}

func TestHUPReopensAndINTStops(t *testing.T) {
	r := launch(t, "--log", "-")
	for range 2 {
		r.signal(unix.SIGHUP)
		r.waitLog(`msg="request log reopened" path=-`)
	}
	r.signal(unix.SIGINT)
	if code := r.exit(); code != exitClean || !strings.Contains(r.logged.String(), "msg=stopped") {
		t.Errorf("exit %d:\n%s", code, r.logged.String())
	}
}

func TestHUPWithoutALog(t *testing.T) {
	r := launch(t)
	r.signal(unix.SIGHUP)
	r.waitLog("hang-up ignored")
}

// A reader of standard output that has gone must not end the process, and neither may a USR1 that comes while it ends.
func TestSignalsUntilTheVeryEnd(t *testing.T) {
	r := launch(t)
	r.out.Close()
	r.signal(unix.SIGPIPE)
	for range 100 {
		r.signal(unix.SIGUSR1)
	}
	r.signal(unix.SIGTERM)
	for r.Process.Signal(unix.SIGUSR1) == nil && !zombie(r.Process.Pid) {
	}
	if code := r.exit(); code != exitClean {
		t.Errorf("exit %d (-1 is death by a signal):\n%s", code, r.logged.String())
	}
}

// Handlers are there before the listeners are: a signal that comes as soon as anybody can know of the process is heard.
func TestSignalsWhileTheListenersOpen(t *testing.T) {
	code, stdout, stderr := outcome(t, []string{childEnv + "=early"})
	if code != exitClean || !strings.HasPrefix(stdout, "msg_total 0\n") || !strings.Contains(stderr, "hang-up ignored") ||
		!strings.Contains(stderr, "msg=stopped") {
		t.Errorf("exit %d (-1 is death by a signal), stdout:\n%sstderr:\n%s", code, stdout, stderr)
	}
}

// zombie tells whether a child has ended and only waits to be reaped.
func zombie(pid int) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	return err != nil || bytes.Contains(stat, []byte(") Z "))
}

func TestListeningLineAndFallback(t *testing.T) {
	r := launch(t, "--listen", "127.0.0.1:0", "--forward", "localhost:9", "--maxconn", "7")
	for _, want := range []string{
		"msg=listening addr=127.0.0.1:0 forward=127.0.0.1:9 engine=fake loops=1 maxconn=7 splice=off\n",
		`msg="io_uring is not used" why="it is a fake"`,
	} {
		if !strings.Contains(r.logged.String(), want) {
			t.Errorf("standard error lacks %q:\n%s", want, r.logged.String())
		}
	}
}

func TestPidfileLivesAsLongAsTheProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fooproxy.pid")
	r := launch(t, "--pidfile", path)
	text, err := os.ReadFile(path)
	if err != nil || string(text) != strconv.Itoa(r.Process.Pid)+"\n" {
		t.Errorf("pid file %q, %v", text, err)
	}
	r.signal(unix.SIGTERM)
	r.exit()
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestForeignPidfileStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fooproxy.pid")
	r := launch(t, "--pidfile", path)
	if err := os.WriteFile(path, []byte("1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.signal(unix.SIGTERM)
	r.exit()
	if text, err := os.ReadFile(path); err != nil || string(text) != "1\n" {
		t.Errorf("pid file %q, %v", text, err)
	}
}
