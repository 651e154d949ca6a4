package proxy

import (
	"golang.org/x/sys/unix"

	"fooproxy/ring"
	"fooproxy/stats"
)

// armLoop keeps the loop's own operations in flight: accepting and being woken.
func (e *uringEngine) armLoop() {
	if !e.waking && e.room(1) {
		e.waker.Arm(e.ring, uint64(newRef(opUnblock, 0, 0)))
		e.waking = true
	}
	if e.accepting || e.draining || e.worker.listener < 0 || e.now < e.acceptAt || !e.room(1) {
		return
	}
	e.acceptAt = 0
	r := uint64(newRef(opAccept, 0, 0))
	switch free := int64(e.cfg.MaxConn) - e.conns.Load(); {
	case free <= 0:
		e.pauseAccept()
		return
	case free < acceptBudget || e.now < e.scarce || !e.setup.acceptMultishot: // one at a time near the limit
		e.ring.PrepAccept(e.worker.listener, unix.SOCK_CLOEXEC, r)
	default:
		e.ring.PrepAcceptMultishot(e.worker.listener, unix.SOCK_CLOEXEC, r)
	}
	e.accepting = true
}

func (e *uringEngine) onAccept(c *ring.CQE) {
	if e.accepting = c.More(); !e.accepting {
		e.stopping = false
	}
	if errno := c.Errno(); errno != 0 {
		if errno == unix.ECANCELED {
			return
		}
		e.local[stats.AcceptErrors]++
		if errno != unix.ECONNABORTED && errno != unix.EINTR {
			e.pauseAccept()
		}
		return
	}
	e.conns.Add(1)
	if !e.worker.passOn(c.Res) {
		e.begun(c.Res)
	}
	if e.conns.Load() > int64(e.cfg.MaxConn)-acceptBudget {
		e.endAccept()
	}
}

// endAccept asks the accept in flight to end, once. While the loop drains obey asks again if that was in vain; else armLoop goes on
// one at a time.
func (e *uringEngine) endAccept() {
	if e.accepting && !e.stopping && e.room(1) {
		e.stopping = true
		e.ring.PrepCancel(uint64(newRef(opAccept, 0, 0)), 0, uint64(newRef(opCancel, 0, -1)))
	}
}

func (e *uringEngine) pauseAccept() {
	e.local[stats.AcceptPauses]++
	e.acceptAt = e.now + acceptPause
}

// emptyListener takes the connections that clients already believe to have, as far as maxconn lets them in, and closes the
// listener.
func (e *uringEngine) emptyListener() {
	fd := e.worker.listener
	_ = unix.SetNonblock(fd, true)
	for e.admit() {
		n, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), 0, 0, unix.SOCK_CLOEXEC, 0, 0)
		if errno == 0 {
			e.begun(int32(n))
			continue
		}
		e.conns.Add(-1)
		if errno != unix.ECONNABORTED && errno != unix.EINTR {
			break
		}
		e.local[stats.AcceptErrors]++
	}
	closeSocket(int32(fd), false)
	e.worker.listener = -1
}
