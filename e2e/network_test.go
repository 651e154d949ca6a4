package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"
)

// inside starts the subject in a network namespace, listening on a unix socket that this process reaches, with an upstream
// on port 8000 of the namespace's loopback.
func inside(t *testing.T, n *network, engine string, flags ...string) (*proxy, *upstream) {
	t.Helper()
	return insideAt(t, n, engine, "unix:"+unixPath(t, "listen"), flags...)
}

// insideAt is inside with an address to listen on.
func insideAt(t *testing.T, n *network, engine, listen string, flags ...string) (*proxy, *upstream) {
	t.Helper()
	flags = append(flags, "--listen="+listen)
	var l net.Listener
	var p *proxy
	ok(t, n.do(func() (err error) {
		if l, err = net.Listen("tcp", "127.0.0.1:8000"); err != nil {
			return err
		}
		p = launch(t, engine, l.Addr().String(), flags)
		return nil
	}))
	t.Cleanup(func() { l.Close() })
	t.Cleanup(p.check)
	return p, &upstream{t: t, l: l, addr: l.Addr().String()}
}

// One packet in twenty is lost between proxy and server, or between client and proxy: everything is delivered all the same.
func TestPacketLoss(t *testing.T) {
	for _, row := range []struct {
		name string
		port int
	}{{"server", 8000}, {"client", 9000}} {
		t.Run(row.name, func(t *testing.T) {
			eachEngine(t, func(t *testing.T, engine string) {
				n := newNetwork(t)
				p, u := insideAt(t, n, engine, "127.0.0.1:9000")
				u.serve(echo)
				var k *canary
				var clients []*peer
				const conns, rounds, batch = 6, 4, 50
				ok(t, n.do(func() error { // there they are dialled
					k = beside(t, p, u)
					for range conns {
						clients = append(clients, p.dial())
					}
					return nil
				}))
				ok(t, n.drop(row.port, 20, k.client, k.server))
				ok(t, forAll(conns, func(i int) error { return rallyOn(clients[i], i, rounds, batch) }))
				k.check()
				if n.struck(t) == 0 {
					t.Error("no packet was lost")
				}
				p.reaches(stats{"msg_req": conns * rounds * batch, "msg_ack": conns * rounds * batch, "connections": 0})
			})
		})
	}
}

// The network to the server or to the client becomes a black hole for a connection in the middle of its streams: the idle time-out
// ends it, and what had arrived was what was sent.
func TestBlackHole(t *testing.T) {
	for _, row := range []struct {
		name string
		port int
	}{{"server", 8000}, {"client", 9000}} {
		t.Run(row.name, func(t *testing.T) {
			eachWay(t, func(t *testing.T, engine string) {
				n := newNetwork(t)
				p, u := insideAt(t, n, engine, "127.0.0.1:9000", "--timeout-idle=300ms")
				var k *canary
				var c, s *peer
				ok(t, n.do(func() error { // there clients are dialled
					k = beside(t, p, u)
					c, s = p.pair(u)
					return nil
				}))
				x := cross(t, p, c, s, "cs")
				ok(t, n.drop(row.port, 1, k.client, k.server))
				p.reaches(stats{"end_idle": 1, "connections": 0})
				lost := c // to whom nothing has come any more
				if row.port == 8000 {
					lost = s
				}
				lost.Close()
				x.ended(t)
				c.Close()
				s.Close()
			})
		})
	}
}

// A client resets its connection behind requests that a black hole swallows: the RST waits for them to be delivered, but no longer
// than a connection may be half closed.
func TestResetBeforeABlackHole(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		n := newNetwork(t)
		p, u := insideAt(t, n, engine, "127.0.0.1:9000", "--timeout-half-close=300ms")
		var k *canary
		var c, s *peer
		ok(t, n.do(func() error {
			k = beside(t, p, u)
			c, s = p.pair(u)
			return nil
		}))
		ok(t, c.send([]byte("REQ 1\n")))
		ok(t, s.expectText("REQ 1\n"))
		ok(t, n.drop(8000, 1, k.server))
		ok(t, c.send(requests(1, 20, 500).bytes()))
		ok(t, c.delivered())
		ok(t, c.reset())
		p.reaches(stats{"end_client_rst": 1, "msg_req": 21, "connections": 0, "buffered_bytes": 0})
		if n.struck(t) == 0 {
			t.Error("nothing was swallowed")
		}
		s.Close()
	})
}

// The server resets its connection, and the RST is lost on its way: it never comes again. The keep-alive probe finds out.
func TestLostReset(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		n := newNetwork(t)
		p, u := inside(t, n, engine, "--keepalive=1s")
		beside(t, p, u)
		c, s := p.pair(u)
		ok(t, c.send([]byte("REQ 1\n")))
		ok(t, s.expectText("REQ 1\n"))
		ok(t, s.send([]byte("ACK 1\n")))
		ok(t, c.expectText("ACK 1\n"))
		ok(t, n.filter("tcp sport 8000 tcp flags & rst == rst counter drop"))
		ok(t, s.reset())
		eventually(t, "the reset is lost", func() bool { return n.struck(t) > 0 })
		ok(t, n.filter())
		p.reaches(stats{"connections": 1})
		ok(t, c.ends(fin, rst)) // a unix socket knows no RST
		p.reaches(stats{"end_server_rst": 1, "msg_req": 1, "msg_ack": 1, "connections": 0})
	})
}

