package ring

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience bounds waits that end at once unless something is broken.
const patience = 10 * time.Second

// newRing makes a ring on the test's goroutine, locked to its thread until the test ends.
func newRing(t testing.TB, p Params) *Ring {
	t.Helper()
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	if p.Entries == 0 {
		p.Entries = 32
	}
	r, err := Setup(p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// await submits what is prepared and returns a copy of the next n completions.
func await(t testing.TB, r *Ring, n int) []CQE {
	t.Helper()
	var got []CQE
	for end := time.Now().Add(patience); len(got) < n; {
		if errno := r.Wait(time.Second); errno != 0 && !Transient(errno) {
			t.Fatal(errno)
		}
		batch := r.Ready()
		batch = batch[:min(len(batch), n-len(got))]
		got = append(got, batch...)
		r.Advance(len(batch))
		if time.Now().After(end) {
			t.Fatalf("%d of %d completions after %v: %s", len(got), n, patience, describe(got))
		}
	}
	return got
}

// awaitOne is await for a single completion that must have this user data and result.
func awaitOne(t testing.TB, r *Ring, userData uint64, res int) CQE {
	t.Helper()
	c := await(t, r, 1)[0]
	if c.UserData != userData || int(c.Res) != res {
		t.Fatalf("completion %s, want user data %d with result %d", describe([]CQE{c}), userData, res)
	}
	return c
}

// none checks that nothing has completed, also after asking the kernel.
func none(t testing.TB, r *Ring) {
	t.Helper()
	if errno := r.Collect(); errno != 0 {
		t.Fatal(errno)
	}
	if got := r.Ready(); len(got) != 0 {
		t.Fatalf("unexpected completions %s", describe(got))
	}
}

func describe(cs []CQE) string {
	s := ""
	for _, c := range cs {
		s += fmt.Sprintf("{data %d res %d (%v) flags %#x}", c.UserData, c.Res, c.Errno(), c.Flags)
	}
	return s
}

func newArena(t testing.TB, size int) *Arena {
	t.Helper()
	a, err := NewArena(size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Free(); err != nil {
			t.Error(err)
		}
	})
	return a
}

func closeLater(t testing.TB, fd int) int {
	t.Helper()
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// unixPair makes two connected stream sockets.
func unixPair(t testing.TB) (a, b int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return closeLater(t, fds[0]), closeLater(t, fds[1])
}

// listen makes a TCP listener on loopback.
func listen(t testing.TB) (fd int, addr *unix.SockaddrInet4) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	closeLater(t, fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 128); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fd, sa.(*unix.SockaddrInet4)
}

// connect makes a client socket of addr with a plain system call.
func connect(t testing.TB, addr unix.Sockaddr) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	closeLater(t, fd)
	if err := unix.Connect(fd, addr); err != nil {
		t.Fatal(err)
	}
	return fd
}

// tcpPairs makes two connected TCP sockets on loopback, non-blocking.
func tcpPairs(t testing.TB) (a, b int) {
	t.Helper()
	l, addr := listen(t)
	a = connect(t, addr)
	b, _, err := unix.Accept4(l, unix.SOCK_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	closeLater(t, b)
	for _, fd := range []int{a, b} {
		if err := unix.SetNonblock(fd, true); err != nil {
			t.Fatal(err)
		}
	}
	return a, b
}

func write(t testing.TB, fd int, data []byte) {
	t.Helper()
	for len(data) > 0 {
		n, err := unix.Write(fd, data)
		if err != nil {
			t.Fatal(err)
		}
		data = data[n:]
	}
}

// readAll reads n bytes, waiting for each part of them.
func readAll(t testing.TB, fd, n int) []byte {
	t.Helper()
	got := make([]byte, n)
	for have := 0; have < n; {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if k, err := unix.Poll(poll, int(patience.Milliseconds())); err == unix.EINTR {
			continue
		} else if err != nil || k == 0 {
			t.Fatalf("%d of %d bytes came: poll %d, %v", have, n, k, err)
		}
		k, err := unix.Read(fd, got[have:])
		if err != nil || k == 0 {
			t.Fatalf("%d of %d bytes came: read %d, %v", have, n, k, err)
		}
		have += k
	}
	return got
}

// pattern is n bytes in which every position tells its place.
func pattern(n int) []byte {
	p := make([]byte, n)
	x := uint32(2463534242)
	for i := range p {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		p[i] = byte(x >> 11)
	}
	return p
}
