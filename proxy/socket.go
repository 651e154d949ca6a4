package proxy

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// address is where to listen or connect: the socket's domain and the kernel's form of the address.
type address struct {
	domain int
	ip     netip.AddrPort // zero for a unix socket
	path   string         // of a unix socket
	raw    unix.RawSockaddrAny
	length uint32
	reno   bool // sockets that connect to it run Reno
}

func (a *address) String() string {
	if a.domain == unix.AF_UNIX {
		return "unix:" + a.path
	}
	return a.ip.String()
}

// bytes is the address as connect(2) takes it.
func (a *address) bytes() []byte { return unsafe.Slice((*byte)(unsafe.Pointer(&a.raw)), a.length) }

// parseAddress reads "ip:port" or "unix:/path". An empty host means all addresses.
func parseAddress(text string) (*address, error) {
	if path, ok := strings.CutPrefix(text, "unix:"); ok {
		return unixAddress(path)
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return nil, fmt.Errorf("%q is neither host:port nor unix:/path", text)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("%q: the port must be a number from 0 to 65535", text)
	}
	var ip netip.Addr
	switch {
	case host != "":
		if ip, err = netip.ParseAddr(host); err != nil {
			return nil, fmt.Errorf("%q: the host must be an IP address", text)
		}
	case haveIPv6():
		ip = netip.IPv6Unspecified()
	default:
		ip = netip.IPv4Unspecified()
	}
	return ipAddress(netip.AddrPortFrom(ip.Unmap(), uint16(number))), nil
}

func haveIPv6() bool {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	_ = unix.Close(fd)
	return true
}

func ipAddress(ap netip.AddrPort) *address {
	a := &address{ip: ap}
	port := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, ap.Port()))
	if ap.Addr().Is4() {
		a.domain = unix.AF_INET
		sa := (*unix.RawSockaddrInet4)(unsafe.Pointer(&a.raw))
		*sa = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: port, Addr: ap.Addr().As4()}
		a.length = unix.SizeofSockaddrInet4
		return a
	}
	a.domain = unix.AF_INET6
	sa := (*unix.RawSockaddrInet6)(unsafe.Pointer(&a.raw))
	*sa = unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: port, Addr: ap.Addr().As16()}
	if zone := ap.Addr().Zone(); zone != "" {
		if ifc, err := net.InterfaceByName(zone); err == nil {
			sa.Scope_id = uint32(ifc.Index)
		}
	}
	a.length = unix.SizeofSockaddrInet6
	return a
}

func unixAddress(path string) (*address, error) {
	a := &address{domain: unix.AF_UNIX, path: path}
	sa := (*unix.RawSockaddrUnix)(unsafe.Pointer(&a.raw))
	if path == "" || len(path) >= len(sa.Path) {
		return nil, fmt.Errorf("the path of unix:%s must have 1 to %d bytes", path, len(sa.Path)-1)
	}
	sa.Family = unix.AF_UNIX
	for i := range path {
		sa.Path[i] = int8(path[i])
	}
	a.length = uint32(unsafe.Offsetof(sa.Path)) + uint32(len(path)) + 1
	return a, nil
}

// peerAddr reads what accept wrote about the client; a unix client has the zero AddrPort.
func peerAddr(raw *unix.RawSockaddrAny) netip.AddrPort {
	port := func(p uint16) uint16 { return p<<8 | p>>8 }
	switch raw.Addr.Family {
	case unix.AF_INET:
		sa := (*unix.RawSockaddrInet4)(unsafe.Pointer(raw))
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), port(sa.Port))
	case unix.AF_INET6:
		sa := (*unix.RawSockaddrInet6)(unsafe.Pointer(raw))
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), port(sa.Port))
	}
	return netip.AddrPort{}
}

// peerName asks for the address of an accepted socket's client. getpeername(2) does not tell it once the client has reset the
// connection; SO_PEERNAME does. That wants a buffer no longer than the address is, so one of IPv6 is asked for again, whole.
func peerName(fd int32) netip.AddrPort {
	var raw unix.RawSockaddrAny
	ask := func(length uint32) {
		_, _, _ = unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERNAME,
			uintptr(unsafe.Pointer(&raw)), uintptr(unsafe.Pointer(&length)), 0)
	}
	if ask(unix.SizeofSockaddrInet4); raw.Addr.Family == unix.AF_INET6 {
		ask(unix.SizeofSockaddrInet6)
	}
	return peerAddr(&raw)
}

