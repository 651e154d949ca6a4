package proxy

import (
	"fooproxy/codec"
	"fooproxy/stats"
)

// check compares the loop with what must always hold. It is called after every step.
func (w *simWorld) check() {
	segs := w.style.inKernel() + w.slab.free
	for _, cn := range w.conns {
		if cn.s == nil {
			continue
		}
		for d := range cn.s.flow {
			f := &cn.s.flow[d]
			segs += int(f.queue.segs)
			w.checkFlow(cn, side(d), f)
			w.checkLong(cn, side(d), f)
			w.checkAwake(cn, side(d))
		}
		w.checkOwed(cn)
		w.samplePauses(cn)
		if limit := int64(w.cfg.TimeoutIdle); limit > 0 && w.now-cn.moved > limit+2*tickLength && !cn.s.finished() && cn.s.lingerFrom == 0 {
			w.Fatalf("nothing moved for %d ms, and the limit is %v", (w.now-cn.moved)/1e6, w.cfg.TimeoutIdle)
		}
	}
	if segs != len(w.slab.segs) {
		w.Fatalf("%d segments are somewhere, of %d", segs, len(w.slab.segs))
	}
	for _, c := range [...]stats.Counter{
		stats.Req, stats.Ack, stats.Nak, stats.Bad, stats.Unmatched, stats.Untracked, stats.Accepted, stats.Ended,
		stats.ClassFoo, stats.ClassArbitrary, stats.ClassTunnel, stats.BytesSpliced, stats.ReadPauses,
	} {
		if w.local[c] != w.want[c] {
			w.Fatalf("%v is %d, want %d", c, w.local[c], w.want[c])
		}
	}
	w.checkLevels()
	w.checkPipes()
	for _, r := range w.stale {
		if s := w.table.find(r); s != nil {
			w.Fatalf("a stale reference finds slot %d", s.slot)
		}
	}
}

// checkLevels: what the loop says there is now is what a walk over the sessions finds.
func (w *simWorld) checkLevels() {
	want := map[stats.Counter]uint64{}
	w.table.each(func(s *session) {
		switch {
		case s.cause != causeNone:
			want[stats.Closing]++
		case !s.connected:
			want[stats.Connecting]++
		}
		if s.class != classUnknown {
			want[openOf(s.class)]++
		}
		if s.track != nil {
			want[stats.Outstanding] += uint64(s.track.len())
		}
	})
	for c := range stats.NumCounters {
		if c.Level() && c != stats.Buffered && w.local[c] != want[c] {
			w.Fatalf("%v is %d, want %d", c, int64(w.local[c]), want[c])
		}
	}
}

// checkFlow: what was accepted has been sent, is held, or was given up with its destination, and what is held is bounded.
func (w *simWorld) checkFlow(cn *simConn, d side, f *flow) {
	sent, accepted := cn.sock[d^1].taken, cn.accepted[d]
	held := f.queue.bytes
	if f.pipe != nil {
		held += f.pipe.held
	}
	if cn.class != classArbitrary && int(f.accepted) != accepted {
		w.Fatalf("side %d: %d bytes are forwarded, want %d", d, f.accepted, accepted)
	}
	if f.sink != gone && cn.class != classArbitrary && sent+held != accepted || sent > accepted {
		w.Fatalf("side %d: %d bytes accepted, %d sent, %d held", d, accepted, sent, held)
	}
	if limit := w.cfg.MaxBuffer*3/2 + (3*simBuffers+1)*segSize; f.queue.memory() > limit {
		w.Fatalf("side %d holds %d bytes of memory, the limit is %d", d, f.queue.memory(), limit)
	}
	if w.cfg.OnViolation == Close && cn.class != classTunnel && sent > cn.stream[d].firstBad {
		w.Fatalf("side %d: byte %d cannot be Foo and was sent", d, cn.stream[d].firstBad)
	}
}

