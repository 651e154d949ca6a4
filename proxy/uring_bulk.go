package proxy

import (
	"golang.org/x/sys/unix"

	"fooproxy/ring"
)

const (
	// bulkRecv is how many bytes one wake-up must bring for its flow to be in bulk, and bulkPatience how many wake-ups with
	// less it stays so.
	bulkRecv     = 32 << 10
	bulkPatience = 16
)

// A flow in bulk is not received into the buffer ring: the ring only says that there is something, and the socket is drained by
// plain system calls through one scratch buffer that stays in the cache. With a receive armed for each of several bulk
// flows, one enter receives for all of them before anything is sent: every copy is a cache miss, and both peers wait for the
// proxy in lockstep. 8 connections of 16 KiB messages cost a fifth less this way.
//
// A receive that is still armed cannot take bytes in between: with DEFER_TASKRUN it runs inside our own enter only, and all its
// completions have been handled, unless some wait for room in the completion queue. The end of the stream is left to the next receive.

// onPoll: a socket in bulk or of a tunnel has something to read, or the poll was cancelled.
func (e *uringEngine) onPoll(r ref, c *ring.CQE) {
	s, d := e.table.find(r), r.op()-opPoll
	s.eng.armed[d], s.eng.cancelled[d] = false, false
	s.eng.readable[d] = true
	if c.Res > 0 && c.Res&unix.POLLPRI != 0 {
		s.eng.final[d] = true
	}
	e.settle(s)
}

// drain moves what the socket of a flow in bulk holds.
func (e *uringEngine) drain(s *session, d side) {
	f, eng := &s.flow[d], &s.eng
	if f.pipe != nil && !e.empty(s, d) {
		return
	}
	if eng.bulk[d] == 0 || eng.armed[d] && (eng.polled[d] || e.ring.Overflowed()) {
		return
	}
	moved := 0
	for f.queue.bytes == 0 && s.want(d)&actRecv != 0 {
		if moved >= e.direct.budget {
			e.touch(s)
			return
		}
		limit := e.direct.limit(s, d)
		if limit == 0 {
			eng.bulk[d] = 0 // nothing could be kept of what is not sent at once; the ring's receive waits for memory
			return
		}
		data, peeked, errno := e.direct.take(s, d, limit)
		if len(data) == 0 {
			switch {
			case errno != unix.EAGAIN:
				eng.bulk[d] = 0
			case moved >= e.direct.large:
				eng.bulk[d] = bulkPatience
			default:
				eng.bulk[d]--
			}
			if errno != 0 && errno != unix.EAGAIN && errno != unix.EINTR {
				e.sourceRST(s, d)
			}
			return
		}
		moved += len(data)
		data = e.direct.check(s, d, data)
		if !peeked {
			e.pass(s, d, data)
			continue
		}
		eng.writable[d^1] = !eng.roomArmed[d]
		e.direct.carry(s, d, data)
		e.awaitRoom(s, d)
	}
}

// empty moves what flow d's pipe holds to its destination, and says whether that has taken all of it.
func (e *uringEngine) empty(s *session, d side) bool {
	f, eng := &s.flow[d], &s.eng
	if eng.roomArmed[d] {
		return false
	}
	eng.writable[d^1] = true
	for f.pipe != nil && eng.writable[d^1] {
		e.direct.pour(s, d)
	}
	e.awaitRoom(s, d)
	return f.pipe == nil
}

// awaitRoom has the ring say when flow d's destination takes more of what its pipe holds.
func (e *uringEngine) awaitRoom(s *session, d side) {
	if s.flow[d].pipe != nil && !s.eng.roomArmed[d] {
		s.eng.roomArmed[d] = true
		e.poll(s, s.fd[d^1], unix.POLLOUT, opRoom+uint8(d))
	}
}

// pass sends data at once; what the kernel does not take is copied to the queue, for a send that waits.
func (e *uringEngine) pass(s *session, d side, data []byte) {
	if len(data) == 0 {
		return
	}
	f := &s.flow[d]
	if f.sink == open && (d == server || s.class != classUnknown) {
		n, errno := e.sys.send(s.fd[d^1], data)
		switch {
		case errno == 0:
			data = data[n:]
		case errno != unix.EAGAIN && errno != unix.EINTR:
			e.sinkFailed(s, d)
			return
		}
	}
	if len(data) == 0 {
		return
	}
	if f.queue.write(e.slab, data) < len(data) {
		e.kill(s, causeError) // no more is received than there are segments free, so this cannot be
		return
	}
	e.queued(s, d, highWater) // drain reads no more until all of it is sent
}
