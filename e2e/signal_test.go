package e2e

import (
	"errors"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TERM while eight clients are in the middle of their work: the listener closes, every request is answered, exit code 0.
func TestTermDrains(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		u.serve(echo)
		p := start(t, engine, u.addr)
		k := beside(t, p, u)
		const conns, rounds = 8, 400
		var done atomic.Int64
		loads := make(chan error, 1)
		clients := make([]*peer, conns)
		for i := range clients {
			clients[i] = p.dial()
		}
		go func() {
			loads <- forAll(conns, func(i int) error {
				for r := range rounds {
					m := requests(i*rounds+r, 20, 100).bytes()
					if err := clients[i].send(m); err != nil {
						return err
					}
					if err := clients[i].expect(answersTo(m)); err != nil {
						return err
					}
					done.Add(1)
				}
				return clients[i].shutAndClose()
			})
		}()
		eventually(t, "the load is on", func() bool { return done.Load() > conns*rounds/20 })
		p.signal(syscall.SIGTERM)
		eventually(t, "new clients are refused", func() bool {
			c, err := connect(p.addr, 0)
			if err == nil {
				c.Close()
			}
			return errors.Is(err, syscall.ECONNREFUSED)
		})
		if done.Load() == conns*rounds {
			t.Error("the load was over before the listener closed: this shows nothing")
		}
		ok(t, <-loads)
		k.check()
		if code := p.exit(); code != 0 {
			t.Errorf("exit code %d, want 0", code)
		}
	})
}

// Requests read before TERM are answered before the exit although the client has ended its side and the server is slow.
func TestTermWaitsForAnswers(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr)
		k := beside(t, p, u)
		c, s := p.pair(u)
		ok(t, c.send([]byte("REQ 1\nREQ 2\n")))
		ok(t, s.expectText("REQ 1\nREQ 2\n"))
		ok(t, c.CloseWrite())
		ok(t, s.ends(fin))
		p.signal(syscall.SIGTERM)
		eventually(t, "the listener is closed", func() bool {
			probe, err := connect(p.addr, 0)
			if err == nil {
				probe.Close()
			}
			return err != nil
		})
		ok(t, together(
			func() error { return s.sendAll(acks(1, 100, 50_000)) },
			func() error { return c.expect(acks(1, 100, 50_000)) },
		))
		k.check()
		ok(t, s.CloseWrite())
		ok(t, c.ends(fin))
		u.l.Close() // resets what the probes may have left in its queue
		if code := p.exit(); code != 0 {
			t.Errorf("exit code %d, want 0", code)
		}
	})
}

// A connection that does not end is closed when --drain-timeout is over.
func TestDrainTimeout(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr, "--drain-timeout=200ms")
		k := beside(t, p, u)
		c, s := p.pair(u)
		ok(t, c.send([]byte("REQ 1 unanswered\n")))
		ok(t, s.expectText("REQ 1 unanswered\n"))
		k.check() // 200 ms are too short to be sure
		p.signal(syscall.SIGTERM)
		ok(t, together(func() error { return c.ends(fin, rst) }, func() error { return s.ends(fin, rst) }))
		if code := p.exit(); code != 0 {
			t.Errorf("exit code %d, want 0", code)
		}
	})
}

// The first TERM or INT waits for what is open; the second ends at once, in the middle of streams: what has arrived is what was
// sent, and one who does not get all that was on its way sees an RST, not an end.
func TestSecondTerm(t *testing.T) {
	eachWay(t, func(t *testing.T, engine string) {
		for _, signals := range [][2]syscall.Signal{{syscall.SIGTERM, syscall.SIGTERM}, {syscall.SIGINT, syscall.SIGTERM}, {syscall.SIGTERM, syscall.SIGINT}} {
			u := newUpstream(t)
			p := start(t, engine, u.addr, "--drain-timeout=1h")
			k := beside(t, p, u)
			c, s := p.pair(u)
			ok(t, c.send([]byte("REQ 1 unanswered\n")))
			ok(t, s.expectText("REQ 1 unanswered\n"))
			stalled, from := dial(t, p.addr, 4096), u.accept()
			ok(t, stalled.send([]byte("REQ 0\n")))
			ok(t, from.expectText("REQ 0\n"))
			finished := pour(t, from, acks(2, stallCount, stallSize))
			moving, ms := p.pair(u)
			x := cross(t, p, moving, ms, "cs")
			p.signal(signals[0])
			eventually(t, "the listener is closed", func() bool {
				probe, err := connect(p.addr, 0)
				if err == nil {
					probe.Close()
				}
				return err != nil
			})
			if p.exited() {
				t.Fatal("the first signal did not wait for the connection")
			}
			k.check()
			p.signal(signals[1])
			ok(t, together(func() error { return c.ends(fin, rst) }, func() error { return s.ends(fin, rst) }))
			if code := p.exit(); code != 0 {
				t.Errorf("exit code %d, want 0", code)
			}
			x.ended(t)
			if finished() == nil {
				t.Error("everything was sent to one who does not read")
			}
			ok(t, stalled.cutShort(acks(2, stallCount, stallSize)))
		}
	})
}