// checkAwake: what a session could do now, and has not done, is not forgotten.
func (w *simWorld) checkAwake(cn *simConn, d side) {
	from, to, a := &cn.sock[d], &cn.sock[d^1], cn.s.want(d)
	if a&actRecv != 0 && (d == client || cn.up) && (from.sent > from.read || from.fin || from.rst) && !w.style.awaits(cn, d, false) {
		w.Fatalf("side %d is not read though it has sent something", d)
	}
	if a&actSend != 0 && (to.space > to.taken-to.heard || to.rst) && !w.style.awaits(cn, d^1, true) {
		w.Fatalf("nothing is sent to side %d though it takes something", d^1)
	}
}

// checkOwed: a session that takes no more requests ends its answers as soon as none is owed, and a reset that nothing is left to
// report is looked for.
func (w *simWorld) checkOwed(cn *simConn) {
	s := cn.s
	if s.noRequests && s.flow[client].sink != gone && !s.flow[client].held() && s.pending() == 0 && s.flow[server].source == reading {
		w.Fatalf("no answer is owed, and the answers go on")
	}
	for d := range cn.sock {
		k := &cn.sock[d]
		switch {
		case !s.heardFIN(side(d)) || s.flow[d].sink == gone: // which ends the session
			k.heardAt = 0
			continue
		case k.heardAt == 0:
			k.heardAt = w.now
		}
		if late := w.now - max(k.resetAt, k.heardAt); k.err && late > deadPeerCheck+2*tickLength && !w.style.awaits(cn, side(d), true) {
			w.Fatalf("side %d has sent FIN and then RST, and nobody has looked for %d ms", d, late/1e6)
		}
	}
}

// checkPending: a client is not read that has as many requests outstanding as it may, as long as it and answers are there.
func (w *simWorld) checkPending(cn *simConn, d side) {
	if most := w.cfg.MaxPending; d == client && most > 0 && cn.pending() >= most && cn.s.flow[server].source == reading && !cn.sock[client].rst {
		w.Fatalf("a client is read that has %d requests outstanding, and may have %d", cn.pending(), most)
	}
}

// checkLimit: a time limit must have passed since what it counts from.
func (w *simWorld) checkLimit(cn *simConn, why cause) {
	switch why {
	case causeIdle:
		if w.now-cn.moved < int64(w.cfg.TimeoutIdle) {
			w.Fatalf("idle after %d ms, the limit is %v", (w.now-cn.moved)/1e6, w.cfg.TimeoutIdle)
		}
	case causeHalfCloseTimeout:
		if cn.s.lingerFrom == 0 && w.now-cn.moved < int64(w.cfg.TimeoutHalfClose) {
			w.Fatalf("half closed for %d ms, the limit is %v", (w.now-cn.moved)/1e6, w.cfg.TimeoutHalfClose)
		}
	case causeLineTimeout:
		if cn.lineFrom == 0 || w.now-cn.lineFrom < int64(w.cfg.TimeoutLine) {
			w.Fatalf("%d ms into a line (0 = in none: %d), the limit is %v", (w.now-cn.lineFrom)/1e6, cn.lineFrom, w.cfg.TimeoutLine)
		}
	}
}

// checkEnd is about a connection that is being closed: what either side has got, and how its stream ends.
func (w *simWorld) checkEnd(cn *simConn) {
	s := cn.s
	if s.cause != cn.cause || s.cause == causeNone {
		w.Fatalf("ended with %v, want %v", s.cause, cn.cause)
	}
	resets := 0
	for d := range cn.sock {
		if cn.sock[d].rst || cn.failed[d] {
			resets++
		}
	}
	if resets == 0 && !cn.killed && !cn.expired {
		w.checkPeaceful(cn)
	}
	for d := range cn.sock {
		k, other := &cn.sock[d], &cn.sock[d^1]
		if k.rst && k.read == k.sent && !k.fin && !other.rst && !cn.killed && !cn.expired && cn.up && !cn.lingered {
			w.checkReset(cn, side(d))
		}
	}
}

