package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// bin is where the real binaries are, once built.
var bin string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if bin, err = os.MkdirTemp("", "fooserver-test-"); err != nil {
			panic(err)
		}
		defer os.RemoveAll(bin)
		return m.Run()
	}())
}

// build makes the real binaries. It reads the directory of every source: go test then knows that a result it has kept is no
// longer valid when one changes, which the compiler's reading does not tell it.
var build = sync.OnceFunc(func() {
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && path != "../.." && (d.Name()[0] == '.' || d.Name() == "bin") {
			return fs.SkipDir
		}
		return err
	})
	if err != nil {
		panic(err)
	}
	if out, err := exec.Command("go", "build", "-o", bin+"/", ".").CombinedOutput(); err != nil {
		panic(fmt.Sprintf("go build: %v\n%s", err, out))
	}
})

// patience ends what hangs; nothing that works comes near it.
const patience = 60 * time.Second

// A process is a fooserver that serves.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	addr   string
	stderr *bufio.Reader

	mu      sync.Mutex
	stdout  strings.Builder
	drained chan struct{} // closed at the end of stdout
}

// startServer starts a fooserver with flags; wrap, if any, is the command that runs it.
func startServer(t *testing.T, flags []string, wrap ...string) *process {
	t.Helper()
	build()
	args := append(append(wrap, filepath.Join(bin, "fooserver"), "--listen", "127.0.0.1:0"), flags...)
	p := &process{t: t, cmd: exec.Command(args[0], args[1:]...), drained: make(chan struct{})}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	go func() {
		defer close(p.drained)
		b := make([]byte, 4096)
		for {
			n, err := stdout.Read(b)
			p.mu.Lock()
			p.stdout.Write(b[:n])
			p.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	p.stderr = bufio.NewReader(stderr)
	line, err := p.stderr.ReadString('\n')
	addr, ok := strings.CutPrefix(strings.TrimSpace(line), "fooserver: listening on ")
	if !ok {
		t.Fatalf("the server says %q, %v", line, err)
	}
	p.addr = addr
	return p
}

func (p *process) printed() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stdout.String()
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// code waits for the end and returns the exit code.
func (p *process) code() int {
	p.t.Helper()
	watchdog := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
	defer watchdog.Stop()
	<-p.drained
	_ = p.cmd.Wait()
	return p.cmd.ProcessState.ExitCode()
}

func (p *process) connect() *net.TCPConn {
	p.t.Helper()
	c, err := net.Dial("tcp", p.addr)
	if err != nil {
		p.t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(patience))
	p.t.Cleanup(func() { _ = c.Close() })
	return c.(*net.TCPConn)
}

// ask sends text and the FIN, and returns what is answered up to the server's FIN.
func (p *process) ask(text string) string {
	p.t.Helper()
	c := p.connect()
	failed := make(chan error, 1)
	go func() {
		_, err := io.WriteString(c, text)
		failed <- errors.Join(err, c.CloseWrite())
	}()
	answer, err := io.ReadAll(c)
	if err := errors.Join(err, <-failed); err != nil {
		p.t.Fatal(err)
	}
	return string(answer)
}

// runToEnd runs a fooserver that is expected to end by itself.
func runToEnd(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	build()
	cmd := exec.Command(filepath.Join(bin, "fooserver"), args...)
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	watchdog := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer watchdog.Stop()
	_ = cmd.Wait()
	return cmd.ProcessState.ExitCode(), out.String(), err.String()
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not reached: %s", what)
		}
	}
}
