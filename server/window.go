package server

import "time"

// A window collects the answers to consecutive requests of one connection until they are as many as Options.Reorder, and
// then shuffles them. The order depends on the seed, the connection's number and the window's number only, as long as the
// client never pauses for reorderWait within a window, nor fills Options.MaxBuffer with it: it is then paused itself.
type window struct {
	sizes  []int32 // of the answers in the queue from done to line
	random rng
	starts []int32 // scratch: where each answer begins
	copied []byte  // scratch: the shuffled answers
	last   time.Duration

	streaming bool // the answer to the unfinished request is already on its way, in its own place
	timed     bool // true exactly when a deadline in loop.windows is this window's
}

// gather cuts the queue's window at ends, the offsets of answers that were appended at base, and releases it each time it is
// full.
func (l *loop) gather(c *conn, base int, ends []int32) {
	w := c.window
	for _, end := range ends {
		line := base + int(end)
		if w.streaming { // the window is empty, and this is the end of a line whose beginning is out
			w.streaming, c.q.line = false, line
			l.release(c)
			continue
		}
		w.sizes = append(w.sizes, int32(line-c.q.line))
		c.q.line = line
		if len(w.sizes) == l.opts.Reorder {
			l.release(c)
		}
	}
	w.last = l.clock()
	if len(w.sizes) > 0 && !w.timed {
		w.timed = true
		l.windows.add(w.last, deadline{slot: c.slot, gen: c.gen})
	}
}

// expireWindow releases a window whose client has paused.
func (l *loop) expireWindow(c *conn, now time.Duration) {
	w := c.window
	w.timed = false
	if len(w.sizes) == 0 {
		return
	}
	if w.last+reorderWait > now {
		w.timed = true
		l.windows.add(now, deadline{slot: c.slot, gen: c.gen})
		return
	}
	l.release(c)
	l.push(c)
}

// release lets all finished answers out of the window, shuffled if there is one.
func (l *loop) release(c *conn) {
	q := &c.q
	if c.window != nil {
		c.window.shuffle(q.buf[q.done:q.line])
	}
	n := q.line - q.done
	q.done = q.line
	switch {
	case l.opts.Delay == 0:
		q.ready = q.done
	case n > 0:
		l.delayed.add(l.clock(), deadline{slot: c.slot, gen: c.gen, bytes: n})
	}
}

// shuffle brings the answers in b, whose sizes the window knows, into random order (Fisher and Yates) and empties it.
func (w *window) shuffle(b []byte) {
	if len(w.sizes) > 1 {
		w.starts, w.copied = w.starts[:0], append(w.copied[:0], b...)
		start := int32(0)
		for _, size := range w.sizes {
			w.starts = append(w.starts, start)
			start += size
		}
		for i := len(w.sizes) - 1; i > 0; i-- {
			j := w.random.below(i + 1)
			w.sizes[i], w.sizes[j] = w.sizes[j], w.sizes[i]
			w.starts[i], w.starts[j] = w.starts[j], w.starts[i]
		}
		to := 0
		for i, size := range w.sizes {
			to += copy(b[to:], w.copied[w.starts[i]:w.starts[i]+size])
		}
	}
	w.sizes = w.sizes[:0]
}

// reset makes the window that of a new connection; its memory stays.
func (w *window) reset() {
	*w = window{sizes: w.sizes[:0], starts: w.starts, copied: w.copied}
}
