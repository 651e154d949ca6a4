package e2e

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// manager plays the service manager that a proxy reports to: a unix datagram socket.
type manager struct {
	t    testing.TB
	path string
	conn *net.UnixConn
}

func newManager(t testing.TB) *manager {
	t.Helper()
	path := unixPath(t, "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	ok(t, err)
	t.Cleanup(func() { conn.Close() })
	return &manager{t: t, path: path, conn: conn}
}

// next is the next state that the proxy tells, its first line; nothing within d is "".
func (m *manager) next(d time.Duration) (state, rest string) {
	m.t.Helper()
	buf := make([]byte, 4096)
	ok(m.t, m.conn.SetReadDeadline(time.Now().Add(d)))
	n, err := m.conn.Read(buf)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return "", ""
	}
	ok(m.t, err)
	state, rest, _ = strings.Cut(string(buf[:n]), "\n")
	return state, rest
}

// awaits wants state to be told before the suite's limit, signs of life aside.
func (m *manager) awaits(want string) (rest string) {
	m.t.Helper()
	for {
		state, rest := m.next(limit)
		if state == want {
			return rest
		}
		if state != "WATCHDOG=1" {
			m.t.Fatalf("the manager is told %q, want %q", state, want)
		}
	}
}

// The service manager hears of the start, of reloads and of the end, and gets signs of life in between.
func TestNotify(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		m := newManager(t)
		p := startWith(t, engine, u.addr, []string{"--loops=2"}, withEnv("NOTIFY_SOCKET="+m.path, "WATCHDOG_USEC=300000"))
		if status := m.awaits("READY=1"); !strings.Contains(status, "STATUS=") || !strings.Contains(status, p.addr) {
			t.Errorf("the status is %q", status)
		}
		c, s := p.pair(u)
		for range 3 {
			if state, _ := m.next(limit); state != "WATCHDOG=1" {
				t.Fatalf("the manager is told %q", state)
			}
		}
		p.signal(syscall.SIGHUP)
		if at := m.awaits("RELOADING=1"); !strings.HasPrefix(at, "MONOTONIC_USEC=") {
			t.Errorf("the reload is told with %q", at)
		}
		m.awaits("READY=1")
		p.signal(syscall.SIGTERM)
		m.awaits("STOPPING=1")
		if state, _ := m.next(limit); state != "WATCHDOG=1" { // one loop may have ended, the other drains
			t.Errorf("while it drains the manager is told %q", state)
		}
		finish(t, c, s)
		if code := p.exit(); code != 0 {
			t.Errorf("exit code %d", code)
		}
	})
}

// A loop that hangs, here in a log that blocks and that nobody reads, stops the signs of life until it goes on.
func TestWatchdogOfAHangingLoop(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		u.serve(echo)
		m := newManager(t)
		r, w := pipe(t)
		p := startWith(t, engine, u.addr, []string{"--loops=1", "--log=/dev/fd/3", "--log-overflow=block"},
			withFile(w), withEnv("NOTIFY_SOCKET="+m.path, "WATCHDOG_USEC=300000"))
		ok(t, w.Close())
		m.awaits("READY=1")
		c := p.dial()
		done := make(chan error, 1)
		b := requests(1, 80_000, 4).bytes() // their lines are more than the loop's part of the log
		go func() {
			done <- together(
				func() error { return c.send(b) },
				func() error { return c.expect(answersTo(b)) },
			)
		}()
		eventually(t, "the hanging loop is noticed", func() bool { return strings.Contains(p.errors(), "an event loop hangs") })
		for state, _ := m.next(time.Millisecond); state != ""; state, _ = m.next(time.Millisecond) { // signs given before
		}
		if state, _ := m.next(time.Second); state != "" {
			t.Errorf("while a loop hangs the manager is told %q", state)
		}
		go func() {
			buf := make([]byte, 1<<20)
			for {
				if _, err := r.Read(buf); err != nil {
					return
				}
			}
		}()
		ok(t, <-done)
		m.awaits("WATCHDOG=1")
		c.Close()
	})
}

