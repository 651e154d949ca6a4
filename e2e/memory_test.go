package e2e

import (
	"testing"
)

// A million messages through sixteen connections: the heap does not grow, the collector has nothing to do, and memory stays.
func TestMillionMessages(t *testing.T) {
	eachEngineAlone(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		u.serve(echo)
		p := launchPlain(t, engine, u.addr, nil)
		t.Cleanup(p.check)
		const conns, batch = 16, 50
		clients := make([]*peer, conns)
		for i := range clients {
			clients[i] = p.dial()
		}
		load := func(rounds int) {
			t.Helper()
			ok(t, forAll(conns, func(i int) error {
				m := requests(i, batch, 16).bytes()
				answer := answersTo(m)
				for range rounds {
					if err := clients[i].send(m); err != nil {
						return err
					}
					if err := clients[i].expect(answer); err != nil {
						return err
					}
					_, _ = answer.Seek(0, 0)
				}
				return nil
			}))
		}
		load(60) // 48,000 requests to warm up
		before, rss := p.stats(), p.rss()
		load(630) // 504,000 requests in 10,080 batches, and as many answers
		after := p.stats()
		if n := after["msg_total"] - before["msg_total"]; n < 1e6 {
			t.Errorf("only %v messages", n)
		}
		if n := after["heap_allocs"] - before["heap_allocs"]; n > 2000 { // the answers to SIGUSR1 allocate some themselves
			t.Errorf("%v objects were allocated over a million messages", n)
		}
		if n := after["gc_cycles"] - before["gc_cycles"]; n > 1 {
			t.Errorf("the collector ran %v times", n)
		}
		if grown := p.rss() - rss; grown > 2<<20 {
			t.Errorf("resident memory grew by %d KiB", grown>>10)
		}
	})
}

// Five thousand idle connections, each of which has carried a message, cost at most 4 KiB of resident memory each.
func TestIdleConnectionsAreSmall(t *testing.T) {
	eachEngineAlone(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := launchPlain(t, engine, u.addr, nil)
		t.Cleanup(p.check)
		warm, ws := p.pair(u)
		ok(t, warm.send([]byte("REQ 1\n")))
		ok(t, ws.expectText("REQ 1\n"))
		base := p.rss()
		const n = 5000
		for i := range n {
			c, s := p.pair(u)
			m := requests(i, 1, 100).bytes()
			ok(t, c.send(m))
			ok(t, s.expectBytes(m))
			a := acks(i, 1, 100).bytes()
			ok(t, s.send(a))
			ok(t, c.expectBytes(a))
		}
		p.counts(stats{"connections": n + 1})
		each := (p.rss() - base) / n
		t.Logf("%d bytes of resident memory for each idle connection", each)
		if each > 4096 {
			t.Errorf("%d bytes of resident memory for each of %d idle connections", each, n)
		}
	})
}
