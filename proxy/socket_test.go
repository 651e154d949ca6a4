package proxy

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

func TestAddressesSurviveTheKernelsForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		port := rapid.Uint16().Draw(t, "port")
		var ip netip.Addr
		if rapid.Bool().Draw(t, "IPv4") {
			ip = netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "ip")))
		} else {
			ip = netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "ip")))
		}
		want := netip.AddrPortFrom(ip, port)
		a := ipAddress(want)
		if got := peerAddr(&a.raw); got != netip.AddrPortFrom(ip.Unmap(), port) {
			t.Fatalf("%v comes back as %v", want, got)
		}
		if len(a.bytes()) != int(a.length) || int(a.raw.Addr.Family) != a.domain {
			t.Fatalf("%v: %d bytes of %d, family %d of domain %d", want, len(a.bytes()), a.length, a.raw.Addr.Family, a.domain)
		}
	})
}

func TestParseAddress(t *testing.T) {
	for text, want := range map[string]string{
		"127.0.0.1:8000":             "127.0.0.1:8000",
		"[::1]:0":                    "[::1]:0",
		"[::ffff:10.1.2.3]:65535":    "10.1.2.3:65535",
		"0.0.0.0:1":                  "0.0.0.0:1",
		"unix:/tmp/foo.sock":         "unix:/tmp/foo.sock",
		"unix:relative":              "unix:relative",
		":7000":                      "[::]:7000",
		"unix:" + longPath(107, 'a'): "unix:" + longPath(107, 'a'),
	} {
		a, err := parseAddress(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if text == ":7000" && !haveIPv6() {
			want = "0.0.0.0:7000"
		}
		if a.String() != want {
			t.Errorf("%s becomes %s, want %s", text, a, want)
		}
	}
	for _, text := range []string{
		"", "8000", "host", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:http", "127.0.0.1:", "::1:80", "unix:",
		"unix:" + longPath(108, 'a'), "localhost:80",
	} {
		if a, err := parseAddress(text); err == nil {
			t.Errorf("%q becomes %s", text, a)
		} else if strings.Contains(err.Error(), "\n") || text != "" && !strings.Contains(err.Error(), strings.TrimSuffix(text, ":80")) {
			t.Errorf("%q: the error does not name it in one line: %v", text, err)
		}
	}
}

func longPath(n int, c byte) string { return strings.Repeat(string(c), n) }

// The kernel is the judge of the form: it must bind to the address and say the same one back.
func TestTheKernelTakesTheAddress(t *testing.T) {
	for _, text := range []string{"127.0.0.1:0", "[::1]:0", "unix:" + t.TempDir() + "/s"} {
		a, err := parseAddress(text)
		if err != nil {
			t.Fatal(err)
		}
		fd, err := listen(a, &Config{Backlog: 1, NoDelay: true, KeepAlive: 1}, shareNot)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		bound, err := boundAddress(fd, a)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if a.path == "" && (bound.ip.Addr() != a.ip.Addr() || bound.ip.Port() == 0) || bound.path != a.path {
			t.Errorf("%s is bound to %s", text, bound)
		}
		up, errno := upstreamSocket(bound, &Config{NoDelay: true}, 0)
		if errno != 0 {
			t.Fatal(errno)
		}
		if errno := connect(up, bound); errno != 0 {
			t.Errorf("connect to %s: %v", bound, errno)
		}
		var raw unix.RawSockaddrAny
		if in, errno := accept(fd, &raw); errno != 0 {
			t.Errorf("accept from %s: %v", bound, errno)
		} else {
			if peer := peerAddr(&raw); a.path == "" && peer.Addr() != a.ip.Addr() || a.path != "" && peer.IsValid() {
				t.Errorf("the peer of %s is %s", bound, peer)
			}
			closeSocket(in, false)
		}
		closeSocket(up, false)
		closeSocket(int32(fd), false)
	}
}

// Both sockets of a session hold little that is unsent, the client's by inheriting it from the listener; those that may not copy hold
// what the system says.
func TestSocketsHoldLittleUnsent(t *testing.T) {
	for _, test := range []struct {
		cfg  Config
		want int
	}{
		{Config{Arbitrary: Close}, unsentMost},
		{Config{Arbitrary: Tunnel}, 0},
		{Config{Tunnel: true}, 0},
		{Config{ZeroCopy: ZeroCopyOff}, unsentMost},
		{Config{ZeroCopy: ZeroCopyOn}, 0},
		{Config{ZeroCopy: ZeroCopyAuto}, 0},
	} {
		cfg, want := test.cfg, test.want
		ln, err := listen(ipAddress(netip.MustParseAddrPort("127.0.0.1:0")), &cfg, shareNot)
		if err != nil {
			t.Fatal(err)
		}
		a, err := boundAddress(ln, &address{domain: unix.AF_INET})
		if err != nil {
			t.Fatal(err)
		}
		up, errno := upstreamSocket(a, &cfg, 0)
		if errno != 0 {
			t.Fatal(errno)
		}
		if errno := connect(up, a); errno != 0 {
			t.Fatal(errno)
		}
		var raw unix.RawSockaddrAny
		in, errno := accept(ln, &raw)
		if errno != 0 {
			t.Fatal(errno)
		}
		for name, fd := range map[string]int32{"client": in, "server": up} {
			if got, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT); err != nil || got != want {
				t.Errorf("tunnel %v, arbitrary %q, zerocopy %q: the %s's socket has %d, %v, want %d", cfg.Tunnel, cfg.Arbitrary, cfg.ZeroCopy, name, got, err, want)
			}
			closeSocket(fd, false)
		}
		closeSocket(int32(ln), false)
	}
}

// With reset the peer's next look at its socket finds ECONNRESET, without it the end of the stream.
func TestCloseSocketChoosesTheEnd(t *testing.T) {
	for _, reset := range []bool{false, true} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		a := ipAddress(ln.Addr().(*net.TCPAddr).AddrPort())
		fd, errno := upstreamSocket(a, &Config{}, 0)
		if errno != 0 {
			t.Fatal(errno)
		}
		if errno := connect(fd, a); errno != 0 {
			t.Fatal(errno)
		}
		peer, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		closeSocket(fd, reset)
		_, err = peer.Read(make([]byte, 1))
		if got := strings.Contains(err.Error(), "reset"); got != reset {
			t.Errorf("close with reset %v: the peer reads %v", reset, err)
		}
		_ = peer.Close()
		_ = ln.Close()
	}
}
