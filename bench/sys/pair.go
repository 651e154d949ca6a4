package sys

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Pair connects two non-blocking sockets over loopback TCP, with TCP_NODELAY.
func Pair() (a, b int32, err error) {
	addr, err := Resolve("127.0.0.1:0")
	if err != nil {
		return -1, -1, err
	}
	listener, err := addr.Listen(1)
	if err != nil {
		return -1, -1, err
	}
	defer Close(listener)
	if addr, err = Resolve(fmt.Sprintf("127.0.0.1:%d", LocalPort(listener))); err != nil {
		return -1, -1, err
	}
	a, errno := addr.Socket()
	if errno != 0 {
		return -1, -1, fmt.Errorf("socket: %w", errno)
	}
	if errno := addr.Connect(a); errno != 0 && errno != unix.EINPROGRESS {
		Close(a)
		return -1, -1, fmt.Errorf("connect: %w", errno)
	}
	for {
		if b, errno = Accept(listener); errno == 0 {
			break
		}
		if errno != unix.EAGAIN {
			Close(a)
			return -1, -1, fmt.Errorf("accept: %w", errno)
		}
	}
	for _, fd := range []int32{a, b} {
		SetOption(fd, unix.SOL_TCP, unix.TCP_NODELAY, 1)
	}
	return a, b, nil
}
