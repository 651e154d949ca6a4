package sys

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Poller is an epoll descriptor. The 64 bits of user data that the kernel hands back are split into a slot, a kind and a
// generation, so that an event for a closed connection whose slot was taken again is recognised.
type Poller struct{ fd int32 }

// Kind says what a registered descriptor is to its owner; 4 bits.
type Kind uint32

// genMask bounds a generation to the bits that are left beside the kind.
const genMask = 1<<28 - 1

// NewPoller makes an epoll descriptor, closed on exec.
func NewPoller() (Poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	return Poller{int32(fd)}, err
}

// Close releases the epoll descriptor.
func (p Poller) Close() { Close(p.fd) }

// Add registers fd for events (EPOLLIN, EPOLLET, ...).
func (p Poller) Add(fd int32, events uint32, kind Kind, slot int32, gen uint32) unix.Errno {
	return p.control(unix.EPOLL_CTL_ADD, fd, events, kind, slot, gen)
}

// Modify replaces what fd is registered for.
func (p Poller) Modify(fd int32, events uint32, kind Kind, slot int32, gen uint32) unix.Errno {
	return p.control(unix.EPOLL_CTL_MOD, fd, events, kind, slot, gen)
}

func (p Poller) control(op int, fd int32, events uint32, kind Kind, slot int32, gen uint32) unix.Errno {
	ev := unix.EpollEvent{Events: events, Fd: slot, Pad: int32(uint32(kind)<<28 | gen&genMask)}
	_, _, e := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(p.fd), uintptr(op), uintptr(fd), uintptr(unsafe.Pointer(&ev)), 0, 0)
	return e
}

// Data takes an event's user data apart.
func Data(ev *unix.EpollEvent) (kind Kind, slot int32, gen uint32) {
	return Kind(uint32(ev.Pad) >> 28), ev.Fd, uint32(ev.Pad) & genMask
}

// SameGen reports whether a full generation is the one an event carries.
func SameGen(full, carried uint32) bool { return full&genMask == carried }

// Poll collects what is ready and never waits.
func (p Poller) Poll(events []unix.EpollEvent) int {
	r, _, e := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.fd), uintptr(unsafe.Pointer(unsafe.SliceData(events))),
		uintptr(len(events)), 0, 0, 0)
	if e != 0 {
		return 0
	}
	return int(r)
}

// Wait is Poll that waits at most limit (epoll_pwait2, Linux 5.11: nanoseconds instead of milliseconds). The wait is raw: the
// caller keeps its processor of Go's scheduler, so limit must be short, or a garbage collection elsewhere waits for it.
func (p Poller) Wait(events []unix.EpollEvent, limit time.Duration) int {
	ts := unix.NsecToTimespec(int64(limit))
	r, _, e := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT2, uintptr(p.fd), uintptr(unsafe.Pointer(unsafe.SliceData(events))),
		uintptr(len(events)), uintptr(unsafe.Pointer(&ts)), 0, 0)
	if e != 0 {
		return 0
	}
	return int(r)
}
