package ring

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

func TestAcceptAndConnect(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1", "::ffff:127.0.0.1"} {
		t.Run(host, func(t *testing.T) {
			r := newRing(t, Params{})
			addr := netip.AddrPortFrom(netip.MustParseAddr(host), 0)
			family, bind := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
			if addr.Addr().Unmap().Is6() {
				family, bind = unix.AF_INET6, &unix.SockaddrInet6{Addr: addr.Addr().As16()}
			}
			l, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			closeLater(t, l)
			if err := unix.Bind(l, bind); err != nil {
				t.Fatal(err)
			}
			if err := unix.Listen(l, 16); err != nil {
				t.Fatal(err)
			}
			bound, err := unix.Getsockname(l)
			if err != nil {
				t.Fatal(err)
			}
			port := uint16(0)
			switch b := bound.(type) {
			case *unix.SockaddrInet4:
				port = uint16(b.Port)
			case *unix.SockaddrInet6:
				port = uint16(b.Port)
			}
			to := NewSockaddr(newArena(t, 4096), netip.AddrPortFrom(addr.Addr(), port), 0)

			r.PrepAcceptMultishot(l, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 1)
			for i := range 3 {
				c, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
				if err != nil {
					t.Fatal(err)
				}
				closeLater(t, c)
				r.PrepConnect(c, to, 2)
				for _, done := range await(t, r, 2) {
					switch {
					case done.UserData == 1 && done.Res >= 0 && done.More():
						closeLater(t, int(done.Res))
						flags, err := unix.FcntlInt(uintptr(done.Res), unix.F_GETFL, 0)
						if err != nil || flags&unix.O_NONBLOCK == 0 {
							t.Errorf("accepted descriptor has flags %#x, %v", flags, err)
						}
					case done.UserData == 2 && done.Res == 0:
					default:
						t.Fatalf("connection %d: %s", i, describe([]CQE{done}))
					}
				}
			}
		})
	}
}

func TestAcceptOnce(t *testing.T) {
	r := newRing(t, Params{})
	l, addr := listen(t)
	r.PrepAccept(l, unix.SOCK_CLOEXEC, 1)
	connect(t, addr)
	connect(t, addr)
	c := await(t, r, 1)[0]
	if c.UserData != 1 || c.Res < 0 || c.More() {
		t.Fatalf("completion %s", describe([]CQE{c}))
	}
	closeLater(t, int(c.Res))
	none(t, r)
}

func TestConnectRefused(t *testing.T) {
	r := newRing(t, Params{})
	l, addr := listen(t)
	unix.Close(l)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	closeLater(t, fd)
	to := NewSockaddr(newArena(t, 4096), netip.AddrPortFrom(netip.AddrFrom4(addr.Addr), uint16(addr.Port)), 0)
	r.PrepConnect(fd, to, 7)
	if c := awaitOne(t, r, 7, -int(unix.ECONNREFUSED)); c.Errno() != unix.ECONNREFUSED {
		t.Errorf("errno %v", c.Errno())
	}
}
