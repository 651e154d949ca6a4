package sys

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Pair connects two non-blocking sockets over loopback TCP, with TCP_NODELAY.
func Pair() (a, b int32, err error) {
	here := func(f func() error) error { return f() }
	return connect(here, here, "127.0.0.1")
}

// PairOver is Pair with a in one namespace and b in another, where it has the address host.
func PairOver(from, to *Namespace, host string) (a, b int32, err error) {
	return connect(from.Do, to.Do, host)
}

func connect(from, to func(f func() error) error, host string) (a, b int32, err error) {
	var listener int32
	err = to(func() (err error) {
		addr, err := Resolve(host + ":0")
		if err == nil {
			listener, err = addr.Listen(1)
		}
		return err
	})
	if err != nil {
		return -1, -1, err
	}
	defer Close(listener)
	err = from(func() (err error) {
		a, err = dial(fmt.Sprintf("%s:%d", host, LocalPort(listener)))
		return err
	})
	if err != nil {
		return -1, -1, err
	}
	for {
		var errno unix.Errno
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

// dial begins to connect a socket.
func dial(text string) (int32, error) {
	addr, err := Resolve(text)
	if err != nil {
		return -1, err
	}
	fd, errno := addr.Socket()
	if errno != 0 {
		return -1, fmt.Errorf("socket: %w", errno)
	}
	if errno := addr.Connect(fd); errno != 0 && errno != unix.EINPROGRESS {
		Close(fd)
		return -1, fmt.Errorf("connect to %s: %w", text, errno)
	}
	return fd, nil
}
