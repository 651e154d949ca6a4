package proxy

import (
	"syscall"

	"golang.org/x/sys/unix"

	"fooproxy/ring"
	"fooproxy/stats"
)

// begun makes a session for an accepted descriptor and begins to connect its upstream. Sockets block until a splice needs them not to
// (learn, tunnel); a receive or a send of io_uring waits for one that does not as well.
func (e *uringEngine) begun(fd int32) {
	from := peerName(fd)
	if e.refused(fd, from) {
		return
	}
	s := e.begin(fd, from)
	e.choosePaceOf(s)
	e.chooseCopies(s)
	s.eng.dial = dialWanted
	switch { // the accept queue is emptied while the loop is ending
	case e.killed:
		e.kill(s, causeStopped)
	case e.quiet:
		e.stopRequests(s, causeStopped)
	}
	e.rearm(s)
	e.touch(s)
}

// dial begins to connect the upstream. A multishot accept can take the last descriptors before any upstream got one; then the
// session waits for one, unless too many do.
func (e *uringEngine) dial(s *session) {
	e.waiting -= s.eng.waiting
	s.eng.waiting = 0
	if s.flow[client].sink != open {
		s.eng.dial = dialDone // given up meanwhile
		return
	}
	up, errno := upstreamSocket(e.target, e.cfg, 0)
	switch {
	case errno == 0:
		s.fd[server] = up
		s.eng.dial = dialSubmitted
		e.ring.PrepConnect(int(up), e.upstream, uint64(newRef(opConnect, s.gen, s.slot)))
		s.eng.inFlight++
		return
	case errno == unix.EMFILE || errno == unix.ENFILE:
		e.local[stats.AcceptErrors]++
		e.pauseAccept()
		e.scarce = e.now + scarceFor
		e.endAccept()
		if e.waiting < e.table.used/2 {
			e.waiting++
			s.eng.waiting = 1
			s.recheck = e.now + acceptPause
			e.rearm(s)
			return
		}
	}
	s.eng.dial = dialDone
	e.connectFailed(s, errno)
}

// dialled: a connection attempt has ended. io_uring looks at the socket's hard error alone: an attempt that an ICMP message has
// disturbed while its SYN was being sent has a soft one (sk_err_soft) and completes as if it had connected. SO_ERROR has both.
func (e *uringEngine) dialled(r ref, c ring.CQE) {
	if c.Res == 0 {
		c.Res = -int32(e.sys.socketError(e.table.find(r).fd[server]))
	}
	e.onConnect(r, &c)
}

func (e *uringEngine) onConnect(r ref, c *ring.CQE) {
	s := e.table.find(r)
	s.eng.dial = dialDone
	e.settle(s)
	if s.flow[client].sink != open {
		return // given up meanwhile
	}
	if errno := c.Errno(); errno != 0 {
		e.connectFailed(s, syscall.Errno(errno))
		return
	}
	e.connectDone(s)
}

// onRecv takes over the segments of a receive completion, has them checked and queues what is valid.
func (e *uringEngine) onRecv(r ref, c *ring.CQE) {
	s, d := e.table.find(r), side(r.op()-opRecv)
	for pieces := e.bufs.Segments(c); pieces.Next(); {
		g := e.slab.move(pieces.Buffer, ownKernel, ownFlow)
		g.off, g.end = 0, uint16(e.received(s, d, pieces.Data))
		e.enqueue(s, d, pieces.Buffer)
	}
	if !c.More() {
		s.eng.armed[d], s.eng.cancelled[d] = false, false
		e.settle(s)
	}
	s.eng.doubt(d, c)
	e.touch(s)
	if c.Res > 0 {
		s.eng.came[d] += c.Res
		if int(s.eng.came[d]) >= e.direct.large && e.scratch != nil && !e.lends(s, d) {
			s.eng.bulk[d] = bulkPatience
		}
		return
	}
	switch errno := c.Errno(); errno {
	case 0:
		if s.flow[d].source != ended {
			e.unmask(s, d)
			e.sourceFIN(s, d)
			s.recheck = e.now + deadPeerCheck
			e.rearm(s)
		}
	case unix.ENOBUFS:
		e.local[stats.NoBuffer]++
		e.starve(s, d)
	case unix.ECANCELED, unix.EINTR, unix.EAGAIN:
	default:
		if s.flow[d].source != ended {
			e.sourceRST(s, d)
		}
	}
}

