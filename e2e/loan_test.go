package e2e

import (
	"slices"
	"strings"
	"syscall"
	"testing"
)

const (
	loanCount = 64 // requests of a MiB: the kernel's own buffers hold up to 36
	loanSize  = 1 << 20
	loanConns = 8 // at most
)

// opSendZC is a send without a copy as proc_pid_fdinfo(5) has it.
const opSendZC = "op=47"

// loans are connections whose clients have more to send than their servers, which do not read, let through. On io_uring the kernel
// has memory of the proxy's on loan for them.
type loans struct {
	p                *proxy
	clients, servers []*peer
	poured           []func() error
}

func newLoans(t *testing.T, engine string, u *upstream, flags ...string) *loans {
	t.Helper()
	l := &loans{p: launch(t, engine, u.addr, append(flags, "--zerocopy=on"))}
	for i := range loanConns {
		c, s := l.p.pair(u)
		l.clients, l.servers = append(l.clients, c), append(l.servers, s)
		l.poured = append(l.poured, pour(t, c, requests(i, loanCount, loanSize)))
		if !strings.HasPrefix(engine, "uring") {
			return l
		}
		// What is sent when a socket is full may as well lie in pieces, and then is copied.
		if i > 0 && slices.Contains(l.p.inFlight(), opSendZC) {
			if l.p.stats()["buffered_bytes"] == 0 {
				t.Error("memory on loan is not in buffered_bytes")
			}
			return l
		}
	}
	t.Fatalf("nothing is on loan, so this test shows nothing: %v sends without a copy", l.p.stats()["zerocopy_sends"])
	return nil
}

// term sends a TERM that has been heard when it returns: nobody is let in any more.
func (l *loans) term(t *testing.T) {
	t.Helper()
	l.p.signal(syscall.SIGTERM)
	eventually(t, "nobody is let in", func() bool {
		probe, err := connect(l.p.addr, 0)
		if err == nil {
			_ = probe.reset() // by FIN it would wait for its server's
		}
		return err != nil
	})
}

// TERM while the kernel has memory on loan: all that clients go on sending is delivered and answered, and the exit is clean and
// before the drain time-out.
func TestTermWithLoans(t *testing.T) {
	eachEngineAlone(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		l := newLoans(t, engine, u, "--drain-timeout=20s")
		l.term(t)
		ok(t, forAll(len(l.clients), func(i int) error {
			c, s := l.clients[i], l.servers[i]
			return together(
				func() error {
					if err := l.poured[i](); err != nil {
						return err
					}
					return c.CloseWrite()
				},
				func() error {
					if err := s.expect(requests(i, loanCount, loanSize)); err != nil {
						return err
					}
					if err := s.ends(fin); err != nil {
						return err
					}
					defer s.Close()
					return s.sendAll(acks(i, loanCount, 100))
				},
				func() error {
					if err := c.expect(acks(i, loanCount, 100)); err != nil {
						return err
					}
					return c.ends(fin)
				},
			)
		}))
		if code := l.p.exit(); code != 0 {
			t.Errorf("exit code %d, want 0", code)
		}
		if strings.Contains(l.p.errors(), "drain time-out is over") {
			t.Error("the drain time-out had to end what should have ended by itself")
		}
		l.p.verdict()
	})
}

// A reset from either side takes what is on loan with it, and leaves nothing behind; so does a second TERM.
func TestResetWithLoans(t *testing.T) {
	eachEngineAlone(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		for _, first := range []string{"client", "server"} {
			t.Run(first, func(t *testing.T) {
				l := newLoans(t, engine, u)
				for i, from := range l.clients {
					to := l.servers[i]
					if first == "server" {
						from, to = to, from
					}
					ok(t, from.reset())
					if err := l.poured[i](); err == nil {
						t.Error("everything was sent")
					}
					_, _, _ = to.rest() // a server reads what came before, and the reset
					to.Close()
				}
				l.p.reaches(stats{"connections": 0, "buffered_bytes": 0})
				l.p.check()
			})
		}
		t.Run("second TERM", func(t *testing.T) {
			l := newLoans(t, engine, u)
			l.term(t)
			l.p.signal(syscall.SIGTERM)
			if code := l.p.exit(); code != 0 {
				t.Errorf("exit code %d, want 0", code)
			}
			l.p.verdict()
			for _, poured := range l.poured {
				_ = poured() // fails: everything has been reset
			}
		})
	})
}