// checkPeaceful: nobody has reset anything and no limit has passed, so whatever was accepted has been delivered.
func (w *simWorld) checkPeaceful(cn *simConn) {
	for d := range cn.sock {
		to, from := &cn.sock[d], &cn.sock[d^1]
		if to.aborted {
			w.Fatalf("side %d gets RST at the end of %v", d, cn.cause)
		}
		if cn.class == classArbitrary {
			if side(d) == server && to.taken != 0 {
				w.Fatalf("%d bytes of an arbitrary client reach the server", to.taken)
			}
			continue
		}
		if to.taken != cn.accepted[d^1] {
			w.Fatalf("side %d gets %d of %d bytes at the end of %v", d, to.taken, cn.accepted[d^1], cn.cause)
		}
		whole := !cn.stopped && cn.refused == 0 && !cn.violated[client] && !cn.violated[server]
		if whole && (to.taken != len(from.stream.data) || !to.shut || !from.fin) {
			w.Fatalf("side %d gets %d of %d bytes (FIN %v) of a connection that ends well (FIN %v)",
				d, to.taken, len(from.stream.data), to.shut, from.fin)
		}
	}
	k, requests := &cn.sock[server], &cn.sock[client].stream
	if !k.answers || k.fin || cn.violated[server] || cn.class == classArbitrary || cn.class == classTunnel || cn.refused != 0 {
		return
	}
	owed := 0 // the session has ended without the server's end: every request must have its answer
	for i := range requests.lines {
		if l := &requests.lines[i]; l.bad == noBad && l.end <= cn.accepted[client] {
			owed++
		}
	}
	answered := 0
	for i := range k.stream.lines {
		if l := &k.stream.lines[i]; l.typ != codec.REQ && l.end <= cn.sock[client].taken {
			answered++
		}
	}
	if answered < owed {
		w.Fatalf("%d of %d requests are answered at the end of %v", answered, owed, cn.cause)
	}
}

// checkReset: side d has reset the connection, and only it. The other side has all that was sent before, and then RST.
func (w *simWorld) checkReset(cn *simConn, d side) {
	k, to := &cn.sock[d], &cn.sock[d^1]
	if cn.stopped || cn.violated[client] || cn.violated[server] || cn.class == classArbitrary {
		return
	}
	if to.taken != k.sent {
		w.Fatalf("side %d gets %d of the %d bytes that were sent before the reset", d^1, to.taken, k.sent)
	}
	if !to.aborted {
		w.Fatalf("side %d does not get the RST of side %d (%v)", d^1, d, cn.cause)
	}
}

// checkEmpty: everything has been returned.
func (w *simWorld) checkEmpty() {
	checkSlab(w, w.slab)
	if w.slab.free+w.style.inKernel() != len(w.slab.segs) || !w.style.idle() {
		w.Fatalf("%d segments free and %d in the kernel, of %d", w.slab.free, w.style.inKernel(), len(w.slab.segs))
	}
	if w.table.used != 0 || w.wheel.count != 0 || w.core.conns.Load() != 0 {
		w.Fatalf("left behind: %d sessions, %d timers, %d connections", w.table.used, w.wheel.count, w.core.conns.Load())
	}
	if n := w.local[stats.ZeroCopySends]; n != w.loans {
		w.Fatalf("%v is %d, want %d", stats.ZeroCopySends, n, w.loans)
	}
	var bytes [4]uint64 // as the counters of bytes from stats.BytesRequest
	for _, cn := range w.conns {
		for d, n := range cn.accepted {
			switch {
			case cn.class == classTunnel:
				bytes[2+d] += uint64(n)
			case cn.class != classArbitrary || side(d) == server: // nothing of an arbitrary client goes anywhere
				bytes[d] += uint64(n)
			}
		}
	}
	for i, want := range bytes {
		if got := w.local[stats.BytesRequest+stats.Counter(i)]; got != want {
			w.Fatalf("%v is %d, want %d", stats.BytesRequest+stats.Counter(i), got, want)
		}
	}
	for c := stats.EndFirst; c < stats.NumCounters; c++ {
		if w.local[c] != w.want[c] {
			w.Fatalf("%v is %d, want %d", c, w.local[c], w.want[c])
		}
	}
}