// doubt notes whether an armed receive may have missed the end of the stream: an RST, or the end of a unix stream. (A FIN of TCP
// it does look for.) It does so when it takes the last bytes and the end stands behind them already, since it then waits for an
// event that has been. That can be when the two came while it was being armed, between its first attempt and its waiting, or
// when it always found more bytes, is interrupted by the kernel after some thirty completions, and goes on later (Linux 6.18).
func (eng *engineState) doubt(d side, c *ring.CQE) {
	eng.more[d] = c.More() && c.Flags&ring.FlagNonempty != 0
	switch {
	case !c.More():
		eng.doubts[d], eng.doubtful[d] = 0, false
	case c.Flags&ring.FlagNonempty != 0:
		eng.doubts[d], eng.doubtful[d] = max(eng.doubts[d], 1), false
	case eng.doubts[d] > 0:
		eng.doubts[d]--
		eng.doubtful[d] = true
	}
}

// missed says whether flow d's receive waits for what has come already: an end, or what lies behind a byte that TCP calls urgent, at
// which a pending signal stops it. Another one, armed after it, will report it.
func (e *uringEngine) missed(s *session, d side) bool {
	eng := &s.eng
	if !eng.armed[d] {
		return false
	}
	eng.doubtful[d] = eng.doubtful[d] && e.sys.streamEnded(s.fd[d])
	eng.more[d] = eng.more[d] && e.sys.urgent(s.fd[d])
	return eng.doubtful[d] || eng.more[d]
}

// unmask finds out whether the end of side d's stream is an RST whose error another operation has taken with it. A side that
// was not sent FIN cannot have closed in good order.
func (e *uringEngine) unmask(s *session, d side) {
	if s.flow[d^1].sink == open && e.domain[d] != unix.AF_UNIX && e.sys.tcpClosed(s.fd[d]) {
		s.reset[d] = true
	}
}

// enqueue puts a received segment behind what flow d holds. Few bytes are copied into the room left in the last segment: a
// stalled flow of small messages would otherwise hold a whole segment for each.
func (e *uringEngine) enqueue(s *session, d side, id int32) {
	f := &s.flow[d]
	data := e.slab.bytes(id)
	if len(data) > 0 {
		e.holds(s, d)
	}
	if len(data) <= segSize/4 && len(data) <= f.queue.room(e.slab) {
		f.queue.fill(e.slab, data)
		e.slab.put(id, ownFlow)
	} else {
		f.queue.push(e.slab, id)
	}
}

func (e *uringEngine) onSend(r ref, c *ring.CQE) {
	s, d := e.table.find(r), side(r.op()-opSend)
	f := &s.flow[d]
	f.sending = false
	e.settle(s)
	if f.sink == gone {
		f.queue.drop(e.slab)
		return
	}
	switch errno := c.Errno(); errno {
	case 0:
		e.sent(s, d, int(c.Res), e.readLimit()/2)
	case unix.ECANCELED, unix.EINTR, unix.EAGAIN:
	default:
		e.sinkFailed(s, d)
	}
}

// serve prepares what a session wants and what is not yet in flight, and closes it when it has finished and nothing is.
func (e *uringEngine) serve(s *session) {
	if !e.room(sqesPerServe) {
		e.touch(s) // the kernel takes no more now; the next turn does
		return
	}
	if s.eng.dial == dialWanted {
		e.dial(s)
	}
	if s.class == classTunnel && s.connected {
		e.tunnel(s)
		return
	}
	e.drain(s, client)
	e.drain(s, server)
	for again := true; again; {
		again = e.relay(s, client)
		again = e.relay(s, server) || again
	}
	if s.finished() {
		e.finish(s)
		return
	}
	if e.cfg.Cork && !s.flow[client].sending && !s.flow[server].sending {
		e.uncork(s)
	}
	e.arm(s, client)
	e.arm(s, server)
	if e.cfg.TimeoutIdle > 0 && s.timer.tick == 0 {
		e.rearm(s)
	}
}

// relay sends what flow d holds, or its end. It says whether the session's state has changed.
func (e *uringEngine) relay(s *session, d side) bool {
	f := &s.flow[d]
	if f.sending {
		return false
	}
	switch a := s.want(d); {
	case a&actSend != 0 && f.pipe == nil:
		e.send(s, d)
	case a&actShut != 0:
		e.sys.shutdownWrite(s.fd[d^1])
		e.sinkShut(s, d)
		return true
	case a&actAbort != 0 && e.delivered(s, d):
		e.sinkAborted(s, d)
		return true
	}
	return false
}

// send hands the front of flow d's queue to the kernel. It goes without MSG_WAITALL: a short send shows that bytes move, on
// which the time-outs depend, and does not hide an error that came after its part.
func (e *uringEngine) send(s *session, d side) {
	f := &s.flow[d]
	to, r := int(s.fd[d^1]), uint64(newRef(opSend+uint8(d), s.gen, s.slot))
	e.cork(s, d^1)
	switch {
	case e.lend(s, d):
	case f.queue.segs == 1:
		e.ring.PrepSend(to, e.slab.bytes(f.queue.head), unix.MSG_NOSIGNAL, r)
	default:
		e.ring.PrepSendv(to, e.gather(f), unix.MSG_NOSIGNAL, r)
	}
	f.sending = true
	s.eng.sentTurn[d] = e.turns
	s.eng.inFlight++
}

