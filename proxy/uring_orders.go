package proxy

import (
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"

	"fooproxy/stats"
)

// obey carries out orders from outside; it says true when the loop is to end.
func (e *uringEngine) obey() bool {
	e.worker.hear()
	order := e.worker.order.Load()
	if e.worker.gifts.Load() {
		e.adopt(false)
	}
	if order == orderRun {
		return false
	}
	if !e.draining {
		e.stopAccepting()
	}
	if e.worker.listener >= 0 && !e.accepting {
		e.emptyListener()
	}
	switch {
	case order == orderStop && !e.killed:
		e.killed = true
		e.table.each(func(s *session) {
			e.kill(s, causeStopped)
			e.touch(s)
		})
	case order == orderQuiet && !e.quiet:
		e.quiet = true
		e.table.each(func(s *session) {
			e.stopRequests(s, causeStopped)
			e.touch(s)
		})
	}
	return e.table.used == 0 && e.worker.listener < 0
}

// stopAccepting cancels the accept; emptyListener follows when it has ended.
func (e *uringEngine) stopAccepting() {
	if e.accepting && !e.stopping {
		if !e.room(1) {
			return // the next turn tries again
		}
		e.stopping = true
		e.cancelLoop(opAccept)
	}
	e.draining = true
	e.adopt(true)
}

func (e *uringEngine) cancelLoop(op uint8) {
	e.ring.PrepCancel(uint64(newRef(op, 0, 0)), 0, uint64(newRef(opCancel, 0, -1)))
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

// adopt takes over the descriptors that others have accepted for this loop.
func (e *uringEngine) adopt(last bool) {
	e.given = e.worker.take(e.given, last)
	for _, fd := range e.given {
		e.begun(fd)
		e.load.Add(-1)
	}
}

// peerOf asks for the address of an accepted descriptor, which a multishot accept does not tell. It is 0.0.0.0:0 for one that
// has been reset already.
func (e *uringEngine) peerOf(fd int32) netip.AddrPort {
	e.peer.Addr.Family = unix.AF_UNSPEC
	length := uint32(unsafe.Sizeof(e.peer))
	_, _, _ = unix.RawSyscall(unix.SYS_GETPEERNAME, uintptr(fd), uintptr(unsafe.Pointer(&e.peer)), uintptr(unsafe.Pointer(&length)))
	if e.peer.Addr.Family == unix.AF_UNSPEC && e.domain[client] != unix.AF_UNIX {
		return netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
	}
	return peerAddr(&e.peer)
}
