package ring

import (
	"errors"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// labPatience bounds the wait for a completion that comes at once if it comes at all.
const labPatience = 2 * time.Second

var (
	errLate    = errors.New("no completion in time")
	errNoProof = errors.New("the kernel had no occasion to show it")
)

// lab is where one feature is tried: a fresh ring, some memory, and the descriptors to close at the end.
type lab struct {
	params   Params
	patience time.Duration // the longest wait
	r        *Ring
	arena    *Arena
	fds      []int
}

// open makes the ring; each try begins with it or with openFlags.
func (l *lab) open() (err error) {
	if l.r == nil {
		l.r, err = Setup(l.params)
	}
	if l.arena == nil && err == nil {
		l.arena, err = NewArena(1 << 16)
	}
	return err
}

// announced tells whether the kernel announces an opcode (IORING_REGISTER_PROBE), true where it cannot be asked: trying
// will tell.
func (l *lab) announced(op uint8) bool {
	if l.open() != nil {
		return true
	}
	known, errno := l.r.supports(op)
	return known || errno != 0
}

// openFlags makes the ring with exactly these flags and sends a nop through it.
func (l *lab) openFlags(flags uint32) (err error) {
	if l.r, err = setupWith(l.params, flags); err != nil {
		return err
	}
	return l.nop()
}

func (l *lab) nop() error {
	l.r.PrepNop(1)
	return l.expect(1, 0)
}

// clean gives everything back. The ring goes before the memory it used.
func (l *lab) clean() {
	if l.r != nil {
		_ = l.r.Close()
	}
	for _, fd := range l.fds {
		_ = unix.Close(fd)
	}
	if l.arena != nil {
		_ = l.arena.Free()
	}
}

// next submits what is prepared and takes one completion.
func (l *lab) next() (CQE, error) { return l.nextOf(l.r) }

func (l *lab) nextOf(r *Ring) (CQE, error) {
	for end := time.Now().Add(l.patience); ; {
		if batch := r.Ready(); len(batch) > 0 {
			c := batch[0]
			r.Advance(1)
			return c, nil
		}
		if time.Now().After(end) {
			return CQE{}, errLate
		}
		if errno := r.Wait(100 * time.Millisecond); errno != 0 && !Transient(errno) {
			return CQE{}, fmt.Errorf("io_uring_enter: %w", errno)
		}
	}
}

// expect takes one completion that must have this user data and result; a negated errno instead is the error.
func (l *lab) expect(userData uint64, res int32) error {
	c, err := l.next()
	if err != nil {
		return err
	}
	return matches(&c, userData, res)
}

func matches(c *CQE, userData uint64, res int32) error {
	switch {
	case c.UserData == userData && c.Res == res:
		return nil
	case c.Res < 0:
		return c.Errno()
	default:
		return fmt.Errorf("completion with user data %d and result %d, want %d and %d", c.UserData, c.Res, userData, res)
	}
}

// keep has fd closed at the end.
func (l *lab) keep(fd int) int {
	l.fds = append(l.fds, fd)
	return fd
}

// listener makes a listener and tells its address: on loopback, or in the abstract unix namespace where nothing can be
// connected over loopback (a network namespace without it, or without free ports).
func (l *lab) listener() (fd int, addr *Sockaddr, err error) {
	if fd, addr, err = l.listen(unix.AF_INET, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err == nil {
		if _, _, err = l.connected(fd, addr); err == nil {
			return fd, addr, nil
		}
	}
	return l.listen(unix.AF_UNIX, &unix.SockaddrUnix{})
}

func (l *lab) listen(domain int, at unix.Sockaddr) (fd int, addr *Sockaddr, err error) {
	if fd, err = l.socket(domain); err != nil {
		return -1, nil, err
	}
	if err = unix.Bind(fd, at); err != nil {
		return -1, nil, fmt.Errorf("binding: %w", err)
	}
	if err = unix.Listen(fd, 8); err != nil {
		return -1, nil, fmt.Errorf("listening: %w", err)
	}
	addr = Alloc[Sockaddr](l.arena)
	addr.size = uint32(len(addr.raw))
	_, _, errno := unix.Syscall(unix.SYS_GETSOCKNAME, uintptr(fd), uintptr(unsafe.Pointer(&addr.raw)), uintptr(unsafe.Pointer(&addr.size)))
	if errno != 0 {
		return -1, nil, fmt.Errorf("getsockname: %w", errno)
	}
	return fd, addr, nil
}

func (l *lab) socket(domain int) (int, error) {
	fd, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("making a socket: %w", err)
	}
	return l.keep(fd), nil
}

// dial connects a socket by plain system calls.
func (l *lab) dial(addr *Sockaddr) (int, error) {
	fd, err := l.socket(addr.domain())
	if err != nil {
		return -1, err
	}
	_, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&addr.raw)), uintptr(addr.size))
	if errno != 0 {
		return -1, fmt.Errorf("connecting: %w", errno)
	}
	return fd, nil
}

// connected makes a connection to a listener, both ends.
func (l *lab) connected(ln int, addr *Sockaddr) (a, b int, err error) {
	if a, err = l.dial(addr); err != nil {
		return -1, -1, err
	}
	if b, _, err = unix.Accept4(ln, unix.SOCK_CLOEXEC); err != nil {
		return -1, -1, fmt.Errorf("accepting: %w", err)
	}
	return a, l.keep(b), nil
}

// pair makes two connected sockets, a non-blocking: TCP, on which alone the kernel's mistakes with bundles showed, or unix
// where that cannot be.
func (l *lab) pair() (a, b int, err error) {
	ln, addr, err := l.listen(unix.AF_INET, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	if err == nil {
		a, b, err = l.connected(ln, addr)
	}
	if err != nil {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return -1, -1, fmt.Errorf("socket pair: %w", err)
		}
		a, b = l.keep(fds[0]), l.keep(fds[1])
	}
	return a, b, unix.SetNonblock(a, true)
}
