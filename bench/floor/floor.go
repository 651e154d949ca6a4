// Package floor measures the least that relaying a message can cost here: one thread sends a small message through a
// loopback TCP connection, receives it, sends one back and receives that, without ever waiting. A proxy does two receives
// and two sends per round trip as well, so no proxy can be cheaper per message unless it sends several at once.
package floor

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"fooproxy/bench/sys"
)

// Measure returns the time of one round trip, for messages of size bytes, over about the given time. The caller's thread
// must be locked and, to be comparable, pinned.
func Measure(size int, over time.Duration) (time.Duration, error) {
	a, b, err := pair()
	if err != nil {
		return 0, err
	}
	defer sys.Close(a)
	defer sys.Close(b)
	buf := make([]byte, max(size, 1))
	trips := int64(0)
	begin := sys.Now()
	for {
		for range 256 {
			if err := carry(a, b, buf); err != nil {
				return 0, err
			}
			if err := carry(b, a, buf); err != nil {
				return 0, err
			}
		}
		trips += 256
		if took := sys.Now() - begin; took > int64(over) {
			return time.Duration(took / trips), nil
		}
	}
}

// carry sends b from one socket and receives it on the other. On loopback a sent segment has arrived when send returns.
func carry(from, to int32, b []byte) error {
	if n, errno := sys.Send(from, b); errno != 0 || n != len(b) {
		return fmt.Errorf("send: %d of %d bytes, %w", n, len(b), errno)
	}
	for got := 0; got < len(b); {
		n, errno := sys.Read(to, b[got:])
		switch {
		case errno == unix.EAGAIN:
		case errno != 0 || n == 0:
			return fmt.Errorf("receive: %w", errno)
		default:
			got += n
		}
	}
	return nil
}

// pair connects two sockets over 127.0.0.1.
func pair() (a, b int32, err error) {
	any, err := sys.Resolve("127.0.0.1:0")
	if err != nil {
		return -1, -1, err
	}
	listener, err := any.Listen(1)
	if err != nil {
		return -1, -1, err
	}
	defer sys.Close(listener)
	addr, err := sys.Resolve(fmt.Sprintf("127.0.0.1:%d", sys.LocalPort(listener)))
	if err != nil {
		return -1, -1, err
	}
	a, errno := addr.Socket()
	if errno != 0 {
		return -1, -1, fmt.Errorf("socket: %w", errno)
	}
	if errno := addr.Connect(a); errno != 0 && errno != unix.EINPROGRESS {
		return -1, -1, fmt.Errorf("connect: %w", errno)
	}
	for {
		b, errno = sys.Accept(listener)
		if errno == 0 {
			break
		}
		if errno != unix.EAGAIN {
			sys.Close(a)
			return -1, -1, fmt.Errorf("accept: %w", errno)
		}
	}
	for _, fd := range []int32{a, b} {
		sys.SetOption(fd, unix.SOL_TCP, unix.TCP_NODELAY, 1)
	}
	return a, b, nil
}
