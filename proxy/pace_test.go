package proxy

import (
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// underBBR puts the test's thread into a network namespace of its own whose TCP sockets run BBR.
func underBBR(t *testing.T) {
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

// Tunnels within the host run Reno though the kernel's choice is BBR, and loops rest for them. Without tunnels, and towards
// clients of a listener that others can reach, sockets keep what the kernel has chosen.
func TestTunnelsWithinTheHostAreNotPaced(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		for name, c := range map[string]struct {
			tunnel   bool
			listen   string
			want     [2]string
			restless [2]bool
		}{
			"tunnel":                      {true, "127.0.0.1:0", [2]string{"reno", "reno"}, [2]bool{}},
			"tunnel, listening for all":   {true, "0.0.0.0:0", [2]string{"bbr", "reno"}, [2]bool{server: true}},
			"foo only, listening for all": {false, "0.0.0.0:0", [2]string{"bbr", "bbr"}, [2]bool{}},
		} {
			t.Run(name, func(t *testing.T) {
				underBBR(t)
				r := newLoopRig(t, engine, func(cfg *Config) { cfg.Tunnel, cfg.Listen, cfg.MaxPipes = c.tunnel, c.listen, 4 })
				r.open()
				r.core.table.each(func(s *session) {
					for d, fd := range s.fd {
						if got := congestionOf(t, fd); got != c.want[d] {
							t.Errorf("the socket of the %ss runs %s, want %s", side(d).direction(), got, c.want[d])
						}
					}
				})
				if r.core.pace.never != c.restless {
					t.Errorf("no rest for %v, want %v", r.core.pace.never, c.restless)
				}
			})
		}
	})
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
		p := pace{never: c.never}
		for _, n := range c.reads {
			p.add(client, n)
		}
		if p.bulk() != c.want {
			t.Errorf("%s: bulk is %v", what, p.bulk())
		}
	}
}
