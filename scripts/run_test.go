// Package scripts holds what developers run. This file tests run.sh with the real binaries.
package scripts

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// bin is where the real binaries are, once built.
var bin string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if bin, err = os.MkdirTemp("", "run sh test "); err != nil { // blanks in paths must not matter
			panic(err)
		}
		defer os.RemoveAll(bin)
		return m.Run()
	}())
}

// build makes the real binaries. It reads the directory of every source: go test then knows that a result it has kept is no
// longer valid when one changes, which the compiler's reading does not tell it.
var build = sync.OnceFunc(func() {
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && path != ".." && (d.Name()[0] == '.' || d.Name() == "bin") {
			return fs.SkipDir
		}
		return err
	})
	if err != nil {
		panic(err)
	}
	if out, err := exec.Command("go", "build", "-o", bin+"/", "../cmd/fooproxy", "../cmd/fooserver", "../cmd/fooclient").CombinedOutput(); err != nil {
		panic(fmt.Sprintf("go build: %v\n%s", err, out))
	}
})

// patience ends what hangs; nothing that works comes near it.
const patience = 60 * time.Second

// A script is a running run.sh, and what it has printed so far.
type script struct {
	t    *testing.T
	cmd  *exec.Cmd
	mark string // in the environment of all its processes

	mu      sync.Mutex
	printed bytes.Buffer
	ended   chan struct{}
}

func (s *script) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.printed.Write(b)
}

func (s *script) output() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.printed.String()
}

var marks int

// start runs run.sh with the binaries of a directory. A nil tty is no terminal.
func start(t *testing.T, dir string, tty *os.File) *script {
	t.Helper()
	build()
	marks++
	s := &script{t: t, cmd: exec.Command("./run.sh", dir), mark: fmt.Sprintf("RUN_SH_TEST=%d.%d", os.Getpid(), marks)}
	s.cmd.Env = append(os.Environ(), s.mark, "HOME="+t.TempDir(), "TMPDIR="+t.TempDir())
	s.cmd.Stdout, s.cmd.Stderr = s, s
	if tty != nil {
		s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = tty, tty, tty
		s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	}
	s.cmd.WaitDelay = patience // output is not waited for longer: an orphan may hold it
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.ended = make(chan struct{})
	go func() {
		_ = s.cmd.Wait()
		close(s.ended)
	}()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		<-s.ended
	})
	return s
}

// code waits for the end and returns the exit code, -1 after a signal. Nothing that the script has started runs on.
func (s *script) code() int {
	s.t.Helper()
	select {
	case <-s.ended:
	case <-time.After(patience):
		s.t.Fatalf("run.sh hangs; printed: %s", s.output())
	}
	await(s.t, "no process is left over: "+strings.Join(s.processes(), ", "), func() bool { return len(s.processes()) == 0 })
	if left, _ := filepath.Glob(filepath.Join(s.tmp(), "*")); len(left) > 0 && s.cmd.ProcessState.Exited() {
		s.t.Errorf("files are left over: %q", left)
	}
	return s.cmd.ProcessState.ExitCode()
}

func (s *script) tmp() string {
	for _, pair := range s.cmd.Env {
		if dir, ok := strings.CutPrefix(pair, "TMPDIR="); ok {
			return dir
		}
	}
	return ""
}

// processes are the command lines of what the script has started and of itself.
func (s *script) processes() (all []string) {
	environs, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range environs {
		b, err := os.ReadFile(path)
		if err == nil && bytes.Contains(b, append([]byte(s.mark), 0)) {
			line, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
			all = append(all, string(bytes.ReplaceAll(line, []byte{0}, []byte{' '})))
		}
	}
	return all
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not reached: %s", what)
		}
	}
}

func (s *script) await(text string) {
	s.t.Helper()
	await(s.t, fmt.Sprintf("%q in the output", text), func() bool { return strings.Contains(s.output(), text) })
}

const conversation = `> REQ 1 Hey
< ACK 1 Hey
> REQ 2 Hey there
< NAK 2 Hey there
> REQ 3 Hey
> REQ 4 Hey
> REQ 5 Hey
< ACK 3 Hey
< ACK 4 Hey
< NAK 5 Hey
> REQ 6 Hey again
< ACK 6 Hey again
`

