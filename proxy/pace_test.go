package proxy

import (
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// inOwnNetwork puts the test's thread into a network namespace of its own, with two addresses beside those of loopback.
func inOwnNetwork(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	before, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		defer before.Close()
		if err := unix.Setns(int(before.Fd()), unix.CLONE_NEWNET); err == nil {
			runtime.UnlockOSThread() // else the thread ends with the test
		}
	})
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatalf("a network namespace of its own, which takes root: %v", err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		t.Fatal(err)
	}
	request.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request); err != nil {
		t.Fatal(err)
	}
	for _, ip := range []string{"192.0.2.1", "192.0.2.2"} {
		if out, err := exec.Command("ip", "address", "add", ip+"/32", "dev", "lo").CombinedOutput(); err != nil {
			t.Fatalf("ip address add: %v: %s", err, out)
		}
	}
}

// underBBR is inOwnNetwork, where TCP sockets run BBR.
func underBBR(t *testing.T) {
	t.Helper()
	inOwnNetwork(t)
	if err := os.WriteFile("/proc/sys/net/ipv4/tcp_congestion_control", []byte("bbr"), 0); err != nil {
		t.Skipf("this kernel has no BBR: %v", err)
	}
}

func congestionOf(t *testing.T, fd int32) string {
	t.Helper()
	name, err := unix.GetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimRight(name, "\x00")
}

// Tunnels and long Data within the host run Reno though the kernel's choice is BBR, and loops rest for tunnels. Without either, and towards
// clients from elsewhere, sockets run what the kernel has chosen.
func TestTunnelsWithinTheHostAreNotPaced(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		for name, c := range map[string]struct {
			use      string // what may keep bytes within the kernel
			listen   string
			from, to string // the client's address and the one that it connects to
			want     [2]string
			paced    bool
		}{
			"tunnel":                     {"tunnel", "127.0.0.1:0", "127.0.0.1", "127.0.0.1", [2]string{"reno", "reno"}, false},
			"for all":                    {"tunnel", "0.0.0.0:0", "127.0.0.1", "127.0.0.1", [2]string{"reno", "reno"}, false},
			"for all, IPv6":              {"tunnel", "[::]:0", "::1", "::1", [2]string{"reno", "reno"}, false},
			"for all, IPv4 mapped":       {"tunnel", "[::]:0", "127.0.0.1", "127.0.0.1", [2]string{"reno", "reno"}, false},
			"for all, by an own address": {"tunnel", "0.0.0.0:0", "192.0.2.1", "192.0.2.1", [2]string{"reno", "reno"}, false},
			"for all, from elsewhere":    {"tunnel", "[::]:0", "192.0.2.2", "192.0.2.1", [2]string{"bbr", "reno"}, true},
			"for one":                    {"tunnel", "192.0.2.1:0", "192.0.2.2", "192.0.2.1", [2]string{"bbr", "reno"}, true},
			"long Data":                  {"splice", "127.0.0.1:0", "127.0.0.1", "127.0.0.1", [2]string{"reno", "reno"}, false},
			"long Data, from elsewhere":  {"splice", "[::]:0", "192.0.2.2", "192.0.2.1", [2]string{"bbr", "reno"}, true},
			"foo only, for all":          {"nothing", "0.0.0.0:0", "127.0.0.1", "127.0.0.1", [2]string{"bbr", "bbr"}, false},
		} {
			t.Run(name, func(t *testing.T) {
				underBBR(t)
				r := newLoopRig(t, engine, func(cfg *Config) {
					cfg.Tunnel, cfg.Listen, cfg.MaxPipes = c.use == "tunnel", c.listen, 4
					if c.use == "splice" {
						cfg.Splice = SpliceOn
					}
				})
				r.dialFrom(c.from, c.to)
				r.until("connection", func() bool { return r.core.table.used == 1 && r.accepted() >= 0 })
				r.core.table.each(func(s *session) {
					if paced := s.paced || r.core.pace.never[server]; paced != c.paced {
						t.Errorf("nobody rests for what is sent to the client: %v, want %v", paced, c.paced)
					}
					if r.core.pace.never[client] {
						t.Error("nobody rests for what is sent to the server")
					}
					for d, fd := range s.fd {
						if got := congestionOf(t, fd); got != c.want[d] {
							t.Errorf("the socket of the %ss runs %s, want %s", side(d).direction(), got, c.want[d])
						}
					}
				})
			})
		}
	})
}

// A loop rests a short time only when one side is a unix socket, which is full soon, and for what BBR does not pace.
func TestRestIsShortBesideUnixSockets(t *testing.T) {
	for name, c := range map[string]struct {
		listen string
		want   time.Duration
		least  int
	}{
		"unix": {"unix:" + t.TempDir() + "/proxy", restUnix, bulkUnix},
		"TCP":  {"127.0.0.1:0", restFor, bulkTurn},
	} {
		t.Run(name, func(t *testing.T) {
			underBBR(t)
			r := newLoopRig(t, EngineEpoll, func(cfg *Config) { cfg.Tunnel, cfg.Listen = true, c.listen })
			if p := r.core.pace; p.length != c.want || p.least != c.least || p.never != [2]bool{} {
				t.Errorf("a rest takes %v after %d bytes, want %v after %d; nobody rests for %v", p.length, p.least, c.want, c.least, p.never)
			}
		})
	}
}

// dialFrom connects a client whose address is from to the loop's listener, by the address to.
func (r *loopRig) dialFrom(from, to string) {
	r.t.Helper()
	at := func(ip string, port uint16) *address {
		return ipAddress(netip.AddrPortFrom(netip.MustParseAddr(ip), port))
	}
	own := at(from, 0)
	fd, errno := upstreamSocket(own, r.core.cfg, 0)
	if errno == 0 {
		_, _, errno = unix.RawSyscall(unix.SYS_BIND, uintptr(fd), uintptr(unsafe.Pointer(&own.raw)), uintptr(own.length))
	}
	if errno == 0 {
		errno = connect(fd, at(to, r.proxy.listen.ip.Port()))
	}
	if errno != 0 {
		r.t.Fatal(errno)
	}
	r.sockets = append(r.sockets, fd)
}

// A loop rests after a turn of bulk data in large reads, none of it of a flow for which nobody does.
func TestPaceRestsForBulkOnly(t *testing.T) {
	for what, c := range map[string]struct {
		never [2]bool
		reads []int
		want  bool
	}{
		"nothing":                    {[2]bool{}, nil, false},
		"large reads":                {[2]bool{}, []int{128 << 10, 128 << 10}, true},
		"too little":                 {[2]bool{}, []int{128 << 10, 127 << 10}, false},
		"many small reads":           {[2]bool{}, []int{200 << 10, 1 << 10, 1 << 10, 60 << 10, 1 << 10}, false},
		"the other flow is restless": {[2]bool{server: true}, []int{512 << 10}, true},
		"this flow is restless":      {[2]bool{client: true}, []int{512 << 10}, false},
	} {
		p := pace{never: c.never, least: bulkTurn}
		for _, n := range c.reads {
			p.add(client, n, false)
		}
		if p.bulk() != c.want {
			t.Errorf("%s: bulk is %v", what, p.bulk())
		}
	}
}
