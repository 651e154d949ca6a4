package proxy

import (
	"encoding/binary"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// peerUID tells as whom the process runs that has made the other end of a connected socket, if that is on this host: by SO_PEERCRED
// for a unix socket that was accepted, by sock_diag(7) for TCP between loopback addresses. Where nobody says it is not ok.
func peerUID(fd int32) (uid uint32, ok bool) {
	uid, ok = saidUID(fd)
	return uid, ok && uid != overflowUID()
}

// overflowUID is what the kernel says instead of every user that the proxy's user namespace does not map (user_namespaces(7)), and
// that may be the proxy's own number there: "nobody", 65534.
var overflowUID = sync.OnceValue(func() uint32 {
	text, _ := os.ReadFile("/proc/sys/kernel/overflowuid")
	if uid, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 32); err == nil {
		return uint32(uid)
	}
	return 65534
})

// saidUID is what the kernel says, be it only that it cannot tell.
func saidUID(fd int32) (uid uint32, ok bool) {
	peer := peerName(fd)
	if !peer.IsValid() {
		return peerCred(fd)
	}
	own, errno := localAddr(fd)
	if errno != 0 || !peer.Addr().IsLoopback() {
		return 0, false
	}
	return socketUID(peer, own)
}

func peerCred(fd int32) (uint32, bool) {
	var cred unix.Ucred
	length := uint32(unix.SizeofUcred)
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERCRED,
		uintptr(unsafe.Pointer(&cred)), uintptr(unsafe.Pointer(&length)), 0)
	return cred.Uid, errno == 0
}

// The messages of sock_diag(7): a header of netlink(7), then struct inet_diag_req_v2, or struct inet_diag_msg for an answer.
const (
	diagHeader  = unix.SizeofNlMsghdr
	diagRequest = diagHeader + 56
	diagID      = diagHeader + 8            // of the request: struct inet_diag_sockid, 48 bytes
	diagUID     = diagHeader + 4 + 48 + 3*4 // of the answer
	diagByKind  = 20                        // SOCK_DIAG_BY_FAMILY
	diagAnySock = 1<<32 - 1                 // INET_DIAG_NOCOOKIE, either half
)

// socketUID tells who has made the TCP socket of this network namespace that is connected from own to other.
func socketUID(own, other netip.AddrPort) (uid uint32, ok bool) {
	var msg [256]byte
	order := binary.NativeEndian
	order.PutUint32(msg[0:], diagRequest)
	order.PutUint16(msg[4:], diagByKind)
	order.PutUint16(msg[6:], unix.NLM_F_REQUEST)
	msg[diagHeader], msg[diagHeader+1] = unix.AF_INET6, unix.IPPROTO_TCP
	if own.Addr().Is4() {
		msg[diagHeader] = unix.AF_INET
	}
	order.PutUint32(msg[diagHeader+4:], 1<<32-1) // whatever its state
	binary.BigEndian.PutUint16(msg[diagID:], own.Port())
	binary.BigEndian.PutUint16(msg[diagID+2:], other.Port())
	copy(msg[diagID+4:], own.Addr().AsSlice())
	copy(msg[diagID+20:], other.Addr().AsSlice())
	order.PutUint32(msg[diagID+40:], diagAnySock)
	order.PutUint32(msg[diagID+44:], diagAnySock)

	fd, _, errno := unix.RawSyscall(unix.SYS_SOCKET, unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if errno != 0 {
		return 0, false
	}
	defer closeSocket(int32(fd), false)
	if _, errno = send(int32(fd), msg[:diagRequest]); errno != 0 {
		return 0, false
	}
	n, errno := recv(int32(fd), msg[:])
	if errno != 0 || n < diagUID+4 || order.Uint16(msg[4:]) != diagByKind {
		return 0, false
	}
	return order.Uint32(msg[diagUID:]), true
}
