package proxy

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"fooproxy/stats"
)

const (
	somebody = 1<<30 + 1
	nobody   = 65534 // whom the kernel names where it cannot tell
)

// as calls do on a thread whose effective user is uid; sockets that it makes are that user's.
func as(t *testing.T, uid int, do func()) {
	t.Helper()
	if unix.Geteuid() != 0 {
		t.Fatal("this test takes root, to be somebody else for a moment")
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	become := func(uid int) {
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0)); errno != 0 {
			t.Fatal(errno)
		}
	}
	become(uid)
	defer become(0)
	do()
}

// connected returns the descriptor of a listener's end of a connection that uid has made to it.
func connected(t *testing.T, network, at string, uid int) int32 {
	t.Helper()
	l, err := net.Listen(network, at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	if network == "unix" {
		if err = unix.Chmod(at, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	to, err := parseAddress(map[bool]string{true: "unix:"}[network == "unix"] + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	as(t, uid, func() {
		fd, errno := upstreamSocket(to, &Config{}, 0)
		if errno == 0 {
			errno = connect(fd, to)
		}
		if errno != 0 {
			t.Fatal(errno)
		}
		t.Cleanup(func() { closeSocket(fd, false) })
	})
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var fd int32
	_ = raw.Control(func(n uintptr) { fd = int32(n) })
	return fd
}

// The other end of a socket is known to be of a user when it is on this host, and only then.
func TestPeerUID(t *testing.T) {
	inOwnNetwork(t)
	path := t.TempDir()
	if err := errors.Join(unix.Chmod(path, 0o777), unix.Chmod(filepath.Dir(path), 0o777)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ network, at string }{
		{"tcp4", "127.0.0.1:0"}, {"tcp4", "127.1.2.3:0"}, {"tcp6", "[::1]:0"}, {"tcp", "127.0.0.1:0"}, {"unix", path + "/s"},
	} {
		for i, uid := range []int{0, somebody} {
			at := c.at
			if c.network == "unix" {
				at += strconv.Itoa(i)
			}
			if got, ok := peerUID(connected(t, c.network, at, uid)); !ok || got != uint32(uid) {
				t.Errorf("%s at %s: user %d, known: %v, want %d", c.network, at, got, ok, uid)
			}
		}
		if c.network == "unix" {
			c.at += "2"
		}
		if got, ok := peerUID(connected(t, c.network, c.at, nobody)); ok {
			t.Errorf("%s at %s: user %d is known, who may be anybody of another user namespace", c.network, c.at, got)
		}
	}
	if got, ok := peerUID(connected(t, "tcp4", "192.0.2.1:0", 0)); ok {
		t.Errorf("user %d is at an address that is not of the loopback network", got)
	}
	if got, ok := peerUID(-1); ok {
		t.Errorf("user %d is at no socket", got)
	}
}

// With auto the long Data of root and of the proxy's own user goes on within the kernel, nobody else's does; on and off are for all.
func TestWhoseLongDataIsSpliced(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		for _, c := range []struct {
			way      string
			user, as int
			spliced  bool
		}{
			{SpliceOff, 0, 0, false},
			{SpliceAuto, 0, 0, true},
			{SpliceAuto, somebody, 0, false},
			{SpliceAuto, somebody, somebody, true},
			{SpliceAuto, somebody - 1, somebody, false},
			{SpliceAuto, 0, somebody, true},
			{SpliceAuto, nobody, nobody, false},
			{SpliceOn, somebody, 0, true},
		} {
			t.Run(fmt.Sprintf("%s, user %d of a proxy of %d", c.way, c.user, c.as), func(t *testing.T) {
				r := newLoopRig(t, engine, func(cfg *Config) { cfg.Splice, cfg.MaxPipes = c.way, 4 })
				r.core.mayPeek = c.way != SpliceOff // whatever the processor is like
				r.direct().uid = uint32(c.as)
				var p pair
				as(t, c.user, func() { p = r.open() })
				r.move(p, client, request(1, 1<<20), make([]byte, 2<<20))
				r.move(p, client, request(2, 1<<20), make([]byte, 2<<20))
				if spliced := r.core.local[stats.BytesSpliced] > 0; spliced != c.spliced {
					t.Errorf("%d bytes are spliced", r.core.local[stats.BytesSpliced])
				}
				r.expect(map[stats.Counter]uint64{stats.Req: 2})
			})
		}
	})
}
