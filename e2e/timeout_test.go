package e2e

import (
	"sync"
	"testing"
	"time"
)

// No byte either way for --timeout-idle closes both sides.
func TestIdleTimeout(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr, "--timeout-idle=200ms")
		c, s := p.pair(u)
		ok(t, c.send([]byte("REQ 1\n")))
		ok(t, s.expectText("REQ 1\n"))
		ok(t, together(func() error { return c.ends(fin, rst) }, func() error { return s.ends(fin, rst) }))
		c.Close()
		s.Close()
		p.reaches(stats{"end_idle": 1, "connections": 0})
	})
}

// A connection that keeps moving, by one side alone, is not idle.
func TestIdleTimeoutSparesTheBusy(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		u.serve(echo)
		p := start(t, engine, u.addr, "--timeout-idle=300ms")
		k := beside(t, p, u) // lives longer than the quiet one
		quiet := p.dial()
		ok(t, quiet.ends(fin, rst))
		quiet.Close()
		k.check()
		p.reaches(stats{"end_idle": 1, "connections": 0})
	})
}

// A request line that is not finished within --timeout-line closes its client, however slowly bytes trickle in; thousands of
// them at once, beside a canary.
func TestSlowLoris(t *testing.T) {
	eachEngineAlone(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		u.serve(echo)
		n, patience, rest := 200, time.Second, 300*time.Millisecond
		if thorough {
			n, patience, rest = 5000, 15*time.Second, 5*time.Second
		}
		p := launchPlain(t, engine, u.addr, []string{"--timeout-line=" + patience.String()})
		t.Cleanup(p.check)
		k := measured(t, p, u)
		base := p.rss()
		var begun sync.WaitGroup
		begun.Add(n)
		done := make(chan error, 1)
		go func() {
			done <- forAll(n, func(i int) error {
				c, err := connect(p.addr, 0)
				if err == nil {
					err = c.send([]byte("REQ 1 "))
				}
				begun.Done()
				if err != nil {
					return err
				}
				defer c.Close()
				gone := make(chan struct{})
				go trickle(c, rest, gone)
				err = c.ends(fin, rst)
				close(gone)
				return err
			})
		}()
		begun.Wait()
		k.live()
		grown := p.rss() - base
		t.Logf("%d bytes of resident memory for each of %d", grown/int64(n), n)
		if grown > int64(n)*lorisSize+lorisRoom {
			t.Errorf("resident memory grew by %d bytes for %d clients", grown, n)
		}
		k.holds("slow lorises")
		ok(t, <-done)
		k.check()
		p.reaches(stats{"end_line_timeout": float64(n), "connections": 0})
	})
}

// What a client that is slow may take of resident memory: no more than one that is quiet, and what all of them have the runtime take.
const (
	lorisSize = 4 << 10
	lorisRoom = 4 << 20
)

// trickle sends a byte now and then until gone is closed.
func trickle(c *peer, rest time.Duration, gone <-chan struct{}) {
	tick := time.NewTicker(rest)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_, _ = c.Write([]byte("x"))
		case <-gone:
			return
		}
	}
}

// The line time-out is for the time the client takes: a line that waits for a server that does not read is no slow loris, and
// a client between two lines may take its time.
func TestLineTimeoutSparesTheWaiting(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := listenUpstream(t, "unix:"+unixPath(t, "s")) // its buffers are small
		p := start(t, engine, u.addr, "--timeout-line=1s")
		c, s := p.pair(u)
		between, sb := p.pair(u)
		ok(t, between.send([]byte("REQ 1\n")))
		ok(t, sb.expectText("REQ 1\n"))
		wait := pour(t, c, requests(1, 1, 12<<20))
		lorisC, lorisS := p.pair(u) // its end tells that more than the time-out has passed
		ok(t, lorisC.send([]byte("REQ 1 unfinished")))
		ok(t, lorisC.ends(fin, rst))
		lorisC.Close()
		lorisS.Close()
		ok(t, s.expect(requests(1, 1, 12<<20)))
		ok(t, wait())
		finish(t, c, s)
		finish(t, between, sb)
		p.reaches(stats{"end_line_timeout": 1, "msg_req": 2, "connections": 0})
	})
}

// After one side's FIN the other has --timeout-half-close for its next byte.
func TestHalfCloseTimeout(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr, "--timeout-half-close=200ms")
		for _, clientFirst := range []bool{true, false} {
			c, s := p.pair(u)
			ok(t, c.send([]byte("REQ 1\n")))
			ok(t, s.expectText("REQ 1\n"))
			first, second := s, c
			if clientFirst {
				first, second = c, s
			}
			ok(t, first.CloseWrite())
			ok(t, second.ends(fin)) // the relayed FIN; second never ends by itself
			ok(t, first.ends(fin, rst))
			c.Close()
			s.Close()
		}
		p.reaches(stats{"connections": 0, "msg_req": 2})
	})
}

// Without time-outs nothing is closed for being quiet, and the defaults are long: a quiet and a half-closed connection
// outlive one that is closed by its own short time-out in another proxy.
func TestNoTimeoutByDefault(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr)
		q := start(t, engine, u.addr, "--timeout-idle=500ms")
		c, s := p.pair(u)
		half, hs := p.pair(u)
		ok(t, half.CloseWrite())
		ok(t, hs.ends(fin))
		clock, cs := q.pair(u)
		ok(t, clock.ends(fin, rst))
		cs.Close()
		ok(t, hs.send([]byte("ACK 1\n")))
		ok(t, half.expectText("ACK 1\n"))
		hs.Close()
		ok(t, half.ends(fin))
		ok(t, c.send([]byte("REQ 1\n")))
		ok(t, s.expectText("REQ 1\n"))
		finish(t, c, s)
	})
}