// sharing says whether a listener shares its port with others of this process (SO_REUSEPORT). The first one is bound before it
// is willing to share, so that a port that another process uses is seen to be in use.
type sharing uint8

const (
	shareNot sharing = iota
	shareFirst
	shareNext
)

func setReusePort(fd int) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		return fmt.Errorf("SO_REUSEPORT: %w", err)
	}
	return nil
}

// listen opens a listening socket. Options that accepted sockets inherit (tcp(7): TCP_NODELAY, the keep-alive ones) are set
// here, once, instead of on every connection.
func listen(a *address, cfg *Config, share sharing) (fd int, err error) {
	fd, err = unix.Socket(a.domain, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("listening socket: %w", err)
	}
	defer func() {
		if err != nil {
			_ = unix.Close(fd)
		}
	}()
	if a.domain != unix.AF_UNIX {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
		if share == shareNext {
			if err = setReusePort(fd); err != nil {
				return -1, err
			}
		}
		setTCPOptions(fd, cfg)
	} else {
		refuseRights(fd)
	}
	if err = bindPatiently(fd, a); err != nil {
		return -1, err
	}
	if share == shareFirst {
		if err = setReusePort(fd); err != nil {
			return -1, err
		}
	}
	if err = unix.Listen(fd, cfg.Backlog); err != nil {
		err = bindError(a, err, holder{})
		return -1, err
	}
	return fd, nil
}

// unsentMost is how many bytes the kernel takes for a connection beyond those that it may send at once. What waits longer than that
// falls out of the caches until it leaves: under BBR, which paces, a send buffer of 4 MiB costs a tenth to a fifth more CPU time.
const unsentMost = 128 << 10

// setTCPOptions are best effort: a connection without them works. What TCP calls urgent is a part of the stream like any other (SO_OOBINLINE,
// as RFC 6093 would have it). Taken out of it, it also hides what is behind it: the kernel says that a receive has left nothing, and
// io_uring does not look again (tcp_inq of Linux 6.18).
func setTCPOptions(fd int, cfg *Config) {
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_OOBINLINE, 1)
	if !cfg.MayTunnel() && !cfg.mayLend() { // they do not copy
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsentMost)
	}
	if cfg.NoDelay {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	if cfg.KeepAlive > 0 {
		idle := max(1, int(cfg.KeepAlive/time.Second))
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, idle)
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, max(1, idle/4))
	}
}

// boundAddress reads the address that a listener really has.
func boundAddress(fd int, a *address) (*address, error) {
	if a.domain == unix.AF_UNIX {
		return a, nil
	}
	ap, errno := localAddr(int32(fd))
	if errno != 0 {
		return nil, fmt.Errorf("getsockname: %w", errno)
	}
	if a.domain == unix.AF_INET6 && ap.Addr().Is4() {
		ap = netip.AddrPortFrom(netip.AddrFrom16(ap.Addr().As16()), ap.Port())
	}
	return ipAddress(ap), nil
}

// localAddr is the address of a TCP socket's own end.
func localAddr(fd int32) (netip.AddrPort, syscall.Errno) {
	var raw unix.RawSockaddrAny
	length := uint32(unsafe.Sizeof(raw))
	_, _, errno := unix.RawSyscall(unix.SYS_GETSOCKNAME, uintptr(fd), uintptr(unsafe.Pointer(&raw)), uintptr(unsafe.Pointer(&length)))
	return peerAddr(&raw), errno
}

// upstreamSocket opens a socket towards the upstream, not yet connecting; flags may be SOCK_NONBLOCK.
func upstreamSocket(a *address, cfg *Config, flags uintptr) (int32, syscall.Errno) {
	fd, _, errno := unix.RawSyscall(unix.SYS_SOCKET, uintptr(a.domain), unix.SOCK_STREAM|unix.SOCK_CLOEXEC|flags, 0)
	if errno != 0 {
		return -1, errno
	}
	if a.domain != unix.AF_UNIX {
		setTCPOptions(int(fd), cfg)
		if a.reno {
			setCongestionControl(int32(fd), reno)
		}
	} else {
		refuseRights(int(fd))
	}
	return int32(fd), 0
}

func connect(fd int32, a *address) syscall.Errno {
	_, _, errno := unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&a.raw)), uintptr(a.length))
	return errno
}

func accept(fd int, raw *unix.RawSockaddrAny) (int32, syscall.Errno) {
	length := uint32(unsafe.Sizeof(*raw))
	n, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), uintptr(unsafe.Pointer(raw)),
		uintptr(unsafe.Pointer(&length)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	return int32(n), errno
}

