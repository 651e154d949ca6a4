package proxy

import (
	"errors"
	"fmt"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Listeners that the process was given open (Config.Inherited), by systemd or by the process before it. Whoever gave them
// keeps them open, so connections that come while no proxy runs wait in their queues instead of being refused; and the file of
// a unix socket is the giver's to remove.

// InheritedAddress returns the address that a listener given to the process is bound to, or what is wrong with it.
func InheritedAddress(fd int) (string, error) {
	a, err := inheritedAddress(fd)
	if err != nil {
		return "", err
	}
	return a.String(), nil
}

func inheritedAddress(fd int) (*address, error) {
	listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err == nil && listens == 0 {
		err = errors.New("it does not listen")
	}
	kind, domain := 0, 0
	if err == nil {
		kind, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	}
	if err == nil && kind != unix.SOCK_STREAM {
		err = errors.New("it is no stream socket")
	}
	if err == nil {
		domain, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	}
	if err != nil {
		return nil, fmt.Errorf("descriptor %d is no listening socket: %w", fd, err)
	}
	switch domain {
	case unix.AF_UNIX:
		return inheritedPath(fd)
	case unix.AF_INET, unix.AF_INET6:
		return boundAddress(fd, &address{domain: domain})
	}
	return nil, fmt.Errorf("descriptor %d listens neither on TCP nor on a unix socket", fd)
}

func inheritedPath(fd int) (*address, error) {
	var raw unix.RawSockaddrUnix
	length := uint32(unsafe.Sizeof(raw))
	_, _, errno := unix.Syscall(unix.SYS_GETSOCKNAME, uintptr(fd), uintptr(unsafe.Pointer(&raw)), uintptr(unsafe.Pointer(&length)))
	if errno != 0 {
		return nil, fmt.Errorf("getsockname: %w", errno)
	}
	var path strings.Builder
	for _, c := range raw.Path {
		if c == 0 && path.Len() > 0 {
			break
		}
		if c == 0 {
			c = '@' // the first byte of an abstract name
		}
		path.WriteByte(byte(c))
	}
	return &address{domain: unix.AF_UNIX, path: path.String()}, nil
}

// shareInherited gives each loop one of the inherited listeners, or the acceptor the only one. Loops that get the same one
// share its queue, as they share a unix socket's.
func (p *Proxy) shareInherited(loops int) ([]int, error) {
	given := p.cfg.Inherited
	single := p.cfg.Accept == AcceptSingle
	switch {
	case single && len(given) > 1:
		return nil, fmt.Errorf("%d listeners were passed and one accepts for all loops; pass one, or choose --accept=%s", len(given), AcceptReuseport)
	case len(given) > loops:
		return nil, fmt.Errorf("%d listeners were passed to %d loops, so that nobody would accept from some; pass fewer, or raise --loops", len(given), loops)
	case single:
		loops = 1
	}
	var names []string
	for i, fd := range given {
		a, err := inheritedAddress(fd)
		if err != nil {
			return nil, err
		}
		if i > 0 && (a.domain == unix.AF_UNIX) != (p.listen.domain == unix.AF_UNIX) {
			return nil, errors.New("both TCP and unix sockets were passed; pass one kind")
		}
		if name := a.String(); i == 0 || name != names[len(names)-1] {
			names = append(names, name)
		}
		if a.domain != unix.AF_UNIX {
			setTCPOptions(fd, &p.cfg)
		}
		_ = unix.SetNonblock(fd, true)
		p.listen = a
	}
	p.info.Listen = strings.Join(names, ",")
	var fds []int
	for i := range loops {
		fd, err := unix.FcntlInt(uintptr(given[i%len(given)]), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			closeAll(fds)
			return nil, fmt.Errorf("share the listener: %w", err)
		}
		fds = append(fds, fd)
	}
	closeAll(given)
	return fds, nil
}
