package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// process is a child with its standard output on a SOCK_SEQPACKET pair, which keeps the bounds of each write, and its
// standard error on a pipe.
type process struct {
	t       testing.TB
	cmd     *exec.Cmd
	packets chan []byte   // one write to standard output each
	done    chan struct{} // closed after the exit and the end of both outputs

	mu     sync.Mutex
	stderr []byte
}

// option changes the command before it starts.
type option func(*exec.Cmd)

func withEnv(kv ...string) option {
	return func(c *exec.Cmd) { c.Env = append(c.Env, kv...) }
}

// withFile hands f to the child as descriptor 3.
func withFile(f *os.File) option {
	return func(c *exec.Cmd) { c.ExtraFiles = append(c.ExtraFiles, f) }
}

// start runs the command; the child dies with the test process at the latest.
func startProcess(t testing.TB, path string, args []string, opts ...option) *process {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	ok(t, err)
	ours, theirs := os.NewFile(uintptr(pair[0]), "stdout"), os.NewFile(uintptr(pair[1]), "stdout of the child")
	errOurs, errTheirs, err := os.Pipe()
	ok(t, err)
	p := &process{t: t, packets: make(chan []byte, 1<<14), done: make(chan struct{})}
	p.cmd = exec.Command(path, args...)
	p.cmd.Stdout, p.cmd.Stderr = theirs, errTheirs
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.cmd.Env = cleanEnv()
	for _, o := range opts {
		o(p.cmd)
	}
	err = p.cmd.Start()
	theirs.Close()
	errTheirs.Close()
	ok(t, err)
	var outputs sync.WaitGroup
	outputs.Go(func() { p.readPackets(ours) })
	outputs.Go(func() { p.readStderr(errOurs) })
	go func() {
		outputs.Wait()
		_ = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(p.kill)
	return p
}

// cleanEnv is the environment without what would configure a proxy.
func cleanEnv() (env []string) {
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "FOO") {
			env = append(env, kv)
		}
	}
	return env
}

func (p *process) readPackets(f *os.File) {
	defer f.Close()
	defer close(p.packets)
	buf := make([]byte, 1<<20)
	for {
		n, err := f.Read(buf)
		if n == 0 || err != nil {
			return
		}
		p.packets <- bytes.Clone(buf[:n])
	}
}

func (p *process) readStderr(f *os.File) {
	defer f.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := f.Read(buf)
		p.mu.Lock()
		p.stderr = append(p.stderr, buf[:n]...)
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// errors is what the child has written to standard error so far.
func (p *process) errors() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return string(p.stderr)
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Errorf("%v: %v", s, err)
	}
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

func (p *process) exited() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// exit waits for the child's end and returns its exit code.
func (p *process) exit() int {
	p.t.Helper()
	eventually(p.t, "the child has ended", p.exited)
	return p.cmd.ProcessState.ExitCode()
}

// output is all that is left on standard output; the child must have ended.
func (p *process) output() string {
	var all []byte
	for b := range p.packets {
		all = append(all, b...)
	}
	return string(all)
}

// status is a figure from /proc/PID/status: kB for memory, a count for Threads.
func (p *process) status(name string) int64 {
	p.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid()))
	ok(p.t, err)
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == name+":" {
			n, err := strconv.ParseInt(f[1], 10, 64)
			ok(p.t, err)
			return n
		}
	}
	p.t.Fatalf("no %s in /proc/%d/status", name, p.pid())
	return 0
}

// rss is the resident memory in bytes.
func (p *process) rss() int64 { return p.status("VmRSS") << 10 }

// own is resident memory without pages of files: those of the program come as its rare paths are first taken, 64 KiB at a time,
// and are the page cache's.
func (p *process) own() int64 { return (p.status("RssAnon") + p.status("RssShmem")) << 10 }

// cpu is the time that the child has been on a CPU, with all its threads, those that have ended too (clock_getcpuclockid(3)).
func (p *process) cpu() time.Duration {
	p.t.Helper()
	var spent unix.Timespec
	ok(p.t, unix.ClockGettime(int32(^p.pid()<<3|2), &spent))
	return time.Duration(spent.Nano())
}

// descriptors is how many file descriptors are open, and what each is.
func (p *process) descriptors() (n int, what string) {
	dir := fmt.Sprintf("/proc/%d/fd", p.pid())
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		target, _ := os.Readlink(filepath.Join(dir, e.Name()))
		what += " " + e.Name() + "=" + target
	}
	return len(entries), what
}

// What the kernel calls the two operations that an idle loop has in flight: the poll of its wake-up, and its accept.
const (
	opPollAdd = "op=6"
	opAccept  = "op=13"
)

// inFlight is what the kernel has in flight for the child's rings (proc_pid_fdinfo(5)) beyond what an idle loop has, and the
// completions that found no room.
func (p *process) inFlight() (ops []string) {
	for _, ring := range p.rings() {
		_, lists, _ := strings.Cut(ring, "PollList:")
		for line := range strings.Lines(lists) {
			name, _, isOp := strings.Cut(strings.TrimSpace(line), ",")
			if isOp && name != opPollAdd && name != opAccept {
				ops = append(ops, name)
			}
		}
	}
	return ops
}

// rings is what the kernel tells about each io_uring of the child (/proc/PID/fdinfo).
func (p *process) rings() (all []string) {
	dir := fmt.Sprintf("/proc/%d/", p.pid())
	entries, _ := os.ReadDir(dir + "fd")
	for _, e := range entries {
		if target, _ := os.Readlink(dir + "fd/" + e.Name()); target == "anon_inode:[io_uring]" {
			text, _ := os.ReadFile(dir + "fdinfo/" + e.Name())
			all = append(all, string(text))
		}
	}
	return all
}

// shortTemp is a temporary directory with a short name, open to other users.
func shortTemp(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "foo-")
	ok(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	ok(t, os.Chmod(dir, 0o755))
	return dir
}

func readFile(t testing.TB, path string) string {
	t.Helper()
	f, err := os.Open(path)
	ok(t, err)
	defer f.Close()
	b, err := io.ReadAll(f)
	ok(t, err)
	return string(b)
}
