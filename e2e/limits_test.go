package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// comeFrom connects a client from an address of its own on the loopback network and has a request answered. It returns nil when
// the connection is reset, which may show at any moment.
func comeFrom(t testing.TB, ip, addr string) *peer {
	t.Helper()
	d := net.Dialer{Timeout: limit, LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	conn, err := d.Dial("tcp", addr)
	if errors.Is(err, syscall.ECONNRESET) {
		return nil
	}
	ok(t, err)
	c := newPeer(t, conn, "client from "+ip)
	if err = c.send([]byte("REQ 1\n")); err == nil {
		err = c.expectText("ACK 1\n")
	}
	if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		c.Close()
		return nil
	}
	ok(t, err)
	return c
}

// letIn is comeFrom for a client that must not be refused.
func letIn(t testing.TB, ip, addr string) *peer {
	t.Helper()
	c := comeFrom(t, ip, addr)
	if c == nil {
		t.Fatalf("a client from %s is refused", ip)
	}
	return c
}

// eachAccept runs f for both ways to spread connections over two loops.
func eachAccept(t *testing.T, f func(t *testing.T, engine, accept string)) {
	eachEngine(t, func(t *testing.T, engine string) {
		for _, accept := range []string{"reuseport", "single"} {
			t.Run(accept, func(t *testing.T) { f(t, engine, accept) })
		}
	})
}

// --maxconn-per-ip holds over all loops: more connections of an address are reset and counted, said once, and leave nothing
// behind; other addresses do not notice, and a place that becomes free is given again.
func TestMaxConnPerIP(t *testing.T) {
	eachAccept(t, func(t *testing.T, engine, accept string) {
		u := newUpstream(t)
		u.serve(echo)
		p := start(t, engine, u.addr, "--maxconn-per-ip=3", "--loops=2", "--accept="+accept)
		held := make([]*peer, 3)
		for i := range held {
			held[i] = letIn(t, "127.0.0.2", p.addr)
		}
		const refused = 20
		for range refused {
			if comeFrom(t, "127.0.0.2", p.addr) != nil {
				t.Fatal("let in beyond the limit")
			}
		}
		letIn(t, "127.0.0.3", p.addr)
		p.counts(stats{"connections": 4, "connections_total": 4, "refused_conns_per_ip": refused, "refused_rate_per_ip": 0})
		held[0].Close()
		p.reaches(stats{"connections": 3})
		letIn(t, "127.0.0.2", p.addr)
		if comeFrom(t, "127.0.0.2", p.addr) != nil {
			t.Error("let in beyond the limit")
		}
		if n := strings.Count(p.errors(), "one_of=127.0.0.2"); n != 1 && n != 2 { // 2 when the test took longer than 10 s
			t.Errorf("the refusals are told %d times:\n%s", n, p.errors())
		}
	})
}

// --rate-per-ip: of many at once as many come in as a second allows, and no address pays for another.
func TestRatePerIP(t *testing.T) {
	eachAccept(t, func(t *testing.T, engine, accept string) {
		u := newUpstream(t)
		u.serve(echo)
		p := start(t, engine, u.addr, "--rate-per-ip=10", "--loops=2", "--accept="+accept)
		began := time.Now()
		const n = 60
		in := 0
		for range n {
			if c := comeFrom(t, "127.0.0.2", p.addr); c != nil {
				in++
				c.Close()
			}
		}
		if most := 10 + int(10*time.Since(began).Seconds()) + 1; in < 10 || in > most {
			t.Errorf("%d of %d are let in, want 10 to %d", in, n, most)
		}
		letIn(t, "127.0.0.3", p.addr)
		p.counts(stats{"connections_total": float64(in + 1), "refused_rate_per_ip": float64(n - in), "refused_conns_per_ip": 0})
	})
}

// Clients that are gone before they are accepted are nobody's: however many they are, and from however many addresses, none is
// refused for what others have, and those who come after them have all their places.
func TestDeadClientsTakeNoPlaces(t *testing.T) {
	eachAccept(t, func(t *testing.T, engine, accept string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr, "--maxconn-per-ip=8", "--loops=2", "--accept="+accept)
		beside(t, p, u)
		u.serve(echo)
		const addresses, each = 12, 6
		p.signal(syscall.SIGSTOP)
		for i := range addresses * each {
			d := net.Dialer{Timeout: limit, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+i%addresses))}}
			conn, err := d.Dial("tcp", p.addr)
			ok(t, err)
			ok(t, newPeer(t, conn, "client").reset())
		}
		p.signal(syscall.SIGCONT)
		eventually(t, "all of them are accepted", func() bool {
			s := p.stats()
			return s["connections_total"]+s["accept_errors"]+s["refused_conns_per_ip"] >= addresses*each && s["connections"] == 0
		})
		p.counts(stats{"refused_conns_per_ip": 0, "refused_rate_per_ip": 0})
		for i := range addresses {
			letIn(t, fmt.Sprintf("127.0.0.%d", 2+i), p.addr)
		}
		p.counts(stats{"refused_conns_per_ip": 0, "connections": addresses})
	})
}