func TestExampleConversation(t *testing.T) {
	s := start(t, bin, nil)
	if code := s.code(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	out := s.output()
	figures := "\nmsg_total 12\nmsg_req 6\nmsg_ack 4\nmsg_nak 2\nrequest_rate_1s "
	if !strings.Contains(out, conversation) || !strings.Contains(out, figures) {
		t.Errorf("printed: %s", out)
	}
}

// TestPortsInUse: while one conversation holds its ports, another one finds the next ones.
func TestPortsInUse(t *testing.T) {
	first := startOnTTY(t)
	second := start(t, bin, nil)
	if code := second.code(); code != 0 {
		t.Errorf("exit code %d, printed: %s", code, second.output())
	}
	ports := map[string]bool{}
	for _, s := range []*script{first.script, second} {
		for _, port := range regexp.MustCompile(`on port (\d+)`).FindAllString(s.output(), -1) {
			ports[port] = true
		}
	}
	if len(ports) != 4 {
		t.Errorf("ports: %v", ports)
	}
}

// A ttyScript is a script on a terminal.
type ttyScript struct {
	*script
	master *os.File
	read   chan struct{} // closed when the terminal shows no more
}

// startOnTTY starts run.sh on a terminal and waits until one can talk.
func startOnTTY(t *testing.T) ttyScript {
	t.Helper()
	master, slave := pty(t)
	s := ttyScript{start(t, bin, slave), master, make(chan struct{})}
	_ = slave.Close()
	go func() {
		defer close(s.read)
		_, _ = io.Copy(s, master)
	}()
	s.await("foo> ")
	return s
}

func TestTalk(t *testing.T) {
	s := startOnTTY(t)
	_, _ = io.WriteString(s.master, "hello\r")
	s.await("ACK 1 hello")
	_, _ = io.WriteString(s.master, "quit\r")
	if code := s.code(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	<-s.read
	if !strings.Contains(s.output(), "msg_total 2\r\n") {
		t.Errorf("printed: %s", s.output())
	}
}

// TestSignals: a signal to the script alone, in the middle of everything, leaves nothing behind.
func TestSignals(t *testing.T) {
	// Under nohup the script would inherit that HUP is ignored, and no shell can change that. What a handler catches is not inherited.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	defer signal.Reset(syscall.SIGHUP)
	for sig, want := range map[syscall.Signal]int{syscall.SIGTERM: 143, syscall.SIGHUP: 129, syscall.SIGKILL: -1} {
		t.Run(sig.String(), func(t *testing.T) {
			if _, err := exec.LookPath("setpriv"); err != nil && sig == syscall.SIGKILL {
				t.Fatal("setpriv is missing (package util-linux): without it nothing can end the processes of a killed script")
			}
			s := startOnTTY(t)
			if n := len(s.processes()); n < 4 {
				t.Fatalf("only %d processes run: this test sees nothing", n)
			}
			if err := s.cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			if code := s.code(); code != want {
				t.Errorf("exit code %d, want %d", code, want)
			}
		})
	}
}

// TestWhatFails: a binary that is missing, or is replaced by a script, makes run.sh fail and say why.
func TestWhatFails(t *testing.T) {
	for name, test := range map[string]struct {
		proxy string // a shell script, or none
		want  string
	}{
		"missing":      {"", "fooproxy is missing"},
		"does not run": {"echo cannot be >&2; exit 1", "fooproxy does not start: cannot be"},
		"wrong figures": {`mkfifo "$0.p"; sed -u "s/msg_req 6/msg_req 7/" <"$0.p" & exec "${0%/*}/fooserver" --listen 127.0.0.1:$2 ` +
			`--nak 0.3 --seed 97 >"$0.p"`, "figures are not those"},
		"other answers": {`exec "${0%/*}/fooserver" --listen 127.0.0.1:$2`, "ended with status 0 instead of 3"},
		"wrong ones":    {`exec "${0%/*}/fooserver" --listen 127.0.0.1:$2 --nak 1`, "not the answers to expect: NAK 1 NAK 2"},
		"bad end": {`trap 'kill $!; exit 7' TERM; trap 'kill -USR1 $!' USR1; "${0%/*}/fooserver" --listen 127.0.0.1:$2 ` +
			"--nak 0.3 --seed 97 & while :; do wait; done", "fooproxy ended with status 7"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, b := range []string{"fooserver", "fooclient"} {
				if err := os.Symlink(filepath.Join(bin, b), filepath.Join(dir, b)); err != nil {
					t.Fatal(err)
				}
			}
			if test.proxy != "" {
				text := "#!/bin/sh\n" + test.proxy + "\n"
				if err := os.WriteFile(filepath.Join(dir, "fooproxy"), []byte(text), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			s := start(t, dir, nil)
			if code := s.code(); code != 1 {
				t.Errorf("exit code %d", code)
			}
			if !strings.Contains(s.output(), test.want) {
				t.Errorf("printed: %s", s.output())
			}
		})
	}
}

// pty opens a pseudo-terminal.
func pty(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = master.Close() })
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err := errors.Join(err, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)); err != nil {
		t.Fatal(err)
	}
	if slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	return master, slave
}
