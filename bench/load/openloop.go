package load

import (
	"math"
	"time"
)

// arrivals queues every request that is due and remembers which connections have something to send. Each request carries
// the time it was meant to leave, so that waiting behind a slow target is part of its response time: a generator that
// waits for answers before it sends the next request would leave exactly the slow moments out (coordinated omission).
func (l *loop) arrivals() error {
	now := float64(l.now)
	for l.nextDue <= now && l.feeding {
		due := int64(l.nextDue)
		if due >= l.until || l.opt.Messages > 0 && l.budget == 0 {
			l.feeding = false
			break
		}
		l.budget--
		c := &l.conns[l.nextConn]
		if l.nextConn++; int(l.nextConn) == l.active {
			l.nextConn = 0
		}
		c.enqueue(l.opt.Mix.pick(&l.rng), due)
		if due >= l.from && due < l.recorded {
			record(l.lag, l.now-due, 1)
		}
		if !c.dirty {
			c.dirty = true
			l.dirty = append(l.dirty, c.slot)
		}
		l.nextDue += l.gap()
	}
	for _, slot := range l.dirty {
		c := &l.conns[slot]
		c.dirty = false
		if err := l.flush(c, l.now); err != nil {
			return err
		}
	}
	l.dirty = l.dirty[:0]
	return nil
}

// gap is the time to the next request of this loop, in nanoseconds.
func (l *loop) gap() float64 {
	mean := float64(time.Second) / l.opt.Rate * float64(l.opt.Threads)
	if !l.opt.Poisson {
		return mean
	}
	u := (float64(l.rng.Uint64()>>11) + 1) / (1 << 53) // in (0, 1]
	return -math.Log(u) * mean
}

// recordOpen records an answer of the open loop: the response time since the request was due, and the service time since
// it was sent. What was due outside the measured window is not recorded, whenever it is answered.
func (l *loop) recordOpen(r *request, now int64) {
	if r.due >= l.from && r.due < l.recorded {
		record(l.response, now-r.due, 1)
		record(l.service, now-r.sent, 1)
	}
}
