package proxy

import (
	"golang.org/x/sys/unix"
)

// Tunnels on io_uring: the ring only says when a socket is ready, and plain system calls splice. The ring's own splice hands
// every call to a worker thread of the kernel (io_splice forces it), which costs two context switches and more than the
// copy that it spares.

// tunnel serves a session that is relayed without a look. Its sockets change to O_NONBLOCK, which splice needs, once the ring has
// nothing of theirs in flight: a receive would take bytes between two splices, and a send put some there.
func (e *uringEngine) tunnel(s *session) {
	eng := &s.eng
	more := false
	if !eng.direct && eng.inFlight > 0 {
		e.cancelAll(s)
	} else {
		if !eng.direct {
			eng.direct, eng.closing = true, false
			for d, fd := range s.fd {
				e.sys.setNonblock(fd)
				eng.readable[d], eng.writable[d] = true, true
			}
		}
		more = e.direct.serveFlows(s)
	}
	if s.finished() {
		e.finish(s)
		return
	}
	if more {
		e.touch(s)
	}
	if eng.direct {
		e.await(s, client)
		e.await(s, server)
	}
	if s.recheck == 0 && (s.heardFIN(client) || s.heardFIN(server)) {
		s.recheck = e.now + deadPeerCheck
		e.rearm(s)
	}
	if e.cfg.TimeoutIdle > 0 && s.timer.tick == 0 {
		e.rearm(s)
	}
}

// await has the kernel tell when flow d can go on.
func (e *uringEngine) await(s *session, d side) {
	eng := &s.eng
	a := s.want(d)
	if a&actRecv != 0 && !eng.readable[d] && !eng.armed[d] && !eng.starved[d] {
		if e.slab.free == 0 {
			e.starve(s, d)
		} else {
			eng.armed[d], eng.polled[d] = true, true
			e.poll(s, s.fd[d], unix.POLLIN|unix.POLLPRI, opPoll+uint8(d))
		}
	}
	if a&actSend != 0 && !eng.writable[d^1] && !eng.roomArmed[d] {
		eng.roomArmed[d] = true
		e.poll(s, s.fd[d^1], unix.POLLOUT, opRoom+uint8(d))
	}
}

func (e *uringEngine) poll(s *session, fd int32, events uint32, op uint8) {
	e.ring.PrepPollAdd(int(fd), events, uint64(newRef(op, s.gen, s.slot)))
	s.eng.inFlight++
}

// onRoom: flow d's destination takes bytes again, or is gone, which the next send will tell; or the poll was cancelled.
func (e *uringEngine) onRoom(r ref) {
	s, d := e.table.find(r), side(r.op()-opRoom)
	s.eng.roomArmed[d] = false
	s.eng.writable[d^1] = true
	e.settle(s)
}