// After a KILL with open connections the same port can be bound again at once, and its peers see their connections end.
func TestKillAndRestart(t *testing.T) {
	for _, loops := range []string{"--loops=1", "--loops=2"} { // one loop has the port alone, two share it
		t.Run(loops, func(t *testing.T) {
			eachEngine(t, func(t *testing.T, engine string) {
				u := newUpstream(t)
				p := launch(t, engine, u.addr, []string{loops})
				c, s := p.pair(u)
				ok(t, c.send([]byte("REQ 1\n")))
				ok(t, s.expectText("REQ 1\n"))
				moving, ms := p.pair(u)
				x := cross(t, p, moving, ms, "cs")
				p.kill()
				x.ended(t)
				again := start(t, engine, u.addr, "--listen="+p.addr, loops)
				beside(t, again, u)
				ok(t, together(func() error { return c.ends(fin, rst) }, func() error { return s.ends(fin, rst) }))
				c, s = again.pair(u)
				ok(t, c.send([]byte("REQ 2\n")))
				ok(t, s.expectText("REQ 2\n"))
				finish(t, c, s)
			})
		})
	}
}

// The same with as many connections as a busy proxy has, all of them with something in flight for the kernel to clear away.
func TestKillAndRestartBusy(t *testing.T) {
	takesLong(t)
	eachEngineAlone(t, func(t *testing.T, engine string) {
		const n = 4000
		u := newUpstream(t)
		p := launch(t, engine, u.addr, nil)
		clients, servers := make([]*peer, n), make([]*peer, n)
		for i := range n {
			clients[i], servers[i] = p.pair(u)
			ok(t, clients[i].send([]byte("REQ 1 unfinished")))
		}
		ok(t, p.cmd.Process.Kill())
		began := time.Now()
		again := start(t, engine, u.addr, "--listen="+p.addr)
		beside(t, again, u)
		t.Logf("listens again %v after the KILL", time.Since(began).Round(time.Millisecond))
		ok(t, forAll(n, func(i int) error {
			_, _, err := servers[i].rest()
			return errors.Join(err, clients[i].ends(fin, rst))
		}))
		c, s := again.pair(u)
		finish(t, c, s)
	})
}

// USR1 a thousand times a second under load: each answer is whole, none falls behind the one before it, no byte is lost.
func TestStatsStorm(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		u.serve(echo)
		p := start(t, engine, u.addr)
		beside(t, p, u)
		const conns, rounds, batch = 4, 150, 50
		const span = 1200 * time.Millisecond
		stop, sent, began := make(chan struct{}), 0, time.Now()
		var batches atomic.Int64
		var storm sync.WaitGroup
		storm.Go(func() {
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-tick.C:
					p.signal(syscall.SIGUSR1)
					sent++
				case <-stop:
					return
				}
			}
		})
		loads := make(chan error, 1)
		go func() {
			loads <- forAll(conns, func(i int) error {
				c, err := connect(p.addr, 0)
				if err != nil {
					return err
				}
				defer c.Close()
				for r := 0; r < rounds || time.Since(began) < span; r++ {
					m := requests(i<<20+r, batch, 30).bytes()
					if err := c.send(m); err != nil {
						return err
					}
					if err := c.expect(answersTo(m)); err != nil {
						return err
					}
					batches.Add(1)
				}
				return c.shutAndClose()
			})
		}()
		last, n := stats{}, 0
		ok(t, func() error {
			for {
				select {
				case err := <-loads:
					return err
				case b := <-p.packets:
					s := parseStats(t, string(b))
					for _, name := range growing {
						if s[name] < last[name] {
							t.Errorf("%s fell from %v to %v", name, last[name], s[name])
						}
					}
					last, n = s, n+1
				}
			}
		}())
		close(stop)
		storm.Wait()
		took := time.Since(began)
		t.Logf("%d signals in %v, %d answers while the load was on", sent, took.Round(time.Millisecond), n)
		if n < sent/10 { // signals that come faster than they are taken are one
			t.Errorf("%d answers to %d SIGUSR1", n, sent)
		}
		if rate := float64(sent) / took.Seconds(); thorough && rate < 700 {
			t.Errorf("%.0f signals a second, want a thousand", rate)
		}
		p.quiet()
		messages := float64(batches.Load() * batch)
		p.reaches(stats{"msg_req": messages, "msg_ack": messages, "connections": 0})
	})
}

// growing are totals: no answer to SIGUSR1 has less of one than the answer before it.
var growing = []string{
	"msg_total", "msg_req", "msg_ack", "msg_nak", "bad", "connections_total", "class_foo", "bytes_request", "bytes_response",
	"read_pauses", "end_client_fin", "uptime_seconds", "heap_allocs",
}

// quiet waits until signals sent before have all been answered.
func (p *proxy) quiet() {
	p.t.Helper()
	steady(p.t, "standard output", func() int64 {
		for {
			select {
			case <-p.packets:
				return time.Now().UnixNano()
			default:
				return 0
			}
		}
	})
}

// PIPE and WINCH and a stream of HUP without a log change nothing.
func TestHarmlessSignals(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		u.serve(echo)
		p := start(t, engine, u.addr)
		k := beside(t, p, u)
		for range 20 {
			for _, s := range []syscall.Signal{syscall.SIGPIPE, syscall.SIGWINCH, syscall.SIGHUP, syscall.SIGCONT} {
				p.signal(s)
			}
			k.live()
		}
		k.check()
	})
}

// A stopped process (SIGSTOP, SIGCONT) goes on where it was.
func TestStopAndContinue(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr)
		c, s := p.pair(u)
		p.signal(syscall.SIGSTOP)
		ok(t, c.send(requests(1, 500, 100).bytes()))
		ok(t, s.send(acks(1, 500, 100).bytes()))
		p.signal(syscall.SIGCONT)
		ok(t, s.expect(requests(1, 500, 100)))
		ok(t, c.expect(acks(1, 500, 100)))
		finish(t, c, s)
		p.counts(stats{"msg_req": 500, "msg_ack": 500})
	})
}