// A client that is gone before it is accepted has had its say, and its address: with limits as without, what it has sent arrives
// whole, and then its reset, whichever loop has accepted it.
func TestEarlyResetByAddress(t *testing.T) {
	eachAccept(t, func(t *testing.T, engine, accept string) {
		for _, flag := range []string{"--maxconn-per-ip=8", "--maxconn-per-ip=0"} {
			path := filepath.Join(t.TempDir(), "log")
			u := newUpstream(t)
			p := start(t, engine, u.addr, flag, "--loops=2", "--accept="+accept, "--log="+path)
			const n = 12 // at once: some of them are given to the other loop
			p.signal(syscall.SIGSTOP)
			for i := range n {
				d := net.Dialer{Timeout: limit, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+i))}}
				conn, err := d.Dial("tcp", p.addr)
				ok(t, err)
				c := newPeer(t, conn, "client")
				ok(t, c.send([]byte("REQ 1\n")))
				ok(t, c.reset())
			}
			p.signal(syscall.SIGCONT)
			for range n {
				s := u.accept()
				ok(t, s.expectText("REQ 1\n"))
				ok(t, s.ends(rst))
				s.Close()
			}
			p.reaches(stats{"msg_req": n, "connections_total": n, "connections": 0, "end_client_rst": n, "accept_errors": 0, "refused_conns_per_ip": 0})
			eventually(t, "all of them are in the log", func() bool { return strings.Count(readFile(t, path), " CONN ") == n })
			for i := range n {
				if from := fmt.Sprintf(" client=127.0.0.%d:", 2+i); !strings.Contains(readFile(t, path), from) {
					t.Errorf("nobody with%s in the log:\n%s", from, readFile(t, path))
				}
			}
		}
	})
}

// Many addresses, one after the other, take what the formula says. In a thorough run they are many more than are remembered.
func TestAddressSweep(t *testing.T) {
	n := 10000
	if thorough {
		n = 5 * addressesMost
	}
	eachEngineAlone(t, func(t *testing.T, engine string) {
		refuses := newUpstream(t)
		refuses.l.Close()
		p := launchPlain(t, engine, refuses.addr, []string{"--rate-per-ip=1", "--loops=2"})
		t.Cleanup(p.check)
		const workers = 16
		ok(t, forAll(workers, func(w int) error {
			for i := w; i < n; i += workers {
				if err := passBy(net.IPv4(127, byte(1+i>>16), byte(i>>8), byte(i)), p.addr); err != nil {
					return err
				}
			}
			return nil
		}))
		p.reaches(stats{"connections_total": float64(n), "refused_rate_per_ip": 0, "connections": 0})
		l, _ := p.flags()
		l.loops, l.conns, l.addresses = 2, workers, min(n, addressesMost+workers)
		p.within(fmt.Sprint(n, " addresses"), l)
	})
}

// passBy connects a client from ip and waits for the proxy to end it.
func passBy(ip net.IP, addr string) error {
	d := net.Dialer{Timeout: limit, LocalAddr: &net.TCPAddr{IP: ip}, Control: func(_, _ string, c syscall.RawConn) (err error) {
		cerr := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1) })
		return errors.Join(cerr, err)
	}}
	conn, err := d.Dial("tcp", addr)
	if errors.Is(err, syscall.ECONNRESET) {
		return nil
	}
	if err != nil {
		return err
	}
	c := &peer{conn.(stream), "client from " + ip.String()}
	_, _, err = c.rest()
	return errors.Join(err, c.reset()) // so that no port waits (TIME_WAIT)
}

// A unix socket's clients have no address.
func TestUnixClientsHaveNoLimitByAddress(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr, "--listen=unix:"+unixPath(t, "l"), "--maxconn-per-ip=1", "--rate-per-ip=1")
		for range 3 {
			c, s := p.pair(u)
			ok(t, c.send([]byte("REQ 1\n")))
			ok(t, s.expectText("REQ 1\n"))
			defer finish(t, c, s)
		}
	})
}

// --max-pending: the server sees no more outstanding requests than allowed and one read of 8 KiB, the client waits longer than
// its line may take, a neighbour notices nothing, and with the answers everything goes on to its end.
func TestMaxPending(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr, "--max-pending=50", "--timeout-line=1s")
		c, s := p.pair(u)
		loris, ls := p.pair(u)
		const n, size, most = 20000, 100, 50 + 8192/100 + 1
		sent := make(chan error, 1)
		go func() { sent <- c.sendAll(requests(1, n, size)) }()
		p.reaches(stats{"pending_pauses": 1})
		if got := p.stats()["msg_req"]; got < 50 || got > most {
			t.Fatalf("%v requests are outstanding, want 50 to %d", got, most)
		}
		ok(t, loris.send([]byte("REQ 1 unfinished")))
		ok(t, ls.expectText("REQ 1 unfinished"))
		ok(t, loris.ends(fin, rst)) // and so more than a second has passed
		loris.Close()
		ls.Close()
		ok(t, together(
			func() error { return c.expect(answersTo(requests(1, n, size).bytes())) },
			func() error { return answerAtMost(s, n, most) },
		))
		ok(t, <-sent)
		finish(t, c, s)
		p.reaches(stats{"msg_req": n, "msg_ack": n, "connections": 0, "end_line_timeout": 1})
	})
}

// answerAtMost answers n requests as they come; an error when more than most are outstanding.
func answerAtMost(s *peer, n, most int) error {
	buf, held := make([]byte, 256<<10), 0
	for answered := 0; answered < n; {
		s.soon()
		got, err := s.Read(buf[held:])
		if err != nil {
			return err
		}
		held += got
		whole := bytes.LastIndexByte(buf[:held], '\n') + 1
		outstanding := bytes.Count(buf[:whole], []byte("\n"))
		if outstanding > most {
			return fmt.Errorf("%d requests are outstanding, want at most %d", outstanding, most)
		}
		answers := answersTo(buf[:whole])
		if whole > 0 {
			if err := s.sendAll(answers); err != nil {
				return err
			}
		}
		answered += outstanding
		held = copy(buf, buf[whole:held])
	}
	return nil
}
