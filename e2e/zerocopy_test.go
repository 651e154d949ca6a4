package e2e

import (
	"cmp"
	"strconv"
	"strings"
	"testing"
)

// bigTalk has clients and servers exchange large messages both ways at once, and ends the connections one way or another.
func bigTalk(t *testing.T, p *proxy, u *upstream) {
	t.Helper()
	const conns, n, size = 6, 6, 1 << 20
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
	for i := range conns {
		endSomehow(t, clients[i], servers[i], i)
	}
}

// With --zerocopy every byte arrives, whatever the size of the rings and whether the engine can send without a copy; one that
// cannot says so. With auto nothing is sent so to peers on this host.
func TestZeroCopy(t *testing.T) {
	for _, name := range []string{
		"uring", "uring:sq=4 cq=8 buffers=8", "uring:faults=5", "uring:lend=0", "uring:without=send-zc", "epoll", "uring" + splicing, "epoll" + splicing,
	} {
		engine, splice, _ := strings.Cut(name, "+") // what the kernel has on loan is not spliced
		for _, way := range []string{"auto", "on"} {
			t.Run(name+"/"+way, func(t *testing.T) {
				t.Parallel()
				u := newUpstream(t)
				p := start(t, engine, u.addr, "--zerocopy="+way, cmp.Or(splice, "--splice=off"))
				bigTalk(t, p, u)
				p.reaches(stats{"connections": 0, "buffered_bytes": 0, "zerocopy_denied": 0})
				can := engine != "epoll" && !strings.Contains(engine, "without")
				if sends := p.stats()["zerocopy_sends"]; (sends > 0) != (can && way == "on") {
					t.Errorf("%v sends without a copy", sends)
				}
				if warned := strings.Contains(p.errors(), "zero-copy send takes io_uring"); warned == can {
					t.Errorf("the warning that everything is copied is given: %v", warned)
				}
			})
		}
	}
}

// Where too little memory can be locked everything is copied, which is said and counted; where some can, that is used. The rings
// themselves count too, see TestLittleLockedMemory.
func TestZeroCopyWithoutLockedMemory(t *testing.T) {
	for _, limit := range []int{1 << 20, 8 << 20} {
		denied := limit == 1<<20
		t.Run(strconv.Itoa(limit), func(t *testing.T) {
			t.Parallel()
			u := newUpstream(t)
			p := listens(t, "uring", limited(t, "uring", memlock(limit), "--listen=127.0.0.1:0", "--forward="+u.addr, oneLoop, "--zerocopy=on"))
			t.Cleanup(p.check)
			beside(t, p, u)
			bigTalk(t, p, u)
			p.reaches(stats{"connections": 0, "buffered_bytes": 0})
			got := p.stats()
			if (got["zerocopy_denied"] > 0) != denied || (got["zerocopy_sends"] == 0) != denied {
				t.Errorf("%v denied, %v sends without a copy", got["zerocopy_denied"], got["zerocopy_sends"])
			}
			if said := strings.Contains(p.errors(), "raise RLIMIT_MEMLOCK"); said != denied {
				t.Errorf("the warning is given: %v; it says:\n%s", said, p.errors())
			}
		})
	}
}
