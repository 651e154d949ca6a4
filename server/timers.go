package server

import "time"

// reorderWait is how long an unfinished reorder window waits for the next request before it is answered as it is.
const reorderWait = 10 * time.Millisecond

// A deadline is one entry of a timer queue. It is for the connection in slot, if that still has this generation.
type deadline struct {
	due   time.Duration // on the loop's clock
	slot  uint32
	gen   uint32
	bytes int // delayed: how many bytes become ready
}

// A timers is a queue of deadlines that all lie equally far ahead when they are added, so that it is sorted by itself.
type timers struct {
	after time.Duration
	queue []deadline
	head  int // queue[:head] is gone
}

// add puts a deadline at now + after into the queue. If the queue's memory is full and half gone, it is reused.
func (t *timers) add(now time.Duration, d deadline) {
	d.due = now + t.after
	if len(t.queue) == cap(t.queue) && t.head > len(t.queue)/2 {
		t.queue = t.queue[:copy(t.queue, t.queue[t.head:])]
		t.head = 0
	}
	t.queue = append(t.queue, d)
}

// next takes the first deadline if it is due.
func (t *timers) next(now time.Duration) (d deadline, ok bool) {
	if t.head == len(t.queue) {
		t.queue, t.head = t.queue[:0], 0
		return d, false
	}
	if d = t.queue[t.head]; d.due > now {
		return d, false
	}
	t.head++
	return d, true
}

// until is how long it takes to the first deadline, at least 0; -1 if there is none.
func (t *timers) until(now time.Duration) time.Duration {
	if t.head == len(t.queue) {
		return -1
	}
	return max(t.queue[t.head].due-now, 0)
}

// sooner is the smaller of two waiting times, of which a negative one is for ever.
func sooner(a, b time.Duration) time.Duration {
	if a < 0 || b >= 0 && b < a {
		return b
	}
	return a
}

// expire acts on every deadline that is due.
func (l *loop) expire() {
	now := l.clock()
	for {
		d, ok := l.delayed.next(now)
		if !ok {
			break
		}
		if c := l.at(d.slot, d.gen); c != nil {
			c.q.ready += d.bytes
			l.push(c)
		}
	}
	for {
		d, ok := l.windows.next(now)
		if !ok {
			break
		}
		if c := l.at(d.slot, d.gen); c != nil {
			l.expireWindow(c, now)
		}
	}
	for {
		d, ok := l.endings.next(now)
		if !ok {
			break
		}
		if c := l.at(d.slot, d.gen); c != nil {
			l.drop(c)
		}
	}
	if _, ok := l.accepts.next(now); ok {
		l.listen(true)
	}
}

// untilNext is how long the loop may wait; negative is for ever.
func (l *loop) untilNext() time.Duration {
	if len(l.delayed.queue)|len(l.windows.queue)|len(l.endings.queue)|len(l.accepts.queue) == 0 {
		return -1
	}
	now := l.clock()
	first := sooner(l.delayed.until(now), l.windows.until(now))
	return sooner(first, sooner(l.endings.until(now), l.accepts.until(now)))
}
