package ring

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Sockaddr is a socket address as the kernel reads it, for PrepConnect. It must lie outside the Go heap.
type Sockaddr struct {
	raw  [unix.SizeofSockaddrAny]byte
	size uint32
}

func (s *Sockaddr) domain() int { return int(binary.NativeEndian.Uint16(s.raw[:])) }

// NewSockaddrRaw puts an address that is in the kernel's form already into the arena: at most SizeofSockaddrAny bytes.
func NewSockaddrRaw(a *Arena, raw []byte) *Sockaddr {
	s := Alloc[Sockaddr](a)
	s.size = uint32(copy(s.raw[:], raw))
	return s
}

// NewSockaddr puts addr into the arena. The zone must be a number of an interface, or empty; zone is that number.
func NewSockaddr(a *Arena, addr netip.AddrPort, zone uint32) *Sockaddr {
	s := Alloc[Sockaddr](a)
	ip := addr.Addr().Unmap()
	binary.BigEndian.PutUint16(s.raw[2:], addr.Port())
	if ip.Is4() {
		b := ip.As4()
		binary.NativeEndian.PutUint16(s.raw[:], unix.AF_INET)
		copy(s.raw[4:], b[:])
		s.size = unix.SizeofSockaddrInet4
		return s
	}
	b := ip.As16()
	binary.NativeEndian.PutUint16(s.raw[:], unix.AF_INET6)
	copy(s.raw[8:], b[:])
	binary.NativeEndian.PutUint32(s.raw[24:], zone)
	s.size = unix.SizeofSockaddrInet6
	return s
}
