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

// Measure returns the time of one round trip, for messages of size bytes: the median of batches made in about the given time. The caller's thread
// must be locked and, to be comparable, pinned.
func Measure(size int, over time.Duration) (time.Duration, error) {
	a, b, err := sys.Pair()
	if err != nil {
		return 0, err
	}
	defer sys.Close(a)
	defer sys.Close(b)
	buf := make([]byte, max(size, 1))
	const batch = 64 // about half a millisecond
	var batches sys.Batches
	for begin := sys.Now(); sys.Now()-begin < int64(over); {
		start := sys.Now()
		for range batch {
			if err := carry(a, b, buf); err != nil {
				return 0, err
			}
			if err := carry(b, a, buf); err != nil {
				return 0, err
			}
		}
		batches.Add(sys.Now()-start, batch)
	}
	return time.Duration(batches.Median()), nil
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
