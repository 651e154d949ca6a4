package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// listeners are one non-blocking descriptor per loop.
type listeners struct {
	fds     []int32
	events  uint32 // what each is to be registered with epoll for
	addr    string
	cleanup func()
}

// listen opens n listeners of one address: "host:port", "port" or "unix:/path". TCP ones have queues of their own
// (SO_REUSEPORT), a unix socket cannot and is one queue for all loops, of which one is woken per connection.
func listen(addr string, n int) (listeners, error) {
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		return listenUnix(path, n)
	}
	if addr == "" || !strings.Contains(addr, ":") {
		addr = ":" + addr
	}
	ls := listeners{events: unix.EPOLLIN, cleanup: func() {}}
	// Alone and without SO_REUSEPORT first: with it, two servers of one user would share a port without noticing.
	first, err := listenOne("tcp", addr, false)
	if err != nil {
		return ls, err
	}
	ls.addr = first.addr
	if n == 1 {
		ls.fds = []int32{first.fd}
		return ls, nil
	}
	_ = unix.Close(int(first.fd))
	for range n {
		one, err := listenOne("tcp", first.addr, true)
		if err != nil {
			for _, fd := range ls.fds {
				_ = unix.Close(int(fd))
			}
			return ls, err
		}
		ls.fds = append(ls.fds, one.fd)
	}
	return ls, nil
}

func listenUnix(path string, n int) (listeners, error) {
	removeStale(path)
	one, err := listenOne("unix", path, false)
	if err != nil {
		return listeners{}, err
	}
	ls := listeners{fds: []int32{one.fd}, events: unix.EPOLLIN, addr: "unix:" + path, cleanup: func() { _ = os.Remove(path) }}
	if n > 1 {
		ls.events |= unix.EPOLLEXCLUSIVE
	}
	for range n - 1 {
		fd, err := unix.FcntlInt(uintptr(one.fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			for _, fd := range ls.fds {
				_ = unix.Close(int(fd))
			}
			ls.cleanup()
			return ls, err
		}
		ls.fds = append(ls.fds, int32(fd))
	}
	return ls, nil
}

// removeStale removes the file of a unix socket that nobody listens on.
func removeStale(path string) {
	info, err := os.Lstat(path)
	if err != nil || info.Mode()&fs.ModeSocket == 0 {
		return
	}
	c, err := net.Dial("unix", path)
	if err == nil {
		_ = c.Close()
		return
	}
	if errors.Is(err, unix.ECONNREFUSED) {
		_ = os.Remove(path)
	}
}

type listener struct {
	fd   int32
	addr string
}

// listenOne listens with Go's resolver and dual-stack rules, and takes the descriptor out of Go's hands. Accepted sockets
// inherit TCP_NODELAY, which saves a call for each.
func listenOne(network, addr string, reuse bool) (listener, error) {
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		if ctl := raw.Control(func(fd uintptr) {
			if network == "tcp" {
				err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
			}
			if err == nil && reuse {
				err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
			}
		}); ctl != nil {
			return ctl
		}
		return err
	}}
	config.SetMultipathTCP(false)
	ln, err := config.Listen(context.Background(), network, addr)
	if err != nil {
		return listener{}, err
	}
	if u, ok := ln.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	defer ln.Close()
	file, ok := ln.(interface {
		SyscallConn() (syscall.RawConn, error)
	})
	if !ok {
		return listener{}, fmt.Errorf("listen %s: %T has no descriptor", addr, ln)
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return listener{}, err
	}
	l := listener{addr: ln.Addr().String()}
	var dup int
	var dupErr error
	if err := raw.Control(func(fd uintptr) { dup, dupErr = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return listener{}, err
	}
	l.fd = int32(dup)
	return l, dupErr
}

// tryCPU says why the process cannot run on a CPU, or nil.
func tryCPU(cpu int) error {
	var have unix.CPUSet
	if err := unix.SchedGetaffinity(0, &have); err != nil {
		return err
	}
	if cpu < 0 || !have.IsSet(cpu) {
		return fmt.Errorf("CPU %d is not among the %d that this process may use", cpu, runtime.NumCPU())
	}
	return nil
}
