package e2e

import (
	"bytes"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
)

// The client has ended; the server's answer of 10 MiB still comes back whole.
func TestClientFINThenLateAnswer(t *testing.T) {
	eachWay(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr)
		beside(t, p, u)
		c, s := p.pair(u)
		ok(t, c.send([]byte("REQ 1 question\n")))
		ok(t, c.CloseWrite())
		ok(t, s.expectText("REQ 1 question\n"))
		ok(t, s.ends(fin))
		ok(t, together(
			func() error { return s.sendAll(acks(1, 160, 64<<10)) },
			func() error { return c.expect(acks(1, 160, 64<<10)) },
		))
		ok(t, s.CloseWrite())
		ok(t, c.ends(fin))
		p.reaches(stats{"msg_req": 1, "msg_ack": 160, "connections": 0})
	})
}

// The server ends first: its FIN arrives behind its data, and the client may go on sending.
func TestServerFINFirst(t *testing.T) {
	eachWay(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr)
		beside(t, p, u)
		c, s := p.pair(u)
		ok(t, together(
			func() error { return s.sendAll(acks(1, 50, 20_000)) },
			func() error { return c.expect(acks(1, 50, 20_000)) },
		))
		ok(t, s.CloseWrite())
		ok(t, c.ends(fin))
		ok(t, together(
			func() error { return c.sendAll(requests(1, 50, 20_000)) },
			func() error { return s.expect(requests(1, 50, 20_000)) },
		))
		ok(t, c.CloseWrite())
		ok(t, s.ends(fin))
		p.reaches(stats{"msg_req": 50, "msg_ack": 50, "connections": 0})
	})
}

// resets plays: from sends n messages that to does not read yet, resets the connection, and to must read all of them and
// then see the RST.
func resets(t *testing.T, from, to *peer, stream func() *messages) {
	t.Helper()
	ok(t, from.sendAll(stream()))
	ok(t, from.delivered())
	ok(t, from.reset())
	ok(t, to.expect(stream()))
	ok(t, to.ends(rst))
}

// An RST is relayed as an RST, behind the data that came before it.
func TestRSTAfterData(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr)
		k := beside(t, p, u)
		for _, size := range []int{0, 10_000, 200_000} {
			for range 3 { // the race between data and reset has more than one outcome
				c, s := p.pair(u)
				ok(t, c.send([]byte("REQ 0\n")))
				ok(t, s.expectText("REQ 0\n"))
				resets(t, s, c, func() *messages { return acks(1, size/1000, 990) })
				c, s = p.pair(u)
				ok(t, c.send([]byte("REQ 0\n")))
				ok(t, s.expectText("REQ 0\n"))
				resets(t, c, s, func() *messages { return requests(1, size/1000, 990) })
			}
		}
		k.check()
		p.reaches(stats{"connections": 0})
	})
}

// The reader of a connection that is reset is slow and its window small: what the proxy had received must wait for it, and
// the RST behind it.
func TestRSTBehindStalledReader(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr)
		k := beside(t, p, u)
		for i := range 10 {
			c := dial(t, p.addr, 4096)
			s := u.accept()
			ok(t, c.send([]byte("REQ 0\n")))
			ok(t, s.expectText("REQ 0\n"))
			resets(t, s, c, func() *messages { return acks(i, 60+5*i, 990) })
		}
		k.check()
		p.reaches(stats{"connections": 0, "buffered_bytes": 0})
	})
}

// The same with FIN: it comes right behind the data, while the reader has not begun to read, from either side.
func TestFINBehindStalledReader(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr)
		k := beside(t, p, u)
		for i := range 6 {
			c := dial(t, p.addr, 4096)
			s := u.accept()
			stream := func() *messages { return acks(i, 60+10*i, 990) }
			from, to := s, c
			if i%2 == 0 {
				stream = func() *messages { return requests(i, 60+10*i, 990) }
				from, to = c, s
			}
			ok(t, from.sendAll(stream()))
			ok(t, from.CloseWrite())
			ok(t, from.delivered())
			ok(t, to.expect(stream()))
			ok(t, to.ends(fin))
			ok(t, to.CloseWrite())
			ok(t, from.ends(fin))
		}
		k.check()
		p.reaches(stats{"connections": 0, "buffered_bytes": 0})
	})
}

// A reset after a half-close, either way round.
func TestRSTAfterHalfClose(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr)
		k := beside(t, p, u)
		c, s := p.pair(u)
		ok(t, c.send([]byte("REQ 1\n")))
		ok(t, c.CloseWrite())
		ok(t, s.expectText("REQ 1\n"))
		ok(t, s.ends(fin))
		resets(t, s, c, func() *messages { return acks(1, 10, 500) })
		c, s = p.pair(u)
		ok(t, s.send([]byte("ACK 1\n")))
		ok(t, s.CloseWrite())
		ok(t, c.expectText("ACK 1\n"))
		ok(t, c.ends(fin))
		resets(t, c, s, func() *messages { return requests(1, 10, 500) })
		k.check()
		p.reaches(stats{"connections": 0})
	})
}

