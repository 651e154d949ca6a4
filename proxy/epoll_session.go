package proxy

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// A flow is read again when all it had queued is sent: the kernel's own buffers hold enough for a peer to go on meanwhile.
const (
	highWater = 1
	lowWater  = 0
)

// serve does all that a session wants and its descriptors allow, and closes it when it has finished. The session may be gone
// afterwards.
func (e *epollEngine) serve(s *session) {
	budget := [2]int{readBudget, readBudget}
	for {
		e.serveFlow(s, client, &budget[client])
		if !e.serveFlow(s, server, &budget[server]) {
			break // nothing happened that could give the client's flow something new to do
		}
	}
	if e.cfg.Cork {
		e.uncork(s)
	}
	if s.finished() {
		e.closeSession(s)
		return
	}
	if min(budget[client], budget[server]) <= 0 && !s.eng.queued {
		s.eng.queued = true
		e.ready = append(e.ready, newRef(0, s.gen, s.slot))
	}
	if e.cfg.TimeoutIdle > 0 && s.timer.tick == 0 {
		e.rearm(s)
	}
}

// serveFlow moves what it can in one direction, within budget bytes. It says whether it did anything.
func (e *epollEngine) serveFlow(s *session, d side, budget *int) (moved bool) {
	eng := &s.eng
	for ; ; moved = true {
		a := s.want(d)
		switch {
		case a&actSend != 0 && eng.writable[d^1]:
			e.flush(s, d)
		case a&actShut != 0:
			shutdownWrite(s.fd[d^1])
			e.sinkShut(s, d)
		case a&actAbort != 0 && e.delivered(s, d):
			e.sinkAborted(s, d)
		case a&actRecv != 0 && eng.readable[d] && *budget > 0:
			*budget -= e.receive(s, d)
		default:
			return moved
		}
	}
}

// receive reads once from side d, has it checked, and sends on what is valid. It returns the bytes read.
func (e *epollEngine) receive(s *session, d side) int {
	limit := min(e.readLimit(), len(e.scratch))
	n, errno := recv(s.fd[d], e.scratch[:limit])
	switch {
	case errno == unix.EAGAIN:
		s.eng.readable[d] = false
		return 0
	case errno == unix.EINTR:
		return 0
	case errno != 0:
		s.eng.readable[d] = false
		e.sourceRST(s, d)
		return 0
	case n == 0:
		s.eng.readable[d] = false
		e.sourceFIN(s, d)
		return 0
	}
	if n < limit && !s.eng.final[d] {
		s.eng.readable[d] = false // an edge comes with the next byte
	}
	if ok := e.received(s, d, e.scratch[:n]); ok > 0 {
		e.forward(s, d, e.scratch[:ok])
	}
	return n
}

// forward sends data behind what flow d has queued; what the kernel does not take now is copied into the queue.
func (e *epollEngine) forward(s *session, d side, data []byte) {
	f := &s.flow[d]
	if f.queue.bytes == 0 && s.eng.writable[d^1] && f.sink == open && (d == server || s.connected && s.class != classUnknown) {
		e.cork(s, d^1)
		n, errno := send(s.fd[d^1], data)
		if e.sendFailed(s, d, errno) {
			return
		}
		if errno == 0 {
			data = data[n:]
		}
		if len(data) == 0 {
			return
		}
		s.eng.writable[d^1] = errno == unix.EINTR
	}
	if f.queue.write(e.slab, data) < len(data) {
		e.kill(s, causeError) // readLimit keeps a segment for every flow, so this cannot be
		return
	}
	e.queued(s, d, highWater)
}

// flush sends from flow d's queue once.
func (e *epollEngine) flush(s *session, d side) {
	f := &s.flow[d]
	count, size := f.queue.gather(e.slab, e.iov[:])
	e.msg.SetIovlen(count)
	e.cork(s, d^1)
	n, errno := sendmsg(s.fd[d^1], &e.msg)
	if errno == unix.EINTR || e.sendFailed(s, d, errno) {
		return
	}
	if errno == unix.EAGAIN {
		n = 0
	}
	if n < size {
		s.eng.writable[d^1] = false
	}
	if n > 0 {
		e.sent(s, d, n, lowWater)
	}
}

// sendFailed ends flow d when errno says that its destination is gone.
func (e *epollEngine) sendFailed(s *session, d side, errno syscall.Errno) bool {
	if errno == 0 || errno == unix.EAGAIN || errno == unix.EINTR {
		return false
	}
	s.eng.readable[d^1] = true // read it to its end
	s.eng.final[d^1] = true
	e.sinkFailed(s, d)
	return true
}
