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

// path is how a stream comes in and goes out again.
type path struct {
	name    string
	in, out func() (a, b int32, err error) // a sends, b receives
}

// Splice measures moving a stream between two connections in nanoseconds per KiB of the thread that moves: over loopback and over
// a veth pair between two namespaces, where TCP runs the given congestion control, and between unix sockets. The other ends are
// served in the same thread but not counted. Without the right to make namespaces (CAP_SYS_ADMIN) it takes the machine's
// loopback, and a congestion control of the caller's choice is an error.
func Splice(w io.Writer, over time.Duration, congestion string) error {
	paths, done, err := layPaths(w, congestion)
	if err != nil {
		return err
	}
	defer done()
	for _, p := range paths {
		fmt.Fprintf(w, "%-34s %12s\n", "one bulk stream, "+p.name, "ns/KiB")
		movers, stop, err := allMovers()
		if err != nil {
			return err
		}
		for _, m := range movers {
			ns, err := measureMover(&m, &p, over)
			if err != nil {
				stop()
				return fmt.Errorf("%s, %s: %w", p.name, m.name, err)
			}
			fmt.Fprintf(w, "  %-32s %12.0f\n", m.name, ns)
		}
		stop()
		n, err := altered(&p)
		if err != nil {
			return fmt.Errorf("%s, altered: %w", p.name, err)
		}
		fmt.Fprintf(w, "  %d of %d bytes that their sender changes after they were looked at go on as changed\n", n, alteredSize)
	}
	return nil
}

// layPaths makes the namespaces, which go with their last socket and with done.
func layPaths(w io.Writer, congestion string) (paths []path, done func(), err error) {
	local := path{"unix sockets", unixPair, unixPair}
	here, err := sys.NewNamespace(congestion)
	if err != nil {
		if congestion != "" {
			return nil, nil, fmt.Errorf("congestion control %s: %w", congestion, err)
		}
		fmt.Fprintf(w, "without veth, over the machine's loopback: %v\n", err)
		return []path{{"TCP over loopback", sys.Pair, sys.Pair}, local}, func() {}, nil
	}
	there, err := sys.NewNamespace(congestion)
	if err != nil {
		here.Close()
		return nil, nil, err
	}
	done = func() { here.Close(); there.Close() }
	loopback := func() (a, b int32, err error) { return sys.PairOver(here, here, "127.0.0.1") }
	if err := here.Join(there); err != nil {
		fmt.Fprintf(w, "without veth: %v\n", err)
		return []path{{"TCP over loopback", loopback, loopback}, local}, done, nil
	}
	return []path{
		{"TCP over loopback", loopback, loopback},
		{
			"TCP over veth",
			func() (a, b int32, err error) { return sys.PairOver(there, here, sys.CableHere) },
			func() (a, b int32, err error) { return sys.PairOver(here, there, sys.CableThere) },
		},
		local,
	}, done, nil
}

// allMovers are the ways to move; stop closes their pipes.
func allMovers() (movers []mover, stop func(), err error) {
	var stops []func()
	stop = func() {
		for _, f := range stops {
			f()
		}
	}
	movers = []mover{copier(64 << 10), copier(256 << 10), copier(512 << 10)}
	for _, size := range []int{64 << 10, 1 << 20} {
		for _, make := range []func(size int) (mover, func(), error){
			func(size int) (mover, func(), error) { return splicer(size, false) },
			func(size int) (mover, func(), error) { return splicer(size, true) },
			peeker,
		} {
			m, closePipes, err := make(size)
			if err != nil {
				stop()
				return nil, nil, err
			}
			movers, stops = append(movers, m), append(stops, closePipes)
		}
	}
	return movers, stop, nil
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
	if !inspect {
		m, stop, err = lookingSplicer(size, nil)
		m.name = fmt.Sprintf("splice, %d KiB pipe", size>>10)
		return m, stop, err
	}
	m, stop, err = lookingSplicer(size, func([]byte) error { return nil })
	m.name = fmt.Sprintf("splice + tee + read, %d KiB pipe", size>>10)
	return m, stop, err
}

// lookingSplicer is a splicer that shows what it moves to inspect, unless that is nil, before it goes on.
func lookingSplicer(size int, inspect func(seen []byte) error) (m mover, stop func(), err error) {
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
	seen := make([]byte, size)
	return mover{move: func(from, to int32) (int, error) {
		n, err := unix.Splice(int(from), nil, through[1], nil, size, spliceFlags)
		if err != nil {
			return 0, err
		}
		if inspect != nil {
			if err := look(through[0], aside, seen[:n]); err != nil {
				return 0, err
			}
			if err := inspect(seen[:n]); err != nil {
				return 0, err
			}
		}
		return int(n), empty(through[0], to, int(n))
	}}, stop, nil
}

// peeker copies what waits in the socket without taking it off, for inspection, and then moves its pages through a pipe.
func peeker(size int) (m mover, stop func(), err error) {
	var through [2]int
	if err := newPipe(&through, size); err != nil {
		return mover{}, nil, err
	}
	stop = func() {
		unix.Close(through[0])
		unix.Close(through[1])
	}
	seen := make([]byte, size)
	return mover{fmt.Sprintf("peek + splice, %d KiB pipe", size>>10), func(from, to int32) (int, error) {
		total, errno := sys.Peek(from, seen)
		if errno != 0 {
			return 0, errno
		}
		for in := 0; in < total; {
			n, err := unix.Splice(int(from), nil, through[1], nil, total-in, spliceFlags)
			if err != nil {
				return 0, err
			}
			in += int(n)
			if err := empty(through[0], to, int(n)); err != nil {
				return 0, err
			}
		}
		return total, nil
	}}, stop, nil
}

// empty moves the n bytes in a pipe to a socket.
func empty(pipe int, to int32, n int) error {
	for n > 0 {
		out, err := unix.Splice(pipe, nil, int(to), nil, n, spliceFlags)
		if err != nil {
			return err
		}
		n -= int(out)
	}
	return nil
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

// open makes the connections on both sides of a mover, which takes bytes from one to the other.
func (p *path) open() (source, from, to, sink int32, stop func(), err error) {
	if source, from, err = p.in(); err != nil {
		return -1, -1, -1, -1, nil, err
	}
	if to, sink, err = p.out(); err != nil {
		sys.Close(source)
		sys.Close(from)
		return -1, -1, -1, -1, nil, err
	}
	return source, from, to, sink, func() {
		for _, fd := range []int32{source, from, to, sink} {
			sys.Close(fd)
		}
	}, nil
}

// measureMover keeps 128 KiB on the way: filled in at one end, moved (this is timed), dropped at the other.
func measureMover(m *mover, p *path, over time.Duration) (nsPerKiB float64, err error) {
	source, from, to, sink, stop, err := p.open()
	if err != nil {
		return 0, err
	}
	defer stop()
	for _, fd := range []int32{source, to} { // room for all that is on the way, whatever congestion control lets out at once
		sys.SetOption(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 1<<20)
	}
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
