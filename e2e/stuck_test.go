package e2e

import (
	"slices"
	"strings"
	"syscall"
	"testing"
)

const (
	stuckCount = 64 // requests of a MiB: the kernel's own buffers hold up to 36
	stuckSize  = 1 << 20
	stuckConns = 8 // at most
)

// opSendZC is a send without a copy as proc_pid_fdinfo(5) has it.
const opSendZC = "op=47"

// stuck are connections whose clients have more to send than their servers, which do not read, let through.
type stuck struct {
	p                *proxy
	clients, servers []*peer
	poured           []func() error
}

// newStuck adds connections until the proxy holds what the test is about.
func newStuck(t *testing.T, p *proxy, u *upstream, pair func(*upstream) (c, s *peer), holds func() bool) *stuck {
	t.Helper()
	k := &stuck{p: p}
	for i := range stuckConns {
		c, s := pair(u)
		k.clients, k.servers = append(k.clients, c), append(k.servers, s)
		k.poured = append(k.poured, pour(t, c, requests(i, stuckCount, stuckSize)))
		if holds() {
			return k
		}
	}
	t.Fatalf("%d stalled connections do not bring about what this test is about", stuckConns)
	return nil
}

// newLoans are stuck connections for which the kernel has memory of the proxy's on loan, on io_uring. What is sent when a socket is
// full may lie in pieces, and then is copied; so it can take more than one. A ring that has four buffers, or receives one at a
// time, has too little at once to lend any of it: there the connections are stuck without loans.
func newLoans(t *testing.T, engine string, u *upstream, flags ...string) *stuck {
	t.Helper()
	p := launch(t, engine, u.addr, append(flags, "--zerocopy=on"))
	lends := strings.HasPrefix(engine, "uring") && !strings.Contains(engine, "buffers=4") && !strings.Contains(engine, "recv-multishot")
	return newStuck(t, p, u, p.pair, func() bool {
		return !lends || slices.Contains(p.inFlight(), opSendZC) && p.stats()["buffered_bytes"] > 0
	})
}

// term sends a TERM that has been heard when it returns: nobody is let in any more.
func (k *stuck) term(t *testing.T) {
	t.Helper()
	k.p.signal(syscall.SIGTERM)
	eventually(t, "nobody is let in", func() bool {
		probe, err := connect(k.p.addr, 0)
		if err == nil {
			_ = probe.reset() // by FIN it would wait for its server's
		}
		return err != nil
	})
}

// drains has the servers read after a TERM: all that clients had begun and go on to send is delivered and answered, and the exit
// is clean and before the drain time-out.
func (k *stuck) drains(t *testing.T) {
	t.Helper()
	ok(t, forAll(len(k.clients), func(i int) error {
		c, s := k.clients[i], k.servers[i]
		return together(
			func() error {
				if err := k.poured[i](); err != nil {
					return err
				}
				return c.CloseWrite()
			},
			func() error {
				if err := s.expect(requests(i, stuckCount, stuckSize)); err != nil {
					return err
				}
				if err := s.ends(fin); err != nil {
					return err
				}
				defer s.Close()
				return s.sendAll(acks(i, stuckCount, 100))
			},
			func() error {
				if err := c.expect(acks(i, stuckCount, 100)); err != nil {
					return err
				}
				return c.ends(fin)
			},
		)
	}))
	if code := k.p.exit(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if strings.Contains(k.p.errors(), "drain time-out is over") {
		t.Error("the drain time-out had to end what should have ended by itself")
	}
	k.p.verdict()
}

func TestTermWithLoans(t *testing.T) {
	eachEngineAlone(t, func(t *testing.T, engine string) {
		k := newLoans(t, engine, newUpstream(t), "--drain-timeout=20s")
		k.term(t)
		k.drains(t)
	})
}

// newFullPipes are stuck connections with bytes of theirs in pipes, which buffered_bytes has. Where long Data goes on within the
// kernel they are in the middle of that, elsewhere they are tunnels.
func newFullPipes(t *testing.T, engine string, u *upstream, flags ...string) *stuck {
	t.Helper()
	var p *proxy
	var pair func(*upstream) (c, s *peer)
	if splices(engine) {
		p = launch(t, engine, u.addr, flags)
		pair = p.longPair
	} else {
		p = launch(t, engine, u.addr, append(flags, "--tunnel"))
		pair = p.pair
	}
	k := newStuck(t, p, u, pair, func() bool { return p.piped() > 0 })
	if buffered, piped := p.stats()["buffered_bytes"], p.piped(); buffered < float64(piped) {
		t.Errorf("%v bytes are held, and %d are in pipes", buffered, piped)
	}
	return k
}

func TestTermWithFullPipes(t *testing.T) {
	eachWayAlone(t, func(t *testing.T, engine string) {
		k := newFullPipes(t, engine, newUpstream(t), "--drain-timeout=20s")
		k.term(t)
		k.drains(t)
	})
}

// A reset from either side takes what is on loan with it, and leaves nothing behind; so does a second TERM.
func TestResetWithLoans(t *testing.T) {
	eachEngineAlone(t, func(t *testing.T, engine string) {
		resetStuck(t, func(t *testing.T) *stuck { return newLoans(t, engine, newUpstream(t)) })
	})
}

// The same with what is in pipes.
func TestResetWithFullPipes(t *testing.T) {
	eachWayAlone(t, func(t *testing.T, engine string) {
		resetStuck(t, func(t *testing.T) *stuck { return newFullPipes(t, engine, newUpstream(t)) })
	})
}

// resetStuck resets stuck connections from each side, and by a second TERM.
func resetStuck(t *testing.T, begin func(t *testing.T) *stuck) {
	for _, first := range []string{"client", "server"} {
		t.Run(first, func(t *testing.T) {
			t.Parallel()
			k := begin(t)
			for i, from := range k.clients {
				to := k.servers[i]
				if first == "server" {
					from, to = to, from
				}
				ok(t, from.reset())
				if err := k.poured[i](); err == nil {
					t.Error("everything was sent")
				}
				_, _, _ = to.rest() // a server reads what came before, and the reset
				to.Close()
			}
			k.p.reaches(stats{"connections": 0, "buffered_bytes": 0})
			k.p.check()
		})
	}
	t.Run("second TERM", func(t *testing.T) {
		k := begin(t)
		k.term(t)
		k.p.signal(syscall.SIGTERM)
		if code := k.p.exit(); code != 0 {
			t.Errorf("exit code %d, want 0", code)
		}
		k.p.verdict()
		for _, poured := range k.poured {
			_ = poured() // fails: everything has been reset
		}
	})
}
