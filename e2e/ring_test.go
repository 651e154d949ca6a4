package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// The io_uring engine with rings too small for the load, and without the features that older kernels lack, is slower and as
// right as ever. The whole suite can be run so, see FOO_ENGINES.
func TestBentRings(t *testing.T) {
	t.Parallel()
	for _, bent := range []string{
		"sq=4 cq=8 buffers=4", "sq=4 cq=8 buffers=1", "buffers=2", "faults=1", "faults=2 buffers=4",
		"without=recv-bundle", "without=recv-multishot", "without=accept-multishot", "without=defer-taskrun",
		"without=single-issuer", "without=submit-all", "without=coop-taskrun", "without=cancel-fd",
		"sq=4 cq=8 buffers=4" + splicing, "faults=1" + splicing, "without=recv-multishot" + splicing, "without=defer-taskrun" + splicing,
	} {
		t.Run(bent, func(t *testing.T) {
			t.Parallel()
			u := newUpstream(t)
			p := start(t, "uring:"+bent, u.addr)
			k := measured(t, p, u)
			if strings.Contains(bent, "faults") {
				p.starvesIdle(u)
				k.holdsAgainst(0, "a ring bent by "+bent) // the control's is as rings are
			}
			conns, n, size := 24, 100, 3000
			if splices(p.engine) {
				n, size = 4, 200_000
			}
			clients, servers := make([]*peer, conns), make([]*peer, conns)
			for i := range conns {
				clients[i], servers[i] = p.pair(u)
			}
			ok(t, forAll(conns, func(i int) error {
				c, s := clients[i], servers[i]
				return together(
					func() error { return c.sendAll(requests(i, n, size)) },
					func() error { return s.expect(requests(i, n, size)) },
					func() error { return s.sendAll(acks(i, n, size)) },
					func() error { return c.expect(acks(i, n, size)) },
				)
			}))
			k.check()
			total := float64(conns * n)
			p.counts(stats{"msg_req": total, "msg_ack": total, "msg_nak": 0, "msg_total": 2 * total})
			for i := range conns {
				endSomehow(t, clients[i], servers[i], i)
			}
			p.reaches(stats{"connections": 0, "end_violation_request": float64(conns / 5)})
		})
	}
}

// starvesIdle makes connections that say nothing until a receive of theirs has found no buffer, which only a hook can bring about.
func (p *proxy) starvesIdle(u *upstream) {
	p.t.Helper()
	eventually(p.t, "the ring has a hook", func() bool {
		c, s := p.pair(u)
		finish(p.t, c, s)
		return p.stats()["no_buffer"] > 0
	})
}

// What numbers the tenants of a slot, and on io_uring the buffers that were handed to the kernel, comes to its end and begins anew:
// nothing is mistaken for something else. The former begins near its maximum, and of the latter there are as many as it counts.
func TestCountersWrap(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		const tenants, conns, batch = 12, 16, 3
		rounds := 100
		if thorough {
			rounds = 1<<16/2/conns + 100 // each receive takes a buffer, of a request as of an answer
		}
		u := newUpstream(t)
		u.serve(echo)
		p := startWith(t, engine, u.addr, []string{oneLoop}, withEnv(fmt.Sprintf("FOOTEST_GENERATION=%d", 1<<24-2)))
		beside(t, p, u)
		play := func(i, rounds, batch int) error {
			c, err := connect(p.addr, 0)
			if err != nil {
				return err
			}
			defer c.Close()
			for r := range rounds {
				m := requests(i<<20+r, batch, 20).bytes()
				if err := c.send(m); err != nil {
					return err
				}
				if err := c.expect(answersTo(m)); err != nil {
					return err
				}
			}
			if i%2 == 0 {
				return c.reset()
			}
			return c.shutAndClose()
		}
		ok(t, forAll(conns, func(i int) error {
			for range tenants {
				if err := play(i, 2, batch); err != nil {
					return err
				}
			}
			return play(i, rounds, 1)
		}))
		messages := float64(conns * (tenants*2*batch + rounds))
		p.reaches(stats{"msg_req": messages, "msg_ack": messages, "connections": 0, "bad": 0})
	})
}
