package ring

import (
	"errors"
	"fmt"
	"time"

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
	bufs     []*BufRing
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
	for _, b := range l.bufs {
		_ = unmapMemory(b.raw)
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

// listener makes a TCP listener on loopback and an address to connect to.
func (l *lab) listener() (fd int, addr unix.Sockaddr, err error) {
	if fd, err = l.socket(); err != nil {
		return -1, nil, err
	}
	if err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return -1, nil, fmt.Errorf("binding to loopback: %w", err)
	}
	if err = unix.Listen(fd, 8); err != nil {
		return -1, nil, fmt.Errorf("listening on loopback: %w", err)
	}
	addr, err = unix.Getsockname(fd)
	return fd, addr, err
}

func (l *lab) socket() (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("making a socket: %w", err)
	}
	return l.keep(fd), nil
}

// dial connects a socket by plain system calls.
func (l *lab) dial(addr unix.Sockaddr) (int, error) {
	fd, err := l.socket()
	if err != nil {
		return -1, err
	}
	if err := unix.Connect(fd, addr); err != nil {
		return -1, fmt.Errorf("connecting over loopback: %w", err)
	}
	return fd, nil
}

// pair makes two connected TCP sockets, a non-blocking; the kernel's mistakes with bundles showed on TCP only.
func (l *lab) pair() (a, b int, err error) {
	ln, addr, err := l.listener()
	if err != nil {
		return -1, -1, err
	}
	if a, err = l.dial(addr); err != nil {
		return -1, -1, err
	}
	if b, _, err = unix.Accept4(ln, unix.SOCK_CLOEXEC); err != nil {
		return -1, -1, fmt.Errorf("accepting over loopback: %w", err)
	}
	l.keep(b)
	return a, b, unix.SetNonblock(a, true)
}
