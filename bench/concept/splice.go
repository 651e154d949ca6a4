package concept

import (
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"

	"fooproxy/bench/sys"
)

// mover takes what is readable at from and brings it to to; n is how many bytes arrived there.
type mover struct {
	name string
	move func(from, to int32) (n int, err error)
}

// spliceFlags never wait; whether a socket does is up to its own mode.
const spliceFlags = unix.SPLICE_F_MOVE | unix.SPLICE_F_NONBLOCK

// Splice measures moving a stream between two connections, TCP and unix, in nanoseconds per KiB of the thread that moves. The
// other ends are served in the same thread but not counted.
func Splice(w io.Writer, over time.Duration) error {
	for _, kind := range []struct {
		name string
		pair func() (a, b int32, err error)
	}{{"TCP to TCP", sys.Pair}, {"unix to unix", unixPair}} {
		fmt.Fprintf(w, "%-34s %12s\n", "one bulk stream, "+kind.name, "ns/KiB")
		movers := []mover{copier(64 << 10), copier(256 << 10)}
		for _, size := range []int{64 << 10, 1 << 20} {
			for _, inspect := range []bool{false, true} {
				m, stop, err := splicer(size, inspect)
				if err != nil {
					return err
				}
				defer stop()
				movers = append(movers, m)
			}
		}
		for _, m := range movers {
			ns, err := measureMover(&m, kind.pair, over)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", kind.name, m.name, err)
			}
			fmt.Fprintf(w, "  %-32s %12.0f\n", m.name, ns)
		}
	}
	return nil
}

func unixPair() (a, b int32, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	return int32(fds[0]), int32(fds[1]), err
}

func copier(size int) mover {
	buf := make([]byte, size)
	return mover{fmt.Sprintf("receive + send, %d KiB buffer", size>>10), func(from, to int32) (int, error) {
		n, errno := sys.Read(from, buf)
		if errno != 0 {
			return 0, errno
		}
		sent, errno := sys.Send(to, buf[:n])
		if errno != 0 || sent != n {
			return 0, fmt.Errorf("sent %d of %d: %w", sent, n, errno)
		}
		return n, nil
	}}
}

// splicer moves pages through a pipe of a size. To inspect the bytes, tee(2) lets a second pipe have the same pages, which are
// read from there: one copy instead of two.
func splicer(size int, inspect bool) (m mover, stop func(), err error) {
	var through, aside [2]int
	for _, fds := range []*[2]int{&through, &aside} {
		if err := newPipe(fds, size); err != nil {
			return mover{}, nil, err
		}
	}
	stop = func() {
		for _, fd := range []int{through[0], through[1], aside[0], aside[1]} {
			unix.Close(fd)
		}
	}
	name, seen := "splice", make([]byte, size)
	if inspect {
		name = "splice + tee + read"
	}
	return mover{fmt.Sprintf("%s, %d KiB pipe", name, size>>10), func(from, to int32) (int, error) {
		n, err := unix.Splice(int(from), nil, through[1], nil, size, spliceFlags)
		if err != nil {
			return 0, err
		}
		if inspect {
			if err := look(through[0], aside, seen[:n]); err != nil {
				return 0, err
			}
		}
		for left := n; left > 0; {
			out, err := unix.Splice(through[0], nil, int(to), nil, int(left), spliceFlags)
			if err != nil {
				return 0, err
			}
			left -= out
		}
		return int(n), nil
	}}, stop, nil
}

// look reads what is in a pipe without taking it out.
func look(pipe int, aside [2]int, into []byte) error {
	n, err := unix.Tee(pipe, aside[1], len(into), unix.SPLICE_F_NONBLOCK)
	if err != nil || int(n) != len(into) {
		return fmt.Errorf("tee of %d bytes: %d, %w", len(into), n, err)
	}
	for len(into) > 0 {
		got, err := unix.Read(aside[0], into)
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		into = into[got:]
	}
	return nil
}

func newPipe(fds *[2]int, size int) error {
	if err := unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		return fmt.Errorf("pipe: %w", err)
	}
	if _, err := unix.FcntlInt(uintptr(fds[1]), unix.F_SETPIPE_SZ, size); err != nil {
		return fmt.Errorf("a pipe of %d bytes: %w", size, err)
	}
	return nil
}

// measureMover keeps 128 KiB on the way: filled in at one end, moved (this is timed), dropped at the other.
func measureMover(m *mover, pair func() (a, b int32, err error), over time.Duration) (nsPerKiB float64, err error) {
	source, from, err := pair()
	if err != nil {
		return 0, err
	}
	defer sys.Close(source)
	defer sys.Close(from)
	to, sink, err := pair()
	if err != nil {
		return 0, err
	}
	defer sys.Close(to)
	defer sys.Close(sink)
	data, drop := make([]byte, 128<<10), make([]byte, 1<<20)
	var batches sys.Batches
	for begin := sys.Now(); sys.Now()-begin < int64(over); {
		filled, errno := sys.Send(source, data)
		if errno != 0 {
			return 0, errno
		}
		var spent int64
		for left := filled; left > 0; {
			start := sys.Now()
			n, err := m.move(from, to)
			took := sys.Now() - start
			if err == unix.EAGAIN {
				continue // the segment is on its way
			}
			if err != nil {
				return 0, err
			}
			spent += took
			left -= n
			if err := dropAll(sink, drop, n); err != nil {
				return 0, err
			}
		}
		batches.Add(spent, int64(filled))
	}
	return batches.Median() * 1024, nil
}

// dropAll takes n bytes off a socket.
func dropAll(fd int32, buf []byte, n int) error {
	for n > 0 {
		got, errno := sys.Read(fd, buf)
		if errno == unix.EAGAIN {
			continue
		}
		if errno != 0 {
			return errno
		}
		n -= got
	}
	return nil
}
