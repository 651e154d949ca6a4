package e2e

import (
	"bytes"
	"errors"
	"slices"
	"testing"
)

// ways are how connections may come to two loops.
func ways(t *testing.T) map[string][]string {
	return map[string][]string{
		"a listener each": {"--listen=127.0.0.1:0"},
		"one listener":    {"--listen=unix:" + unixPath(t, "listen")},
		"an acceptor":     {"--listen=127.0.0.1:0", "--accept=single"},
	}
}

// balance is how many connections each loop has once there are n of them.
func (p *proxy) balance(n uint64) (loops []uint64) {
	p.t.Helper()
	eventually(p.t, "every connection has its loop", func() bool {
		var figures struct {
			Loops []struct{ Connections uint64 }
		}
		p.fetchInto("stats", &figures)
		loops = loops[:0]
		sum := uint64(0)
		for _, l := range figures.Loops {
			loops = append(loops, l.Connections)
			sum += l.Connections
		}
		return sum == n
	})
	return loops
}

// Two loops have as many connections as each other, within one where there are a few and within 10 % of 1000; and again when all
// those of one loop have ended and others have come for them. Each of them works.
func TestAcceptBalances(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		for name, flags := range ways(t) {
			t.Run(name, func(t *testing.T) {
				u := newUpstream(t)
				u.serve(echo)
				p := start(t, engine, u.addr, append(flags, "--loops=2", "--admin=127.0.0.1:0")...)
				even := func(n int, off uint64) {
					t.Helper()
					loops := p.balance(uint64(n))
					if gap := slices.Max(loops) - slices.Min(loops); gap > off {
						t.Errorf("of %d connections the loops have %v", n, loops)
					}
				}
				clients := map[int]*peer{} // by the size of their first request
				made := 0
				open := func(n int) {
					t.Helper()
					from := made
					made += n
					opened := make([]*peer, n)
					ok(t, forAll(n, func(i int) (err error) {
						if opened[i], err = connect(p.addr, 0); err != nil {
							return err
						}
						return trip(opened[i], from+i)
					}))
					for i, c := range opened {
						clients[from+i] = c
					}
				}
				for range 12 { // one after the other, so that each finds the one before counted
					open(1)
				}
				even(12, 1)
				open(988)
				even(1000, 47) // 10 % of the smaller part

				// All of one loop's end: those that come instead must go there, against what a hash says.
				var all []struct {
					Loop int
					In   int `json:"in_bytes"`
				}
				p.fetchInto("connections", &all)
				gone := 0
				for _, c := range all {
					if c.Loop == 0 {
						size := c.In - len("REQ 1 \n")
						ok(t, clients[size].shutAndClose())
						delete(clients, size)
						gone++
					}
				}
				p.balance(uint64(len(clients)))
				open(gone)
				even(1000, 47)
				for size, c := range clients {
					ok(t, errors.Join(trip(c, size), c.shutAndClose()))
				}
			})
		}
	})
}

// trip sends a request with that much Data to an echoing server.
func trip(c *peer, size int) error {
	m := append(append([]byte("REQ 1 "), bytes.Repeat([]byte("x"), size)...), '\n')
	return errors.Join(c.send(m), c.expect(answersTo(m)))
}
