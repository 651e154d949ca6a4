package e2e

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// closedPort is an address of this host that nobody listens on: the port stays bound, so that nobody gets it who does not ask for it.
func closedPort(t testing.TB) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	ok(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	ok(t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
	ok(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	name, err := unix.Getsockname(fd)
	ok(t, err)
	return fmt.Sprintf("127.0.0.1:%d", name.(*unix.SockaddrInet4).Port)
}

// turnedAway wants clients to be closed without a byte, and the reason to be counted and no message. In a thorough run that takes
// as long as connecting may, which is 0 when an answer comes at once, and a moment.
func turnedAway(t *testing.T, p *proxy, reason string, patience time.Duration) {
	t.Helper()
	const n, moment = 20, 100 * time.Millisecond
	before := p.stats()
	began := time.Now()
	ok(t, forAll(n, func(int) error { return turnAway(p.addr) }))
	if took := time.Since(began); thorough && took > patience+moment {
		t.Errorf("%d clients were turned away in %v, want %v", n, took, patience)
	}
	p.reaches(stats{
		reason: n, "connections": before["connections"], "buffered_bytes": 0, "msg_total": before["msg_total"],
		"connections_total": before["connections_total"] + n,
	})
}

// turnAway is one client that is closed without a byte.
func turnAway(addr string) error {
	c, err := connect(addr, 0)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.send([]byte("REQ 1 to nobody\n")); err != nil {
		return err
	}
	return c.ends(fin)
}

func TestUpstreamRefuses(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		turnedAway(t, start(t, engine, closedPort(t)), "end_refused", 0)
	})
}

func TestUpstreamUnixPathMissing(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		turnedAway(t, start(t, engine, "unix:"+unixPath(t, "none")), "end_refused", 0)
	})
}

// A listener with a full accept queue drops the SYN: the connect hangs until the time-out.
func TestUpstreamNeverAnswers(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		p := start(t, engine, deafListener(t), "--timeout-connect=150ms")
		turnedAway(t, p, "end_connect_timeout", 150*time.Millisecond)
	})
}

// deafListener listens, never accepts, and has its accept queue full.
func deafListener(t testing.TB) (addr string) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	ok(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	ok(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	ok(t, unix.Listen(fd, 0))
	name, err := unix.Getsockname(fd)
	ok(t, err)
	addr = fmt.Sprintf("127.0.0.1:%d", name.(*unix.SockaddrInet4).Port)
	for range 2 { // a queue of length 0 takes one; the second is the first to hang
		c, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		ok(t, err)
		t.Cleanup(func() { unix.Close(c) })
		if err := unix.Connect(c, name); err != nil && err != unix.EINPROGRESS {
			t.Fatal(err)
		}
	}
	return addr
}

// The server dies with connections open, is away for a while, and comes back on the same port.
func TestUpstreamDiesAndReturns(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr)
		beside(t, p, u)
		c, s := p.pair(u)
		ok(t, c.send([]byte("REQ 1\n")))
		ok(t, s.expectText("REQ 1\n"))
		u.l.Close()
		ok(t, s.reset())
		ok(t, c.ends(rst))
		turnedAway(t, p, "end_refused", 0)
		before := p.stats()
		back := listenUpstream(t, u.addr)
		c, s = p.pair(back)
		ok(t, c.send([]byte("REQ 2\n")))
		ok(t, s.expectText("REQ 2\n"))
		finish(t, c, s)
		p.counts(stats{"msg_req": before["msg_req"] + 1})
	})
}

// A server that accepts and closes at once ends its client by FIN. When it resets at once, the proxy may see a connection that
// was reset or one that was never made, so the client may see either end.
func TestUpstreamClosesAtOnce(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr)
		for range 20 {
			c, s := p.pair(u)
			s.Close()
			ok(t, c.ends(fin))
			c.Close()
			c, s = p.pair(u)
			ok(t, s.reset())
			ok(t, c.ends(fin, rst))
			c.Close()
		}
		p.reaches(stats{"connections": 0, "buffered_bytes": 0})
	})
}

// The first byte is sent while the upstream's handshake is still open: it waits and arrives.
func TestSlowConnect(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		dir := shortTemp(t)
		u := listenUpstream(t, "unix:"+dir+"/s")
		p := start(t, engine, u.addr)
		var clients []*peer
		for i := range 50 { // nobody has accepted yet
			c := p.dial()
			ok(t, c.send(requests(i, 100, 100).bytes()))
			ok(t, c.CloseWrite())
			clients = append(clients, c)
		}
		want := map[string]bool{}
		for i := range clients {
			want[string(requests(i, 100, 100).bytes())] = true
		}
		for range clients {
			s := u.accept()
			b, e, err := s.rest()
			ok(t, err)
			if e != fin || !want[string(b)] {
				t.Fatalf("the server read %d bytes that no client sent, or twice: %q", len(b), excerpt(b, 0))
			}
			delete(want, string(b))
			s.Close()
		}
		for _, c := range clients {
			ok(t, c.ends(fin))
		}
		p.counts(stats{"msg_req": 5000})
	})
}
