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

// Splice measures moving a stream between two TCP connections, in nanoseconds per KiB of the thread that moves. The other
// ends are served in the same thread but not counted.
func Splice(w io.Writer, over time.Duration) error {
	fmt.Fprintf(w, "%-34s %12s\n", "one bulk stream, TCP to TCP", "ns/KiB")
	movers := []mover{copier(64 << 10), copier(256 << 10)}
	for _, size := range []int{64 << 10, 1 << 20} {
		m, pipe, err := splicer(size)
		if err != nil {
			return err
		}
		defer unix.Close(pipe[0])
		defer unix.Close(pipe[1])
		movers = append(movers, m)
	}
	for _, m := range movers {
		ns, err := measureMover(&m, over)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		fmt.Fprintf(w, "  %-32s %12.0f\n", m.name, ns)
	}
	return nil
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

// splicer moves pages through a pipe of a size; the bytes are never in this process.
func splicer(size int) (mover, [2]int, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		return mover{}, fds, fmt.Errorf("pipe: %w", err)
	}
	if _, err := unix.FcntlInt(uintptr(fds[1]), unix.F_SETPIPE_SZ, size); err != nil {
		unix.Close(fds[0])
		unix.Close(fds[1])
		return mover{}, fds, fmt.Errorf("a pipe of %d bytes: %w", size, err)
	}
	const flags = unix.SPLICE_F_MOVE | unix.SPLICE_F_NONBLOCK
	return mover{fmt.Sprintf("splice, %d KiB pipe", size>>10), func(from, to int32) (int, error) {
		n, err := unix.Splice(int(from), nil, fds[1], nil, size, flags)
		if err != nil {
			return 0, err
		}
		for left := n; left > 0; {
			out, err := unix.Splice(fds[0], nil, int(to), nil, int(left), flags)
			if err != nil {
				return 0, err
			}
			left -= out
		}
		return int(n), nil
	}}, fds, nil
}

// measureMover keeps 128 KiB on the way: filled in at one end, moved (this is timed), dropped at the other.
func measureMover(m *mover, over time.Duration) (nsPerKiB float64, err error) {
	source, from, err := sys.Pair()
	if err != nil {
		return 0, err
	}
	defer sys.Close(source)
	defer sys.Close(from)
	to, sink, err := sys.Pair()
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