// A namespace has no route beyond its loopback.
func TestUpstreamUnreachable(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		n := newNetwork(t)
		var p *proxy
		ok(t, n.do(func() error {
			p = launch(t, engine, "192.0.2.1:8000", []string{"--listen=unix:" + unixPath(t, "listen")})
			return nil
		}))
		t.Cleanup(p.check)
		turnedAway(t, p, "end_unreachable", 0)
	})
}

// A firewall in front of the server swallows the SYN, resets it, or says that the host is unreachable: clients are closed, with
// the reason counted, a connection that stands goes on, and new ones work once the firewall is gone.
func TestUpstreamFirewalled(t *testing.T) {
	const patience = 200 * time.Millisecond
	for _, row := range []struct {
		verdict, reason string
		patience        time.Duration
	}{
		{"drop", "end_connect_timeout", patience},
		{"reject with tcp reset", "end_refused", 0},
		{"reject with icmp type host-unreachable", "end_unreachable", 0},
	} {
		t.Run(row.reason, func(t *testing.T) {
			eachEngine(t, func(t *testing.T, engine string) {
				n := newNetwork(t)
				p, u := inside(t, n, engine, "--timeout-connect="+patience.String(), oneLoop)
				k := measured(t, p, u)
				ok(t, n.filter("tcp dport 8000 tcp flags & (syn|ack) == syn "+row.verdict))
				turnedAway(t, p, row.reason, row.patience)
				end := keepOn(func(int) error { return turnAway(p.addr) })
				k.holds("a server behind a firewall")
				ok(t, end())
				k.check()
				ok(t, n.filter())
				c, s := p.pair(u)
				ok(t, c.send([]byte("REQ 1\n")))
				ok(t, s.expectText("REQ 1\n"))
				finish(t, c, s)
			})
		})
	}
}

// Out of local ports: the client is closed, with the reason counted; once ports are free again connections work.
func TestNoLocalPorts(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		n := newNetwork(t)
		p, u := inside(t, n, engine, oneLoop)
		k := measured(t, p, u)
		ok(t, n.do(func() error { // the file is that of the writing thread's namespace
			return os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte("40000 40003"), 0o644)
		}))
		var clients, servers []*peer
		for range 4 {
			c, s := p.pair(u)
			clients, servers = append(clients, c), append(servers, s)
		}
		turnedAway(t, p, "end_no_ports", 0)
		end := keepOn(func(int) error { return turnAway(p.addr) })
		k.holds("a want of ports")
		ok(t, end())
		k.check()
		for i, c := range clients {
			s := servers[i]
			ok(t, c.send([]byte("REQ 1\n")))
			ok(t, s.expectText("REQ 1\n"))
			ok(t, s.CloseWrite()) // the server's FIN first: TIME-WAIT is then on its port, not on one of the four
			ok(t, c.ends(fin))
			ok(t, c.CloseWrite())
			ok(t, s.ends(fin))
		}
		c, s := p.pair(u)
		finish(t, c, s)
	})
}

// A socket that is destroyed from outside, in the middle of its streams, counts as reset: both sides see the RST, and nothing but
// what was sent before it.
func TestSocketKilled(t *testing.T) {
	eachWay(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr)
		k := beside(t, p, u)
		for _, row := range []struct {
			victim byte
			from   string // whence the stream comes
		}{{'c', "c"}, {'c', "s"}, {'s', "c"}, {'s', "s"}} {
			c, s := p.pair(u)
			ok(t, c.send([]byte("REQ 0\n")))
			ok(t, s.expectText("REQ 0\n"))
			x := cross(t, p, c, s, row.from)
			victim, _ := sides(row.victim, c, s)
			ok(t, killSocket(victim.RemoteAddr(), victim.LocalAddr())) // the proxy's end
			x.ended(t)
			reader := &x.atServer
			if row.from == "s" {
				reader = &x.atClient
			}
			if reader.end != rst { // a write may take the RST from the side that sends
				t.Errorf("%+v: the stream ended with %q, want %s", row, reader.end, rst)
			}
		}
		k.check()
		p.reaches(stats{"end_client_rst": 2, "end_server_rst": 2, "connections": 0})
	})
}

// killSocket destroys the socket at local whose peer is remote (sock_diag's SOCK_DESTROY).
func killSocket(local, remote net.Addr) error {
	args := []string{"-K", "-Htn", "src", local.String(), "dst", remote.String()}
	out, err := exec.Command("ss", args...).CombinedOutput()
	if err != nil || len(out) == 0 {
		return fmt.Errorf("ss %v: %v\n%s", args, err, out)
	}
	return nil
}
