package e2e

import (
	"path/filepath"
	"testing"
)

// Every way to accept, to spread over loops and to send gives the same bytes and counts.
func TestSettings(t *testing.T) {
	for _, row := range []struct {
		name  string
		flags []string
	}{
		{"accept single", []string{"--accept=single", "--loops=2"}},
		{"accept single, one loop", []string{"--accept=single", "--loops=1"}},
		{"two loops", []string{"--loops=2"}},
		{"five loops, not pinned", []string{"--loops=5", "--pin=false"}},
		{"cork", []string{"--cork"}},
		{"no nodelay", []string{"--nodelay=false"}},
		{"small buffer", []string{"--max-buffer=4096"}},
		{"backlog 64", []string{"--backlog=64"}},
		{"tracked", []string{"--log=/dev/null"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			eachEngine(t, func(t *testing.T, engine string) {
				u := newUpstream(t)
				u.serve(echo)
				p := start(t, engine, u.addr, row.flags...)
				const conns, rounds, batch = 20, 15, 40
				ok(t, forAll(conns, func(i int) error { return rally(p.addr, i, rounds, batch) }))
				const total = conns * rounds * batch
				p.reaches(stats{"msg_req": total, "msg_ack": total, "msg_nak": 0, "bad": 0, "connections": 0})
			})
		})
	}
}

// rally connects a client to an echoing server and plays rounds of batch requests of up to 2000 bytes.
func rally(addr string, conn, rounds, batch int) error {
	c, err := connect(addr, 0)
	if err != nil {
		return err
	}
	return rallyOn(c, conn, rounds, batch)
}

// rallyOn is rally on a connection that stands.
func rallyOn(c *peer, conn, rounds, batch int) error {
	defer c.Close()
	for r := range rounds {
		m := &messages{typ: "REQ", conn: conn, first: r * batch, n: batch, size: 2000, spread: true}
		b := m.bytes()
		if err := together(
			func() error { return c.send(b) },
			func() error { return c.expect(answersTo(b)) },
		); err != nil {
			return err
		}
	}
	return c.shutAndClose()
}

// With --accept=single connections go to the loops in turn. A connection's number in the log tells its loop: of two loops one
// counts 1, 3, 5, … and the other 2, 4, 6, ….
func TestLoopsTakeTurns(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		log := filepath.Join(t.TempDir(), "log")
		p := start(t, engine, u.addr, "--accept=single", "--loops=2", "--log="+log)
		if n := p.stats()["loops"]; n != 2 {
			t.Errorf("loops is %v, want 2", n)
		}
		const n = 10
		for range n {
			c, s := p.pair(u)
			ok(t, c.send([]byte("REQ 1\n")))
			ok(t, s.expectText("REQ 1\n"))
			finish(t, c, s)
		}
		p.reaches(stats{"connections": 0, "connections_total": n})
		p.stop()
		seen := map[float64]bool{}
		for _, r := range of(parseLog(t, readFile(t, log)), "CONN") {
			seen[r.number(t, "conn")] = true
		}
		for i := range n {
			if !seen[float64(i+1)] {
				t.Errorf("no connection %d among %v", i+1, seen)
			}
		}
	})
}
