package proxy

import (
	"fooproxy/codec"
	"fooproxy/stats"
)

// headSize is how many bytes decide a session's class: "REQ" and the white space after it.
const headSize = 4

// received: side d has sent data. It returns how many bytes to forward; the engine queues or sends data[:n] and drops the
// rest. This is where messages are checked and counted.
func (c *core) received(s *session, d side, data []byte) int {
	f := &s.flow[d]
	if f.source != reading {
		return 0
	}
	n := len(data)
	switch {
	case s.class == classTunnel:
	case !c.cfg.BypassChecks:
		n = c.inspect(s, d, data)
	case s.class == classUnknown:
		c.decide(s, classFoo)
	}
	c.accept(s, d, n)
	return n
}

// accept notes that n bytes from side d go on to the other.
func (c *core) accept(s *session, d side, n int) {
	s.flow[d].accepted += uint64(n)
	s.active = c.now
	c.countBytes(s, d, uint64(n))
}

// countBytes counts n bytes that side d has sent. Those that come before the session's class is decided are counted with the
// first that come after.
func (c *core) countBytes(s *session, d side, n uint64) {
	s.uncounted[d] += n
	if s.class == classUnknown {
		return
	}
	first := stats.BytesRequest
	if s.class == classTunnel {
		first = stats.BytesTunnelIn
	}
	c.local[first] += s.uncounted[client]
	c.local[first+1] += s.uncounted[server]
	s.uncounted = [2]uint64{}
}

// inspect scans data, which arrived on side d, and returns how much of it is to be forwarded.
func (c *core) inspect(s *session, d side, data []byte) int {
	f := &s.flow[d]
	n := 0
	for n < len(data) {
		if f.resync {
			skipped, done := f.scan.Resync(data[n:])
			n += skipped
			f.resync = !done
			if done && d == client {
				s.lineStart = 0
			}
			continue
		}
		n += c.scan(s, d, data[n:])
		if n < len(data) && !c.violated(s, d, uint64(n), data[n:]) {
			break
		}
		if s.class == classTunnel {
			return len(data)
		}
	}
	if s.class == classArbitrary {
		return 0
	}
	if s.class == classUnknown && d == client && f.accepted+uint64(n) >= headSize {
		c.decide(s, classFoo)
	}
	return n
}

// scan checks and counts data up to the first byte that cannot be Foo, and returns where that is.
func (c *core) scan(s *session, d side, data []byte) int {
	f := &s.flow[d]
	var got codec.Counts
	var valid int
	if s.track == nil {
		valid = f.scan.Feed(data, &got)
	} else {
		var lines int
		valid, lines = f.scan.FeedLines(data, &got, c.lineEnds)
		c.trackLines(s, d, data[:valid], c.lineEnds[:lines])
	}
	s.count.Req += got.Req
	s.count.Ack += got.Ack
	s.count.Nak += got.Nak
	if d == client {
		c.local[stats.Req] += got.Req
		c.timeLine(s, got.Req > 0)
		if c.cfg.MaxPending > 0 && s.pending() >= uint64(c.cfg.MaxPending) && !s.full {
			s.full = true
			c.local[stats.PendingPauses]++
			c.holds(s, client)
		}
		return valid
	}
	c.local[stats.Ack] += got.Ack
	c.local[stats.Nak] += got.Nak
	if s.full && s.pending() < uint64(c.cfg.MaxPending) {
		s.full = false
		c.holdsNoMore(s)
	}
	if s.noRequests {
		c.stopAnswers(s)
	}
	return valid
}

// timeLine notes when the unfinished request line began; fresh says that a line ended in this chunk.
func (c *core) timeLine(s *session, fresh bool) {
	switch {
	case s.flow[client].scan.Offset() == 0:
		s.lineStart = 0
	case fresh || s.lineStart == 0:
		s.lineStart = c.now
		c.rearm(s)
	}
}

// decide sets a session's class by its first bytes.
func (c *core) decide(s *session, k class) {
	s.class = k
	if k == classTunnel {
		s.lineStart = 0
	}
	c.local[stats.ClassFoo+stats.Counter(k-classFoo)]++
	c.local[openOf(k)]++
}

// openOf is where open sessions of a class that is decided are counted.
func openOf(k class) stats.Counter { return stats.OpenFoo + stats.Counter(k-classFoo) }

// violated: rest[0], n bytes into what side d has just sent, cannot be Foo. It says whether the session goes on with rest.
func (c *core) violated(s *session, d side, n uint64, rest []byte) bool {
	f := &s.flow[d]
	v := f.scan.Violation()
	if s.class == classUnknown && (d == server || f.accepted+n < headSize) {
		if c.cfg.Arbitrary == Tunnel {
			c.decide(s, classTunnel)
			return true
		}
		if d == client {
			c.decide(s, classArbitrary)
			f.accepted, s.uncounted[client] = 0, 0 // nothing of it goes anywhere
			c.refuse(s, causeArbitrary)
			return false
		}
	}
	if s.class == classUnknown && d == client {
		c.decide(s, classFoo)
	}
	c.local[stats.Bad]++
	c.local[stats.BadType+stats.Counter(v.Want-codec.WantType)]++
	c.logBad(s, d, v, rest)
	c.noteViolation(s, d, v, rest)
	if c.cfg.OnViolation == Forward {
		f.resync = true
		f.head = codec.Head{}
		if s.track != nil {
			s.track.begun[d] = s.track.begun[d][:0]
		}
		return true
	}
	if d == client {
		c.stopRequests(s, causeViolationRequest)
	} else {
		c.stopBoth(s, causeViolationResponse)
	}
	return false
}

// holds notes that flow d has bytes that its destination has not taken yet, or that its source has to wait for answers.
func (c *core) holds(s *session, d side) {
	if d == client && s.heldSince == 0 {
		s.heldSince = c.now
	}
}

// queued notes that flow d's queue has grown, and pauses its source once it holds high bytes of memory. The few bytes that
// wait for more to decide the class pause nothing.
func (c *core) queued(s *session, d side, high int) {
	c.holds(s, d)
	f := &s.flow[d]
	if !f.paused && f.queue.memory() >= high && f.queue.bytes >= headSize {
		f.paused = true
		c.local[stats.ReadPauses]++
	}
}

// sent: the kernel has taken n bytes of flow d's queue. Its source is read again once the queue holds low bytes or less.
func (c *core) sent(s *session, d side, n, low int) {
	f := &s.flow[d]
	f.queue.consume(c.slab, n)
	if f.paused && f.queue.memory() <= low {
		f.paused = false
	}
	if d == client {
		c.holdsNoMore(s)
	}
	c.moved(s)
}

// moved notes that bytes have left for either side.
func (c *core) moved(s *session) {
	s.active = c.now
	if s.noRequests {
		c.stopAnswers(s)
	}
}

// holdsNoMore ends the client's waiting for the upstream once it waits no more.
func (c *core) holdsNoMore(s *session) {
	if s.heldSince == 0 || s.flow[client].held() || s.blocked() {
		return
	}
	if s.lineStart != 0 { // the time that the upstream took is not the client's fault
		s.lineStart += c.now - max(s.heldSince, s.lineStart)
	}
	s.heldSince = 0
	c.rearm(s)
}
