package proxy

import (
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"fooproxy/stats"
)

// failer is what testing.T, testing.B and rapid.T share.
type failer interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// newTestSlab makes a slab and checks at the end that every segment has come back.
func newTestSlab(t testing.TB, count int) *slab {
	t.Helper()
	b, err := newSlab(count)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// part makes a fresh slab of count segments in the memory of another one.
func part(whole *slab, count int) *slab {
	b := &slab{mem: whole.mem[:count*segSize], segs: make([]seg, count), head: noSeg}
	for id := count - 1; id >= 0; id-- {
		b.segs[id].owner = ownFlow
		b.put(int32(id), ownFlow)
	}
	return b
}

// checkSlab walks the free list: it must hold exactly the segments that nobody owns.
func checkSlab(t failer, b *slab) {
	t.Helper()
	listed, owned := 0, 0
	for id := b.head; id != noSeg; id = b.segs[id].next {
		if b.segs[id].owner != ownFree {
			t.Fatalf("segment %d in the free list is owned by %d", id, b.segs[id].owner)
		}
		if listed++; listed > len(b.segs) {
			t.Fatalf("the free list is a ring")
		}
	}
	for i := range b.segs {
		if b.segs[i].owner != ownFree {
			owned++
		}
	}
	if listed != b.free || listed+owned != len(b.segs) {
		t.Fatalf("%d segments in the free list, %d said to be free, %d owned, of %d", listed, b.free, owned, len(b.segs))
	}
}

// checkQueue compares a queue's figures with its segments, and returns how many these are.
func checkQueue(t failer, b *slab, q *segQueue) int {
	t.Helper()
	segs, bytes, last := 0, 0, noSeg
	for id := q.head; id != noSeg; id = b.segs[id].next {
		g := &b.segs[id]
		if g.owner != ownFlow {
			t.Fatalf("queued segment %d is owned by %d", id, g.owner)
		}
		if g.end <= g.off || g.end > segSize {
			t.Fatalf("queued segment %d holds [%d:%d)", id, g.off, g.end)
		}
		segs++
		bytes += int(g.end - g.off)
		last = id
	}
	if last != q.tail || segs != int(q.segs) || bytes != q.bytes || segs*segSize != q.memory() {
		t.Fatalf("queue has %d bytes in %d segments up to %d, says %d in %d up to %d", bytes, segs, last, q.bytes, q.segs, q.tail)
	}
	return segs
}

// expectPanic calls f, which must panic.
func expectPanic(t failer, what string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if recover() == nil {
			t.Errorf("%s: no panic", what)
		}
	}()
	f()
}

// testStart is the fake clock at the start of a test.
const testStart = int64(time.Hour)

// newTestCore makes a core without an engine, with a clock that the test moves and segs segments, of which reserved are
// kept back. Without limits nothing is timed.
func newTestCore(t testing.TB, cfg Config, segs, reserved int) *core {
	t.Helper()
	if cfg.MaxBuffer == 0 {
		cfg.MaxBuffer = 256 << 10
	}
	if cfg.MaxConn == 0 {
		cfg.MaxConn = 1000
	}
	if cfg.Arbitrary == "" {
		cfg.Arbitrary = Close
	}
	if cfg.OnViolation == "" {
		cfg.OnViolation = Close
	}
	return newBareCore(&cfg, newTestSlab(t, segs), reserved)
}

func newBareCore(cfg *Config, memory *slab, reserved int) *core {
	c := &core{
		cfg: cfg, loops: 1, sys: linux{}, slab: memory, reserved: reserved, atOnce: recvUnknown, table: newTable(), now: testStart,
		out: stats.NewSet(1).Core(0), conns: new(atomic.Int64), load: new(atomic.Int64), domain: [2]int{unix.AF_INET, unix.AF_INET},
	}
	c.wheel.init(c.now)
	return c
}

var testClient = netip.MustParseAddrPort("192.0.2.1:4711")
