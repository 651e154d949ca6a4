package server

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls of a loop, as raw as they are non-blocking: a system call that returns at once needs no word with Go's
// scheduler, which would cost more than the call. Each of them is repeated when a signal (Go preempts with them) ends it.

// recv receives into b, which is not empty; n is 0 at the end of the stream.
func recv(fd int32, b []byte) (n int, errno unix.Errno) {
	for {
		r, _, e := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), 0, 0, 0)
		if e != unix.EINTR {
			return int(r), e
		}
	}
}

// send sends b, which is not empty, or a part of it.
func send(fd int32, b []byte) (n int, errno unix.Errno) {
	for {
		r, _, e := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)),
			unix.MSG_NOSIGNAL, 0, 0)
		if e != unix.EINTR {
			return int(r), e
		}
	}
}

// accept takes a connection from a listener, non-blocking like it.
func accept(fd int32) (conn int32, errno unix.Errno) {
	for {
		r, _, e := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), 0, 0, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
		if e != unix.EINTR {
			return int32(r), e
		}
	}
}

// rawWaitMax is the longest wait that the Go scheduler does not know of. A garbage collection has to wait for it, and it
// keeps one of Go's processors.
const rawWaitMax = 3 * time.Millisecond

// A poller is an epoll instance.
type poller struct {
	fd     int32
	ms     bool          // the kernel is older than 5.11 and has no epoll_pwait2: time-outs are rounded up to milliseconds
	raw    time.Duration // the longest raw wait: rawWaitMax, or 0 if Go has no processor to spare
	events []unix.EpollEvent
	limit  *unix.Timespec // on the heap, like events: the stack moves
}

func newPoller(eventsMax int) (poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return poller{}, err
	}
	p := poller{fd: int32(fd), events: make([]unix.EpollEvent, eventsMax), limit: new(unix.Timespec)}
	_, errno := p.call(0, true)
	p.ms = errno == unix.ENOSYS
	return p, nil
}

// add registers a descriptor; key comes back with its events.
func (p *poller) add(fd int32, events uint32, key uint64) error {
	ev := unix.EpollEvent{Events: events, Fd: int32(uint32(key)), Pad: int32(uint32(key >> 32))}
	return unix.EpollCtl(int(p.fd), unix.EPOLL_CTL_ADD, int(fd), &ev)
}

// remove takes a descriptor out that stays open; closing one does so, too.
func (p *poller) remove(fd int32) error {
	return unix.EpollCtl(int(p.fd), unix.EPOLL_CTL_DEL, int(fd), nil)
}

// key of the descriptor that an event is about.
func key(ev *unix.EpollEvent) uint64 { return uint64(uint32(ev.Fd)) | uint64(uint32(ev.Pad))<<32 }

// wait returns the events that are ready, or waits at most limit for one; a negative limit is for ever. A short wait is
// raw, as under load there is always a next event soon (a blocking
// call of Go's wakes its monitor thread each time); only one that outlasts it goes through Go's scheduler.
func (p *poller) wait(limit time.Duration) []unix.EpollEvent {
	short := limit
	if limit < 0 || limit > p.raw {
		short = p.raw
	}
	n, errno := p.call(short, true)
	if n == 0 && errno == 0 && short != limit {
		if limit > 0 {
			limit -= short
		}
		n, errno = p.call(limit, false)
	}
	if errno != 0 && errno != unix.EINTR {
		panic("server: epoll_pwait: " + errno.Error()) // the descriptor or the buffer is wrong: a bug
	}
	return p.events[:n]
}

func (p *poller) call(limit time.Duration, raw bool) (n int, errno unix.Errno) {
	trap, timeout := uintptr(unix.SYS_EPOLL_PWAIT2), uintptr(0) // a null time-out is for ever
	if limit >= 0 {
		*p.limit = unix.NsecToTimespec(int64(limit))
		timeout = uintptr(unsafe.Pointer(p.limit))
	}
	if p.ms {
		trap, timeout = unix.SYS_EPOLL_PWAIT, uintptr((limit+time.Millisecond-1)/time.Millisecond)
		if limit < 0 {
			timeout = ^uintptr(0)
		}
	}
	events, room := uintptr(unsafe.Pointer(&p.events[0])), uintptr(len(p.events))
	var r uintptr
	if raw {
		r, _, errno = unix.RawSyscall6(trap, uintptr(p.fd), events, room, timeout, 0, 0)
	} else {
		r, _, errno = unix.Syscall6(trap, uintptr(p.fd), events, room, timeout, 0, 0)
	}
	if errno != 0 {
		return 0, errno
	}
	return int(r), 0
}
