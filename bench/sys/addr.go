package sys

import (
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Addr is a resolved stream address in the kernel's own form, so that connecting to it allocates nothing.
type Addr struct {
	text   string
	family int
	raw    [unix.SizeofSockaddrAny]byte
	size   uint32
}

// Resolve reads "host:port", "port" (on 127.0.0.1) or "unix:/path". A host name is looked up once, IPv4 preferred.
func Resolve(text string) (*Addr, error) {
	a := &Addr{text: text}
	if path, ok := strings.CutPrefix(text, "unix:"); ok {
		return a, a.setUnix(path)
	}
	if text != "" && !strings.Contains(text, ":") {
		text = "127.0.0.1:" + text
	}
	tcp, err := net.ResolveTCPAddr("tcp", text)
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", text, err)
	}
	a.setTCP(tcp.IP, tcp.Port)
	return a, nil
}

func (a *Addr) setUnix(path string) error {
	if path == "" || len(path) > 107 {
		return fmt.Errorf("address %q: a unix socket's path has 1 to 107 bytes", a.text)
	}
	a.family = unix.AF_UNIX
	binary.NativeEndian.PutUint16(a.raw[:], unix.AF_UNIX)
	copy(a.raw[2:], path)
	a.size = uint32(2 + len(path) + 1)
	return nil
}

func (a *Addr) setTCP(ip net.IP, port int) {
	binary.BigEndian.PutUint16(a.raw[2:], uint16(port))
	if ip == nil {
		ip = net.IPv4(127, 0, 0, 1)
	}
	if v4 := ip.To4(); v4 != nil {
		a.family, a.size = unix.AF_INET, unix.SizeofSockaddrInet4
		copy(a.raw[4:], v4)
	} else {
		a.family, a.size = unix.AF_INET6, unix.SizeofSockaddrInet6
		copy(a.raw[8:], ip.To16())
	}
	binary.NativeEndian.PutUint16(a.raw[:], uint16(a.family))
}

// String is the address as it was given.
func (a *Addr) String() string { return a.text }

// IsTCP tells TCP from unix sockets.
func (a *Addr) IsTCP() bool { return a.family != unix.AF_UNIX }

// IsLoopback4 tells whether the address lies in 127.0.0.0/8.
func (a *Addr) IsLoopback4() bool { return a.family == unix.AF_INET && a.raw[4] == 127 }

// Socket makes a non-blocking, close-on-exec stream socket for the address.
func (a *Addr) Socket() (int32, unix.Errno) {
	r, _, e := unix.RawSyscall(unix.SYS_SOCKET, uintptr(a.family), unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if e != 0 {
		return -1, e
	}
	return int32(r), 0
}

// Connect starts connecting fd; EINPROGRESS is the normal answer of TCP.
func (a *Addr) Connect(fd int32) unix.Errno {
	_, _, e := unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&a.raw[0])), uintptr(a.size))
	return e
}

// BindSource binds a TCP socket to 127.0.0.host before it connects and leaves the choice of the port to connect(2), which
// can then use every port once per pair of addresses: many short connections do not run out of ports.
func BindSource(fd int32, host byte) unix.Errno {
	if e := SetOption(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); e != 0 {
		return e
	}
	raw := unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: [4]byte{127, 0, 0, host}}
	_, _, e := unix.RawSyscall(unix.SYS_BIND, uintptr(fd), uintptr(unsafe.Pointer(&raw)), unix.SizeofSockaddrInet4)
	return e
}

// Listen opens a non-blocking listening socket. A TCP port may be shared by several listeners (SO_REUSEPORT); the file of
// a unix socket is removed first.
func (a *Addr) Listen(backlog int) (int32, error) {
	fd, e := a.Socket()
	if e != 0 {
		return -1, fmt.Errorf("socket for %s: %w", a, e)
	}
	if a.IsTCP() {
		SetOption(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
		SetOption(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	} else {
		_ = unix.Unlink(strings.TrimPrefix(a.text, "unix:"))
	}
	if _, _, e := unix.RawSyscall(unix.SYS_BIND, uintptr(fd), uintptr(unsafe.Pointer(&a.raw[0])), uintptr(a.size)); e != 0 {
		Close(fd)
		return -1, fmt.Errorf("bind %s: %w", a, e)
	}
	if err := unix.Listen(int(fd), backlog); err != nil {
		Close(fd)
		return -1, fmt.Errorf("listen on %s: %w", a, err)
	}
	return fd, nil
}

// LocalPort is the TCP port a socket is bound to, 0 for unix sockets.
func LocalPort(fd int32) int {
	sa, err := unix.Getsockname(int(fd))
	if err != nil {
		return 0
	}
	switch s := sa.(type) {
	case *unix.SockaddrInet4:
		return s.Port
	case *unix.SockaddrInet6:
		return s.Port
	}
	return 0
}