// Both sides end at once, in every combination, many connections together: one teardown each.
func TestBothEndAtOnce(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr)
		k := beside(t, p, u)
		const n, count, size = 40, 20, 500
		clients, servers := make([]*peer, n), make([]*peer, n)
		for i := range n {
			clients[i], servers[i] = p.pair(u)
			ok(t, clients[i].send(requests(i, count, size).bytes()))
			ok(t, servers[i].send(acks(i, count, size).bytes()))
		}
		barrier := make(chan struct{})
		ended := forAllAfter(barrier, 2*n, func(i int) error {
			p, sent, resets, graceful := clients[i%n], acks(i%n, count, size), i%2 == 0, i%4 == 3
			if i >= n {
				p, sent, resets = servers[i%n], requests(i%n, count, size), i/2%2 == 0
			}
			if resets {
				return p.reset()
			}
			return p.endsWith(sent.bytes(), graceful)
		})
		close(barrier)
		ok(t, <-ended)
		k.check()
		p.reaches(stats{"connections": 0, "buffered_bytes": 0})
	})
}

// shutAndClose ends this side by FIN, unless the other was first, and reads what is left, so that the close sends no RST.
func (p *peer) shutAndClose() error {
	_ = p.CloseWrite()
	_, _, err := p.rest()
	_ = p.Close()
	return err
}

// endsWith is shutAndClose that wants what is left to be a prefix of sent, or all of it.
func (p *peer) endsWith(sent []byte, all bool) error {
	_ = p.CloseWrite()
	got, _, err := p.rest()
	_ = p.Close()
	if err == nil && (all && len(got) != len(sent) || !bytes.HasPrefix(sent, got)) {
		err = fmt.Errorf("%s: %w", p.name, differs(got, bytes.NewReader(sent)))
	}
	return err
}

// cutShort wants a stream to end by RST, after a part of what was sent.
func (p *peer) cutShort(sent io.Reader) error {
	var seen sight
	err := seen.read(p, sent, newProgress())
	if err == nil && seen.end != rst {
		err = fmt.Errorf("%s: a stream that was cut short after %d bytes ends with %q, want %s", p.name, seen.in, seen.end, rst)
	}
	return err
}

// forAllAfter is forAll behind a barrier.
func forAllAfter(barrier <-chan struct{}, n int, f func(int) error) <-chan error {
	result := make(chan error, 1)
	go func() {
		result <- forAll(n, func(i int) error {
			<-barrier
			return f(i)
		})
	}()
	return result
}

// Connections that end in every way and combination, one after the other: a healthy one beside them hardly notices.
func TestEndsDisturbNobody(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr, oneLoop)
		k := measured(t, p, u)
		var served atomic.Int64
		u.serve(func(s *peer) {
			way := served.Add(1) % 3
			if way == 0 {
				echo(s)
				return
			}
			_, _ = s.Read(make([]byte, 100))
			_ = s.send([]byte("ACK 1\n"))
			if way == 1 {
				_ = s.reset()
			} else {
				_ = s.shutAndClose() // an error if the client was first
			}
		})
		end := func(i int) error {
			c, err := connect(p.addr, 0)
			if err != nil {
				return err
			}
			if err := c.send(requests(i, 3, 1000).bytes()); err != nil {
				return err
			}
			switch i / 2 % 3 {
			case 0:
				return c.reset()
			case 1:
				return c.Close()
			}
			_ = c.shutAndClose() // an error if the server has reset the connection
			return nil
		}
		ok(t, forAll(8, func(w int) error {
			for i := range 50 {
				if err := end(w + i); err != nil {
					return err
				}
			}
			return nil
		}))
		keep := keepOn(end)
		k.holds("connections that end in every way")
		ok(t, keep())
		k.check()
		p.reaches(stats{"connections": 0, "buffered_bytes": 0})
	})
}

// Connections that are made, used once and closed, one after the other, each way round.
func TestChurn(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		u.serve(echo)
		p := start(t, engine, u.addr)
		beside(t, p, u)
		const workers, each = 8, 100
		ok(t, forAll(workers, func(w int) error {
			for i := range each {
				c, err := connect(p.addr, 0)
				if err != nil {
					return err
				}
				m := requests(w*each+i, 3, 40).bytes()
				if err := c.send(m); err != nil {
					return err
				}
				if err := c.expect(answersTo(m)); err != nil {
					return err
				}
				switch i % 3 {
				case 0:
					c.Close()
				case 1:
					if err := c.reset(); err != nil {
						return err
					}
				default:
					if err := c.shutAndClose(); err != nil {
						return err
					}
				}
			}
			return nil
		}))
		const total = workers * each
		p.reaches(stats{"msg_req": 3 * total, "msg_ack": 3 * total, "connections": 0})
	})
}
