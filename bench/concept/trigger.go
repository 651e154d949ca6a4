package concept

import (
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"fooproxy/bench/sys"
)

// triggerWay is one way to wait for and read small messages.
type triggerWay struct {
	name   string
	events uint32
	// take reads what an event announces and returns the bytes and the system calls it made.
	take func(fd int32, buf []byte) (n, calls int)
}

var triggerWays = []triggerWay{
	{"level, one read for an event", unix.EPOLLIN, readOnce},
	{"edge, read until EAGAIN", unix.EPOLLIN | unix.EPOLLET, readAll},
	{"edge, stop at a short read", unix.EPOLLIN | unix.EPOLLET, readOnce},
	{"level, disarmed and armed again", unix.EPOLLIN | unix.EPOLLONESHOT, readOnce},
}

// readOnce suffices for a message that fits the buffer: less than was asked for means that the socket is empty.
func readOnce(fd int32, buf []byte) (n, calls int) {
	n, _ = sys.Read(fd, buf)
	return n, 1
}

// readAll goes on until the kernel says EAGAIN.
func readAll(fd int32, buf []byte) (n, calls int) {
	for {
		got, errno := sys.Read(fd, buf)
		calls++
		if errno != 0 || got == 0 {
			return n, calls
		}
		n += got
	}
}

// Trigger measures each way with small messages on one connection, then how often the kernel reports 64 KiB of which the
// reader takes 4 KiB per event.
func Trigger(w io.Writer, over time.Duration) error {
	fmt.Fprintf(w, "one message of 16 bytes: wait, read (the time of sending it is subtracted)\n")
	fmt.Fprintf(w, "  %-34s %14s %16s\n", "", "calls/message", "ns/message")
	for _, way := range triggerWays {
		calls, ns, err := measureWay(&way, over)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "  %-34s %14.1f %16.0f\n", way.name, calls, ns)
	}
	fmt.Fprintf(w, "\n64 KiB waiting, the reader takes 4 KiB for each event\n")
	for _, way := range triggerWays[:3:3] {
		if way.name == triggerWays[1].name {
			continue
		}
		events, left, err := partialReads(way.events)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "  %-34s %d events, %d bytes were never reported again\n", strings.TrimSuffix(way.name[:5], ","), events, left)
	}
	return nil
}

// measureWay sends, waits and reads, for a time; sending is not counted.
func measureWay(way *triggerWay, over time.Duration) (calls, ns float64, err error) {
	a, b, err := sys.Pair()
	if err != nil {
		return 0, 0, err
	}
	defer sys.Close(a)
	defer sys.Close(b)
	poll, err := sys.NewPoller()
	if err != nil {
		return 0, 0, err
	}
	defer poll.Close()
	if errno := poll.Add(b, way.events, 0, 0, 0); errno != 0 {
		return 0, 0, fmt.Errorf("epoll_ctl: %w", errno)
	}
	buf, message := make([]byte, 4096), make([]byte, 16)
	events := make([]unix.EpollEvent, 8)
	const batch = 64
	var batches sys.Batches
	var spent int64
	count, made := 0, 0
	for begin := sys.Now(); count <= batch || sys.Now()-begin < int64(over); count++ {
		if count%batch == 0 && count > 0 {
			batches.Add(spent, batch)
			spent = 0
		}
		if n, errno := sys.Send(a, message); errno != 0 || n != len(message) {
			return 0, 0, fmt.Errorf("send: %w", errno)
		}
		sent := sys.Now()
		if poll.Poll(events) != 1 {
			return 0, 0, fmt.Errorf("%s: a message was not reported", way.name)
		}
		n, reads := way.take(b, buf)
		if n != len(message) {
			return 0, 0, fmt.Errorf("%s: read %d bytes", way.name, n)
		}
		made += 1 + reads
		if way.events&unix.EPOLLONESHOT != 0 {
			if errno := poll.Modify(b, way.events, 0, 0, 0); errno != 0 {
				return 0, 0, fmt.Errorf("epoll_ctl: %w", errno)
			}
			made++
		}
		spent += sys.Now() - sent
	}
	return float64(made) / float64(count), batches.Median(), nil
}

// partialReads counts the events for 64 KiB that are read 4 KiB at a time.
func partialReads(trigger uint32) (events, left int, err error) {
	const total = 64 << 10
	a, b, err := sys.Pair()
	if err != nil {
		return 0, 0, err
	}
	defer sys.Close(a)
	defer sys.Close(b)
	poll, err := sys.NewPoller()
	if err != nil {
		return 0, 0, err
	}
	defer poll.Close()
	if n, errno := sys.Send(a, make([]byte, total)); errno != 0 || n != total {
		return 0, 0, fmt.Errorf("send: %d bytes, %w", n, errno)
	}
	if errno := poll.Add(b, trigger, 0, 0, 0); errno != 0 {
		return 0, 0, fmt.Errorf("epoll_ctl: %w", errno)
	}
	left = total
	buf := make([]byte, 4096)
	ready := make([]unix.EpollEvent, 8)
	for poll.Poll(ready) > 0 {
		events++
		n, _ := sys.Read(b, buf)
		if left -= n; n == 0 {
			break
		}
	}
	return events, left, nil
}
