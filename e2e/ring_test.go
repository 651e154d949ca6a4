package e2e

import (
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
	} {
		t.Run(bent, func(t *testing.T) {
			t.Parallel()
			u := newUpstream(t)
			p := start(t, "uring:"+bent, u.addr)
			k := beside(t, p, u)
			const conns, n, size = 24, 100, 3000
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
			if got := p.stats(); got["msg_req"] != got["msg_ack"] || got["msg_req"] < conns*n || got["msg_nak"] > 0 {
				t.Errorf("%v requests and %v answers are counted", got["msg_req"], got["msg_ack"])
			}
			for i := range conns {
				endSomehow(t, clients[i], servers[i], i)
			}
			p.reaches(stats{"connections": 0, "end_violation_request": conns / 5})
		})
	}
}
