package e2e

import (
	"errors"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
)

// pourOut sends the stream, adding up what the kernel has taken. No stall here is as long as the suite's limit.
func (p *peer) pourOut(m *messages, sent *atomic.Int64) error {
	buf := make([]byte, max(16<<10, m.size/4))
	for {
		n, err := m.Read(buf)
		if err != nil {
			return nil
		}
		if err := p.send(buf[:n]); err != nil {
			return err
		}
		sent.Add(int64(n))
	}
}

// pour sends the stream until it is stuck against a reader that does not read. It returns how to wait for its end.
func pour(t testing.TB, from *peer, m *messages) (finished func() error) {
	t.Helper()
	total := int64(m.n) * int64(m.size)
	var sent atomic.Int64
	result := make(chan error, 1)
	go func() { result <- from.pourOut(m, &sent) }()
	if n := steady(t, "the sender", sent.Load); n >= total {
		t.Fatalf("%d of %d bytes were taken for a reader that does not read", n, total)
	}
	return func() error { return <-result }
}

const (
	stallCount  = 1000
	stallSize   = 64 << 10 // 64 MiB in each direction: the kernel's own buffers hold up to 36
	stallGrowth = 8 << 20  // of resident memory, for one connection stalled both ways
	// What is held of one direction: --max-buffer, half as much again while the reader takes some of it, and what one turn brings.
	stallHeld = 512<<10*3/2 + 64*8<<10
)

// A client, a server, or both stop reading: the other side is paused and memory stays bounded; once they read again every
// byte arrives.
func TestStall(t *testing.T) {
	for _, row := range []struct {
		name           string
		client, server bool // who stops reading
	}{{"client", true, false}, {"server", false, true}, {"both", true, true}} {
		t.Run(row.name, func(t *testing.T) {
			each := eachEngineAlone
			if row.client && row.server {
				each = eachWayAlone
			}
			each(t, func(t *testing.T, engine string) { stall(t, engine, row.client, row.server) })
		})
	}
}

func stall(t *testing.T, engine string, client, server bool) {
	u := newUpstream(t)
	p := launchPlain(t, engine, u.addr, []string{oneLoop})
	t.Cleanup(p.check)
	k := measured(t, p, u)
	c := dial(t, p.addr, 4096)
	s := u.accept()
	ok(t, c.send([]byte("REQ 0\n")))
	ok(t, s.expectText("REQ 0\n"))
	base := p.rss()
	var ends []func() error
	if client {
		ends = append(ends, pour(t, s, acks(1, stallCount, stallSize)), func() error { return c.expect(acks(1, stallCount, stallSize)) })
	}
	if server {
		ends = append(ends, pour(t, c, requests(1, stallCount, stallSize)), func() error { return s.expect(requests(1, stallCount, stallSize)) })
	}
	k.holds("a stalled connection")
	if grown := p.rss() - base; grown > stallGrowth {
		t.Errorf("resident memory grew by %d bytes", grown)
	}
	stalled := float64(len(ends) / 2)
	eventually(t, "each pause is counted", func() bool { return p.stats()["read_pauses"] >= stalled })
	if held := p.stats()["buffered_bytes"]; held == 0 || held > stalled*stallHeld {
		t.Errorf("%v bytes are held", held)
	}
	ok(t, c.widen())
	ok(t, together(ends...))
	k.check()
	finish(t, c, s)
}

// A thousand clients stop reading at once while their servers have more for them than the kernel's buffers take.
func TestThousandStalledClients(t *testing.T) {
	eachEngineAlone(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := launchPlain(t, engine, u.addr, nil)
		t.Cleanup(p.check)
		k := measured(t, p, u)
		const n, each, size = 1000, 6, 64 << 10
		clients, servers := make([]*peer, n), make([]*peer, n)
		for i := range n {
			clients[i] = dialSmall(t, p.addr)
			servers[i] = u.accept()
			ok(t, servers[i].stream.(*net.TCPConn).SetWriteBuffer(16<<10))
		}
		var sent atomic.Int64
		poured := make(chan error, 1)
		go func() {
			poured <- forAll(n, func(i int) error { return servers[i].pourOut(acks(i, each, size), &sent) })
		}()
		if stuck := steady(t, "the servers", sent.Load); stuck >= n*each*size {
			t.Fatalf("%d of %d bytes were taken for readers that do not read", stuck, n*each*size)
		}
		l, _ := p.flags()
		l.loops, l.conns, l.flows, l.stalled = runtime.NumCPU(), n+1, 2*(n+1), n
		p.within("a thousand stalled clients", l)
		k.holds("a thousand stalled clients")
		ok(t, forAll(n, func(i int) error {
			return errors.Join(clients[i].widen(), clients[i].expect(acks(i, each, size)))
		}))
		ok(t, <-poured)
		k.check()
		p.reaches(stats{"buffered_bytes": 0})
		for i := range n {
			clients[i].Close()
			servers[i].Close()
		}
	})
}

// A stalled connection that ends, by FIN or RST, from either side, leaves nothing behind.
func TestStalledThenEnds(t *testing.T) {
	eachWay(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr)
		beside(t, p, u)
		for _, row := range []struct {
			name string
			end  func(c, s *peer) error
		}{
			{"client RST", func(c, _ *peer) error { return c.reset() }},
			{"client close", func(c, _ *peer) error { return c.Close() }},
			{"server RST", func(c, s *peer) error { return errors.Join(s.reset(), c.cutShort(acks(1, stallCount, stallSize))) }},
		} {
			c := dial(t, p.addr, 4096)
			s := u.accept()
			ok(t, c.send([]byte("REQ 0\n")))
			ok(t, s.expectText("REQ 0\n"))
			finished := pour(t, s, acks(1, stallCount, stallSize))
			ok(t, row.end(c, s))
			if finished() == nil {
				t.Fatalf("%s: everything was sent", row.name)
			}
			c.Close()
			s.Close()
			p.reaches(stats{"connections": 0, "buffered_bytes": 0})
		}
	})
}
