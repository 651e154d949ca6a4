package stats

import (
	"runtime"
	"sync/atomic"
)

// Bits of Core.state below the turn counter.
const (
	stateIdle    = 1 << 0 // the loop sleeps and everything it did is published
	stateStoring = 1 << 1 // counters are being stored
	stateTurn    = 1 << 2 // one turn
)

// pad keeps what the writer writes off the cache lines (and their prefetched neighbours) of anything else.
type pad [128]byte

// Core holds one loop's published figures. Publish, Idle and the Histogram's methods belong to the one writer; everything
// else is for readers. The published counters change only while state has stateStoring, and state has another value
// afterwards: readers take them all from one turn by looking at state before and after.
type Core struct {
	_     pad
	last  Local // what is published; the writer's alone
	_     pad
	state atomic.Uint64
	open  [NumCounters]atomic.Uint64
	ring  ring
	lat   atomic.Pointer[Histogram]
	_     pad
}

// Publish makes l visible to readers and counts its new messages in the slot of now, a time from Now. The loop calls it
// once per turn, after it has done what the turn brought.
func (c *Core) Publish(l *Local, now int64) {
	turn := c.state.Load() &^ (stateIdle | stateStoring)
	if *l != c.last {
		c.state.Store(turn | stateStoring)
		requests := l[Req] - c.last[Req]
		answers := l[Ack] + l[Nak] - c.last[Ack] - c.last[Nak]
		for i := range l {
			if v := l[i]; v != c.last[i] {
				c.last[i] = v
				c.open[i].Store(v)
			}
		}
		if requests|answers != 0 {
			c.ring.add(requests, answers, now)
		}
	}
	c.state.Store(turn + stateTurn)
}

// Idle says that the loop is about to block with everything published (true), or that it runs again (false).
func (c *Core) Idle(idle bool) {
	state := c.state.Load() &^ stateIdle
	if idle {
		state |= stateIdle
	}
	c.state.Store(state)
}

// Turns returns how many turns the loop has published; it wraps around.
func (c *Core) Turns() uint64 { return c.state.Load() / stateTurn }

// EnableLatency gives the core a latency histogram, the same one however often it is called, and returns it to the writer.
func (c *Core) EnableLatency() *Histogram {
	c.lat.CompareAndSwap(nil, new(Histogram))
	return c.lat.Load()
}

// readTries bounds how often a reader starts again because the writer was storing. A store takes some 50 ns of a turn of
// microseconds, so one retry is rare, and this many happen only when the writer's thread was interrupted in between.
const readTries = 100

// read adds the published counters to sum: all from the same turn (true), or after readTries each by itself (false). Even
// then what can only follow from something else (a later counter of the list: ended from accepted) is not ahead of it,
// because the writer stores in the list's order and this reads against it.
func (c *Core) read(sum *Local) bool {
	var l Local
	for range readTries {
		before := c.state.Load()
		if before&stateStoring == 0 {
			c.load(&l)
			if c.state.Load() == before {
				sum.add(&l)
				return true
			}
		}
		runtime.Gosched()
	}
	c.load(&l)
	sum.add(&l)
	return false
}

func (c *Core) load(l *Local) {
	for i := len(l) - 1; i >= 0; i-- {
		l[i] = c.open[i].Load()
	}
}

func (l *Local) add(m *Local) {
	for i, v := range m {
		l[i] += v
	}
}
