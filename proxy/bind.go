package proxy

import (
	"bytes"
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// How long to wait for an address that is in use: not long while a process lives that has it, for it may be one that is just
// being stopped, and longer when there is none, for it is then free as soon as the kernel has cleared away the ring of one
// that was killed. That takes some ten to hundreds of ms.
const (
	bindPatience     = 500 * time.Millisecond
	bindPatienceDead = 5 * time.Second
	bindRetry        = 20 * time.Millisecond
)

// bindPatiently binds a listening socket.
func bindPatiently(fd int, a *address) error {
	errno := bind(fd, a)
	if errno == unix.EADDRINUSE && a.domain == unix.AF_UNIX && abandoned(a) {
		_ = unix.Unlink(a.path)
		errno = bind(fd, a)
	}
	var h holder
	for began := time.Now(); errno == unix.EADDRINUSE; errno = bind(fd, a) {
		if waited := time.Since(began); waited >= bindPatience {
			if a.domain != unix.AF_UNIX {
				h = portHolder(a.ip.Port())
			}
			if h.pid != 0 || !h.certain || waited >= bindPatienceDead {
				break
			}
		}
		time.Sleep(bindRetry)
		if a.domain == unix.AF_UNIX && abandoned(a) {
			_ = unix.Unlink(a.path)
		}
	}
	if errno != 0 {
		return bindError(a, errno, h)
	}
	return nil
}

func bind(fd int, a *address) syscall.Errno {
	_, _, errno := unix.Syscall(unix.SYS_BIND, uintptr(fd), uintptr(unsafe.Pointer(&a.raw)), uintptr(a.length))
	return errno
}

// abandoned says whether a unix socket's file is left over from a process that has gone: the kernel knows no socket of that
// name. To connect would tell too, but a live listener would take that for a client.
func abandoned(a *address) bool {
	var info unix.Stat_t
	if unix.Stat(a.path, &info) != nil || info.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return false
	}
	sockets, err := os.ReadFile("/proc/net/unix")
	return err == nil && !bytes.Contains(sockets, []byte(" "+a.path+"\n"))
}

// bindError says what to do about an address that cannot be had.
func bindError(a *address, err error, h holder) error {
	hint := ""
	switch err {
	case unix.EADDRINUSE:
		who := "another process"
		switch {
		case h.pid != 0:
			who = fmt.Sprintf("%s (process %d)", h.name, h.pid)
		case h.certain:
			return fmt.Errorf("cannot listen on %s: %w: no process listens there any more, the kernel has yet to clear one away; try again", a, err)
		}
		hint = ": " + who + " listens there; stop it or choose another address with --listen or --port"
	case unix.EACCES:
		hint = ": ports below 1024 need root or CAP_NET_BIND_SERVICE; choose another with --port"
		if a.domain == unix.AF_UNIX {
			hint = ": its directory is not writable"
		}
	case unix.EADDRNOTAVAIL:
		hint = ": no interface of this host has that address"
	}
	return fmt.Errorf("cannot listen on %s: %w%s", a, err, hint)
}
