package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A tty is a fooclient on a pseudo-terminal and what it has shown so far.
type tty struct {
	t      *testing.T
	cmd    *exec.Cmd
	master *os.File
	mu     sync.Mutex
	shown  strings.Builder
	slave  *os.File
	after  *unix.Termios // the terminal's state after the end
	ended  chan struct{} // closed when the screen shows no more
}

func openTTY(t *testing.T, args ...string) *tty {
	t.Helper()
	build()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	// The slave stays open until the end: the kernel would reset the terminal's state when the client closes it.
	y := &tty{t: t, master: master, slave: slave, ended: make(chan struct{})}
	y.cmd = exec.Command(filepath.Join(bin, "fooclient"), args...)
	y.cmd.Stdin, y.cmd.Stdout, y.cmd.Stderr = slave, slave, slave
	y.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := y.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(y.ended)
		b := make([]byte, 4096)
		for {
			n, err := master.Read(b)
			y.mu.Lock()
			y.shown.Write(b[:n])
			y.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = y.cmd.Process.Kill()
		_ = y.cmd.Wait()
		_ = slave.Close()
		<-y.ended
		_ = master.Close()
	})
	return y
}

func (y *tty) screen() string {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.shown.String()
}

// await waits until the screen has shown what is wanted.
func (y *tty) await(want string) {
	y.t.Helper()
	for end := time.Now().Add(patience); !strings.Contains(y.screen(), want); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			y.t.Fatalf("never shown: %q; shown: %q", want, y.screen())
		}
	}
}

func (y *tty) keys(text string) {
	y.t.Helper()
	if _, err := io.WriteString(y.master, text); err != nil {
		y.t.Fatal(err)
	}
}

// code waits for the end and returns the exit code.
func (y *tty) code() int {
	y.t.Helper()
	watchdog := time.AfterFunc(patience, func() { _ = y.cmd.Process.Kill() })
	defer watchdog.Stop()
	_ = y.cmd.Wait()
	var err error
	if y.after, err = unix.IoctlGetTermios(int(y.slave.Fd()), unix.TCGETS); err != nil {
		y.t.Fatal(err)
	}
	_ = y.slave.Close()
	<-y.ended
	return y.cmd.ProcessState.ExitCode()
}

func TestConversation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history")
	y := openTTY(t, "--history", path, startServer(t))
	y.await("foo> ")
	y.keys("hello\r")
	y.await("ACK 1 hello  (")
	y.keys("REQ 40 as it is\r")
	y.await("ACK 40 as it is")
	y.keys("nexX\x7ft\r") // X is deleted
	y.await("ACK 41 next")
	y.keys("\x1b[A\x1b[A\r") // two up: the line before
	y.await("ACK 40 as it is  (")
	y.keys("clear \x1b[D\x1b[D\x1b[D\x1b[D\x1b[D\x1b[D!\r") // to the left, past the l
	y.await("ACK 42 !clear")
	y.keys("quit\r")
	if code := y.code(); code != exitAck {
		t.Errorf("exit code %d; shown: %q", code, y.screen())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	same(t, string(b), "hello\nREQ 40 as it is\nnext\nREQ 40 as it is\n!clear \nquit\n")

	y = openTTY(t, "--history", path, startServer(t, "--nak", "1"))
	y.await("foo> ")
	y.keys("\x1b[A\x1b[A\x1b[A\x1b[A\r")
	y.await("NAK 1 next")
	y.keys("\x04")
	if code := y.code(); code != exitAck {
		t.Errorf("exit code %d; shown: %q", code, y.screen())
	}
}

// TestAnswerWhileEditing: an answer appears above the half-typed line, which stays and can be finished.
func TestAnswerWhileEditing(t *testing.T) {
	y := openTTY(t, "--history", "", startServer(t, "--reply", "late\x1b[2J", "--delay", "200ms"))
	y.await("foo> ")
	y.keys("first\rhalf a li")
	y.await("ACK 1 late\\u001b[2J  (")
	y.await("\r\nfoo> half a li")
	y.keys("ne\r")
	y.await("ACK 2 late")
	y.keys("\x03") // Ctrl-C
	if code := y.code(); code != exitAck {
		t.Errorf("exit code %d; shown: %q", code, y.screen())
	}
}

func TestConversationEndedByOthers(t *testing.T) {
	y := openTTY(t, "--history", "", startServer(t, "--drain-timeout", "1ms"))
	y.await("foo> ")
	y.keys("ACK 1\r") // no request: the server hangs up
	y.await("the server has closed the connection")
	if code := y.code(); code != exitBroken {
		t.Errorf("exit code %d; shown: %q", code, y.screen())
	}

	y = openTTY(t, "--history", "", startServer(t))
	y.await("foo> ")
	_ = y.cmd.Process.Signal(syscall.SIGTERM)
	if code := y.code(); code != exitBroken {
		t.Errorf("exit code %d; shown: %q", code, y.screen())
	}
}

// TestTerminalIsRestored asks the terminal itself, after the client has ended in each of its ways.
func TestTerminalIsRestored(t *testing.T) {
	addr := startServer(t)
	for name, end := range map[string]func(y *tty){
		"quit": func(y *tty) { y.keys("quit\r") },
		"eof":  func(y *tty) { y.keys("\x04") },
		"term": func(y *tty) { _ = y.cmd.Process.Signal(syscall.SIGTERM) },
	} {
		t.Run(name, func(t *testing.T) {
			y := openTTY(t, "--history", "", addr)
			y.await("foo> ")
			raw, err := unix.IoctlGetTermios(int(y.master.Fd()), unix.TCGETS)
			if err != nil {
				t.Fatal(err)
			}
			if raw.Lflag&unix.ECHO != 0 {
				t.Fatal("the terminal is not raw while a line is edited: this test sees nothing")
			}
			end(y)
			y.code()
			if y.after.Lflag&unix.ECHO == 0 || y.after.Lflag&unix.ICANON == 0 {
				t.Error("the terminal is left in raw mode")
			}
		})
	}
}
