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
	"testing"
	"time"
)

// bin is where the real binaries are, once built.
var bin string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if bin, err = os.MkdirTemp("", "fooclient-test-"); err != nil {
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
	if out, err := exec.Command("go", "build", "-o", bin+"/", ".", "../fooserver").CombinedOutput(); err != nil {
		panic(fmt.Sprintf("go build: %v\n%s", err, out))
	}
})

// patience ends what hangs; nothing that works comes near it.
const patience = 60 * time.Second

// startServer starts a fooserver for the test's life and returns its address.
func startServer(t *testing.T, flags ...string) string {
	t.Helper()
	build()
	cmd := exec.Command(filepath.Join(bin, "fooserver"), append([]string{"--listen", "127.0.0.1:0"}, flags...)...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(stderr).ReadString('\n')
	addr, ok := strings.CutPrefix(strings.TrimSpace(line), "fooserver: listening on ")
	if !ok {
		t.Fatalf("the server says %q, %v", line, err)
	}
	return addr
}

type result struct {
	code           int
	stdout, stderr string
}

// runClient runs fooclient to its end.
func runClient(t *testing.T, stdin io.Reader, args ...string) result {
	t.Helper()
	var stdout bytes.Buffer
	return runClientTo(t, stdin, &stdout, args...)
}

// output is what a client has printed, or is printing.
type output interface {
	io.Writer
	String() string
}

func runClientTo(t *testing.T, stdin io.Reader, stdout output, args ...string) result {
	t.Helper()
	build()
	cmd := exec.Command(filepath.Join(bin, "fooclient"), args...)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, &stderr
	err := cmd.Start()
	if err != nil {
		t.Fatal(err)
	}
	watchdog := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	err = cmd.Wait()
	if !watchdog.Stop() {
		t.Fatalf("fooclient %v hangs; stdout %.200q, stderr %q", args, stdout.String(), stderr.String())
	}
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// startPeer starts a server that serves its one connection by script.
func startPeer(t *testing.T, script func(c net.Conn, r *bufio.Reader)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience))
		script(c, bufio.NewReader(c))
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		<-done
	})
	return ln.Addr().String()
}

func requests(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "REQ %d hello %d\n", i, i*i)
	}
	return b.String()
}

func same(t *testing.T, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	i := 0
	for i < len(got) && i < len(want) && got[i] == want[i] {
		i++
	}
	from := max(0, i-20)
	t.Fatalf("%d bytes instead of %d, other from byte %d on:\n got …%.80q\nwant …%.80q", len(got), len(want), i, got[from:], want[from:])
}
