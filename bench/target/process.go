package target

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"fooproxy/bench/sys"
)

// Process is a running child.
type Process struct {
	PID    int
	Args   []string
	cmd    *exec.Cmd
	output output
	done   chan struct{}
	err    error
}

// output keeps the last of what a child prints.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.buf.Len() < 8<<10 {
		o.buf.Write(b)
	}
	return len(b), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.TrimSpace(o.buf.String())
}

// starter is the one thread that forks: a child inherits its CPU, its priority and its network, and dies when it ends,
// which is when the program ends.
var starter = sync.OnceValue(func() chan func() {
	calls := make(chan func())
	go func() {
		runtime.LockOSThread()
		for call := range calls {
			call()
		}
	}()
	return calls
})

// onStarter runs call on the thread that forks.
func onStarter(call func() error) (err error) {
	done := make(chan struct{})
	starter() <- func() {
		err = call()
		close(done)
	}
	<-done
	return err
}

// allCores are the CPUs this program may use, before it pins anything.
var allCores = sync.OnceValue(sys.Cores)

// AllCores in place of a CPU leaves a child on every CPU that this program may use.
const AllCores = -1

// Spawn starts a child pinned to core, or AllCores, with as high a priority as is allowed. stdin may be nil; with a nil stdout
// what the child prints is kept with its stderr.
func Spawn(args []string, core int, stdin io.Reader, stdout io.Writer) (*Process, error) {
	return spawn(args, core, stdin, stdout, func(start func() error) error { return start() })
}

// spawn is Spawn that has the child started by within, on the thread that forks.
func spawn(args []string, core int, stdin io.Reader, stdout io.Writer, within func(start func() error) error) (*Process, error) {
	p := &Process{Args: args, cmd: exec.Command(args[0], args[1:]...), done: make(chan struct{})}
	p.cmd.Stdin = stdin
	// A session of its own: the kernel divides CPU time between sessions first (sched(7), autogroup), and a keyboard
	// interrupt goes to the parent alone.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setsid: true}
	p.cmd.Stderr = &p.output
	p.cmd.Stdout = &p.output
	if stdout != nil {
		p.cmd.Stdout = stdout
	}
	cores := allCores()
	if core != AllCores {
		cores = []int{core}
	}
	err := onStarter(func() error {
		if err := sys.SetAffinity(cores...); err != nil {
			return err
		}
		// Without the right to it the children run at normal priority, and other programs disturb them more.
		_ = unix.Setpriority(unix.PRIO_PROCESS, 0, -20)
		return within(p.cmd.Start)
	})
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", args[0], err)
	}
	p.PID = p.cmd.Process.Pid
	// As with the priority: without the right to it, or without autogroups, other programs disturb more.
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/autogroup", p.PID), []byte("-20"), 0)
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// Start starts a target and waits until it listens.
func Start(ctx context.Context, t Target, e Env) (*Process, error) {
	args, err := t.Command(e)
	if err != nil {
		return nil, err
	}
	p, err := Spawn(args, e.Core, nil, nil)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	for !listening(e.Listen) {
		select {
		case <-p.done:
			return nil, fmt.Errorf("%s ended at once (%v): %s\n  command: %s", t.Name, p.err, p.output.String(), strings.Join(args, " "))
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("%s does not listen on %s: %w: %s", t.Name, e.Listen, ctx.Err(), p.output.String()), p.Stop())
		case <-poll.C:
		}
	}
	return p, nil
}

// Wait waits for the child's own end and returns its exit code, -1 when a signal ended it.
func (p *Process) Wait(ctx context.Context) (code int, err error) {
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-ctx.Done():
		return -1, errors.Join(ctx.Err(), p.kill())
	}
}

// Outlasts waits until ctx ends and returns nil when the child still runs then.
func (p *Process) Outlasts(ctx context.Context) error {
	select {
	case <-p.done:
		return fmt.Errorf("%s ended early (%v): %s", p.Args[0], p.err, p.output.String())
	case <-ctx.Done():
		return nil
	}
}

// Ended tells whether the child has ended by itself, and what it said.
func (p *Process) Ended() (bool, string) {
	select {
	case <-p.done:
		return true, fmt.Sprintf("%v: %s", p.err, p.output.String())
	default:
		return false, ""
	}
}

// Output is what the child has printed, without what went to a buffer of the caller's.
func (p *Process) Output() string { return p.output.String() }

// Signal sends the child a signal.
func (p *Process) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// Stop ends the child: nothing of what it still holds matters.
func (p *Process) Stop() error { return p.kill() }

// kill ends the child and, since it leads a session, everything it has started.
func (p *Process) kill() error {
	err := unix.Kill(-p.PID, unix.SIGKILL)
	<-p.done
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}