// gather fills the next entry's vector from the front of a flow's queue, and returns its length.
func (e *uringEngine) gather(f *flow) (n int) {
	vec := e.ring.Iovecs()
	for id := f.queue.head; id != noSeg; id = e.slab.segs[id].next {
		data := e.slab.bytes(id)
		base, size := ring.Addr(data), uint64(len(data))
		if n > 0 && vec[n-1].Base+vec[n-1].Len == base {
			vec[n-1].Len += size // neighbours in memory
			continue
		}
		if n == len(vec) {
			break
		}
		vec[n] = ring.Iovec{Base: base, Len: size}
		n++
	}
	return n
}

// arm has flow d's source read, or no longer, as the session wants. A flow is over its high watermark only when the kernel had
// its last send for a whole turn and has not done with it: pausing costs a cancel and another receive, so a burst that the
// destination takes at once must not cause it. One that takes a part of it in every turn may not let the queue grow for ever: it
// has half as much again.
func (e *uringEngine) arm(s *session, d side) {
	eng := &s.eng
	bulk := eng.bulk[d] > 0
	if s.flow[d].sending {
		high := e.readLimit()
		switch {
		case eng.sentTurn[d] == e.turns:
			high += high / 2
		case bulk:
			high = highWater // drain reads no more until all of it is sent
		}
		e.queued(s, d, high)
	}
	if d == client && s.blocked() {
		e.lookAgain(s)
	}
	if s.want(d)&actRecv == 0 || eng.armed[d] && bulk && !eng.polled[d] || e.missed(s, d) {
		e.disarm(s, d)
		return
	}
	if eng.armed[d] || eng.starved[d] {
		return
	}
	if bulk && s.flow[d].held() { // drain goes on when that is sent; if it takes long it is a pause
		e.lookAgain(s)
		return
	}
	switch fd := int(s.fd[d]); {
	case bulk:
		e.ring.PrepPollAdd(fd, unix.POLLIN, uint64(newRef(opPoll+uint8(d), s.gen, s.slot)))
	case d == client && e.cfg.MaxPending > 0: // which looks after each receive
		e.ring.PrepRecv(fd, uringGroup, false, uint64(newRef(opRecv+uint8(d), s.gen, s.slot)))
	case e.setup.recvMultishot:
		e.ring.PrepRecvMultishot(fd, uringGroup, e.setup.recvBundle, uint64(newRef(opRecv+uint8(d), s.gen, s.slot)))
		eng.doubts[d] = 2 // the first attempt, and what comes until it waits
	default:
		e.ring.PrepRecv(fd, uringGroup, e.setup.recvBundle, uint64(newRef(opRecv+uint8(d), s.gen, s.slot)))
	}
	eng.armed[d], eng.polled[d] = true, bulk
	eng.inFlight++
}

// disarm asks flow d's receive to end. It may deliver more until then.
func (e *uringEngine) disarm(s *session, d side) {
	if s.eng.armed[d] && !s.eng.cancelled[d] {
		s.eng.cancelled[d] = true
		op := uint8(opRecv)
		if s.eng.polled[d] {
			op = opPoll
		}
		e.cancel(s, op+uint8(d))
	}
}

func (e *uringEngine) cancel(s *session, op uint8) {
	e.cancelRef(s, newRef(op, s.gen, s.slot))
}

func (e *uringEngine) cancelRef(s *session, what ref) {
	e.ring.PrepCancel(uint64(what), 0, uint64(newRef(opCancel, s.gen, s.slot)))
	s.eng.inFlight++
}

// finish is the end of a session: cancel what is in flight once, then wait for it, then close.
func (e *uringEngine) finish(s *session) {
	if s.eng.inFlight == 0 {
		e.closeSession(s)
		return
	}
	e.cancelAll(s)
}

// cancelAll asks everything of s that is in flight to end, once.
func (e *uringEngine) cancelAll(s *session) {
	if s.eng.closing {
		return
	}
	s.eng.closing = true
	for d := range s.flow {
		e.disarm(s, side(d))
		switch n := s.eng.lent[d]; {
		case n > 0:
			e.cancelRef(s, newRef(opLend, 0, n-1))
		case s.flow[d].sending:
			e.cancel(s, opSend+uint8(d))
		}
		if s.eng.roomArmed[d] {
			e.cancel(s, opRoom+uint8(d))
		}
	}
	if s.eng.dial == dialSubmitted {
		e.cancel(s, opConnect)
	}
}
