package e2e

import (
	"errors"
	"net"
	"runtime"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// As many connections as the descriptor limit allows, half of them with a client that does not read what its server has for
// it: a canary hardly notices, memory stays within the documented bound, and once the clients read every byte arrives.
func TestEightThousandHeld(t *testing.T) {
	takesLong(t)
	eachEngineAlone(t, func(t *testing.T, engine string) {
		const n, each, size = 8000, 4, 64 << 10
		var files unix.Rlimit
		ok(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &files))
		if files.Cur < 2*n+500 {
			t.Fatalf("this needs %d descriptors, the limit is %d: raise it with ulimit -n", 2*n+500, files.Cur)
		}
		u := newUpstream(t)
		p := launchPlain(t, engine, u.addr, nil)
		t.Cleanup(p.check)
		k := measured(t, p, u)
		clients, servers := make([]*peer, n), make([]*peer, n)
		for i := range n {
			if i%2 == 0 {
				clients[i], servers[i] = p.pair(u)
				continue
			}
			clients[i] = dialSmall(t, p.addr)
			servers[i] = u.accept()
			ok(t, servers[i].stream.(*net.TCPConn).SetWriteBuffer(16<<10))
		}
		p.counts(stats{"connections": n})
		var sent atomic.Int64
		poured := make(chan error, 1)
		go func() {
			poured <- forAll(n/2, func(i int) error { return servers[2*i+1].pourOut(acks(2*i+1, each, size), &sent) })
		}()
		if stuck := steady(t, "the servers", sent.Load); stuck >= n/2*each*size {
			t.Fatalf("%d of %d bytes were taken for readers that do not read", stuck, n/2*each*size)
		}
		l, _ := p.flags()
		l.loops, l.conns, l.flows, l.stalled = runtime.NumCPU(), n+1, 2*(n+1), n/2
		p.within("half of the connections stalled", l)
		k.holds("8000 connections, half of them stalled")
		ok(t, forAll(n, func(i int) error {
			if i%2 == 0 {
				m := requests(i, 1, 100).bytes()
				return errors.Join(clients[i].send(m), servers[i].expectBytes(m))
			}
			return errors.Join(clients[i].widen(), clients[i].expect(acks(i, each, size)))
		}))
		ok(t, <-poured)
		k.check()
		for i := range n {
			clients[i].Close()
			servers[i].Close()
		}
		p.reaches(stats{"buffered_bytes": 0, "connections": 0})
	})
}