// activated starts the proxy with these sockets passed as systemd passes them: from descriptor 3 on, and LISTEN_PID is the
// proxy's own process, which only a shell that becomes it can know.
func activated(t testing.TB, engine, forward string, listeners []*os.File, flags ...string) *process {
	t.Helper()
	path, args, opts := command(engine)
	args = append(append([]string{"-c", `LISTEN_PID=$$ exec "$0" "$@"`, path}, args...), append(flags, "--forward="+forward)...)
	opts = append(opts, withEnv("LISTEN_FDS="+strconv.Itoa(len(listeners))), func(c *exec.Cmd) { c.ExtraFiles = listeners })
	return startProcess(t, "/bin/sh", args, opts...)
}

// listener opens a listening socket to be passed on, and its address as the flags have it.
func listener(t testing.TB, network, address string) (f *os.File, addr string) {
	t.Helper()
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		if network == "unix" {
			return nil
		}
		cerr := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
		return errors.Join(cerr, err)
	}}
	l, err := lc.Listen(context.Background(), network, address)
	ok(t, err)
	addr = l.Addr().String()
	if ul, isUnix := l.(*net.UnixListener); isUnix {
		ul.SetUnlinkOnClose(false)
		addr = "unix:" + addr
	}
	f, err = l.(interface{ File() (*os.File, error) }).File()
	ok(t, err)
	ok(t, l.Close())
	t.Cleanup(func() { f.Close() })
	return f, addr
}

// Sockets passed by the service manager are used in place of --listen: one for all loops, or one for each. They outlive the
// proxy: who connects while none runs is served by the next one.
func TestSocketActivation(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		u.serve(echo)
		one, oneAddr := listener(t, "tcp", "127.0.0.1:0")
		two, twoAddr := listener(t, "tcp", "127.0.0.1:0")
		three, _ := listener(t, "tcp", twoAddr)
		path := filepath.Join(shortTemp(t), "in")
		local, localAddr := listener(t, "unix", path)
		for _, row := range []struct {
			name  string
			fds   []*os.File
			addr  string
			flags []string
		}{
			{"one for two loops", []*os.File{one}, oneAddr, []string{"--loops=2"}},
			{"one and an acceptor", []*os.File{one}, oneAddr, []string{"--loops=2", "--accept=single"}},
			{"one for each of two loops", []*os.File{two, three}, twoAddr, []string{"--loops=2"}},
			{"unix", []*os.File{local}, localAddr, []string{"--loops=2"}},
		} {
			early, err := connect(row.addr, 0) // before there is a proxy
			ok(t, err)
			child := activated(t, engine, u.addr, row.fds, row.flags...)
			p := &proxy{process: child, engine: engine, addr: row.addr}
			if got := awaitAddr(t, child); got != row.addr {
				t.Errorf("%s: listens on %s, want %s", row.name, got, row.addr)
			}
			ok(t, early.send([]byte("REQ 1 early\n")))
			ok(t, early.expectText("ACK 1 early\n"))
			early.Close()
			const conns, rounds, batch = 8, 2, 10
			ok(t, forAll(conns, func(i int) error { return rally(row.addr, i, rounds, batch) }))
			p.reaches(stats{"connections": 0, "msg_req": 1 + conns*rounds*batch})
			p.stop()
			if t.Failed() {
				t.Fatal(row.name)
			}
		}
		if _, err := os.Stat(path); err != nil {
			t.Errorf("the unix socket's file: %v", err)
		}
	})
}

// What cannot be used is said in one line: no socket, more sockets than loops, both kinds.
func TestSocketActivationRefuses(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		one, addr := listener(t, "tcp", "127.0.0.1:0")
		two, _ := listener(t, "tcp", addr)
		local, _ := listener(t, "unix", filepath.Join(shortTemp(t), "in"))
		null, err := os.Open(os.DevNull)
		ok(t, err)
		defer null.Close()
		for _, row := range []struct {
			fds   []*os.File
			flags []string
			want  string
		}{
			{[]*os.File{null}, nil, "no listening socket"},
			{[]*os.File{one, two}, []string{"--loops=1"}, "2 listeners were passed to 1 loops"},
			{[]*os.File{one, two}, []string{"--loops=2", "--accept=single"}, "one accepts for all loops"},
			{[]*os.File{one, local}, []string{"--loops=2"}, "both TCP and unix sockets"},
		} {
			child := activated(t, engine, "127.0.0.1:1", row.fds, row.flags...)
			if code := child.exit(); code != 1 || !strings.Contains(child.errors(), row.want) || strings.Count(child.errors(), "\n") != 1 {
				t.Errorf("exit code %d, want one line with %q:\n%s", code, row.want, child.errors())
			}
		}
	})
}