// recv and send never block, whatever the socket's mode.
func recv(fd int32, buf []byte) (int, syscall.Errno) { return recvFlags(fd, buf, 0) }

func recvFlags(fd int32, buf []byte, flags uintptr) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)), flags|unix.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}

func send(fd int32, buf []byte) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)),
		unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}

func sendmsg(fd int32, msg *unix.Msghdr) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(msg)), unix.MSG_NOSIGNAL)
	return int(n), errno
}

func shutdownWrite(fd int32) {
	_, _, _ = unix.RawSyscall(unix.SYS_SHUTDOWN, uintptr(fd), unix.SHUT_WR, 0)
}

// undelivered is how many bytes the kernel has taken for fd and the peer has not acknowledged. It is 0 where nothing will be any
// more: at a unix socket, where a send puts bytes straight into the peer's queue, and at a connection that is closed.
func undelivered(fd int32, domain int) int {
	if domain == unix.AF_UNIX {
		return 0
	}
	var n int32
	_, _, errno := unix.RawSyscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCOUTQ, uintptr(unsafe.Pointer(&n)))
	if errno != 0 || n == 0 {
		return 0
	}
	if tcpClosed(fd) {
		return 0
	}
	return int(n)
}

// hungUp says whether fd's peer has gone for good: it has reset the connection, or closed a unix socket.
func hungUp(fd int32) bool { return shows(fd, 0) }

// streamEnded says whether fd's peer has ended its stream, in whatever way; bytes may lie before the end.
func streamEnded(fd int32) bool { return shows(fd, unix.POLLRDHUP) }

// urgent says whether a byte that TCP calls urgent is still to be read at fd.
func urgent(fd int32) bool { return shows(fd, unix.POLLPRI) }

// shows says whether one of the events stands at fd, or POLLHUP or POLLERR.
func shows(fd int32, events int16) bool {
	poll := [1]unix.PollFd{{Fd: fd, Events: events}}
	n, err := unix.Poll(poll[:], 0)
	return err == nil && n > 0 && poll[0].Revents&(events|unix.POLLHUP|unix.POLLERR) != 0
}

// tcpClosed says whether a TCP connection has no state left: it was reset, or both sides have sent and acknowledged FIN.
func tcpClosed(fd int32) bool {
	const tcpClose = 7 // TCP_CLOSE of the kernel's tcp_states.h
	var state uint8    // the first byte of struct tcp_info
	length := uint32(1)
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.IPPROTO_TCP, unix.TCP_INFO,
		uintptr(unsafe.Pointer(&state)), uintptr(unsafe.Pointer(&length)), 0)
	return errno == 0 && state == tcpClose
}

// setNonblock has system calls on fd return EAGAIN instead of waiting.
func setNonblock(fd int32) {
	_, _, _ = unix.RawSyscall(unix.SYS_FCNTL, uintptr(fd), unix.F_SETFL, unix.O_RDWR|unix.O_NONBLOCK)
}

// pipe2 makes a pipe: read end, write end.
func pipe2(fds *[2]int32) syscall.Errno {
	_, _, errno := unix.RawSyscall(unix.SYS_PIPE2, uintptr(unsafe.Pointer(fds)), unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	return errno
}

func setPipeSize(fd int32, size int) syscall.Errno {
	_, _, errno := unix.RawSyscall(unix.SYS_FCNTL, uintptr(fd), unix.F_SETPIPE_SZ, uintptr(size))
	return errno
}

// closeSocket closes fd; with reset the peer gets RST instead of FIN.
func closeSocket(fd int32, reset bool) {
	if reset {
		linger := unix.Linger{Onoff: 1}
		_, _, _ = unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_LINGER,
			uintptr(unsafe.Pointer(&linger)), unsafe.Sizeof(linger), 0)
	}
	_, _, _ = unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0)
}

// socketError takes the pending error of fd.
func socketError(fd int32) syscall.Errno {
	var value int32
	length := uint32(4)
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_ERROR,
		uintptr(unsafe.Pointer(&value)), uintptr(unsafe.Pointer(&length)), 0)
	if errno != 0 {
		return errno
	}
	return syscall.Errno(value)
}

// setCork holds back partial segments until it is taken off again, tcp(7).
func setCork(fd int32, on bool) {
	var value int32
	if on {
		value = 1
	}
	_, _, _ = unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.IPPROTO_TCP, unix.TCP_CORK, uintptr(unsafe.Pointer(&value)), 4, 0)
}
