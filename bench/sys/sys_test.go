package sys

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestResolve(t *testing.T) {
	for _, test := range []struct {
		text           string
		tcp, loopback4 bool
	}{
		{"127.0.0.1:80", true, true},
		{"80", true, true},
		{":80", true, true},
		{"127.8.9.10:80", true, true},
		{"192.0.2.1:80", true, false},
		{"[::1]:80", true, false},
		{"unix:/tmp/s", false, false},
	} {
		a, err := Resolve(test.text)
		if err != nil {
			t.Errorf("%s: %v", test.text, err)
			continue
		}
		if a.IsTCP() != test.tcp || a.IsLoopback4() != test.loopback4 || a.String() != test.text {
			t.Errorf("%s: %+v", test.text, a)
		}
	}
	for _, text := range []string{"unix:", "unix:/" + string(bytes.Repeat([]byte("x"), 107)), "127.0.0.1:port", "1.2.3.4.5:1"} {
		if a, err := Resolve(text); err == nil {
			t.Errorf("%q is taken for an address: %+v", text, a)
		}
	}
}

// Bytes go through a pair by each of the ways to send them.
func TestPairCarries(t *testing.T) {
	a, b, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer Close(b)
	fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, []byte("--file--")); err != nil {
		t.Fatal(err)
	}
	piece := func(text string) (v unix.Iovec) {
		v.Base = unsafe.StringData(text)
		v.SetLen(len(text))
		return v
	}
	for name, test := range map[string]struct {
		send func() (int, unix.Errno)
		want string
	}{
		"one buffer": {func() (int, unix.Errno) { return Send(a, []byte("buffer")) }, "buffer"},
		"pieces":     {func() (int, unix.Errno) { return SendVector(a, []unix.Iovec{piece("two "), piece("pieces")}) }, "two pieces"},
		"a file":     {func() (int, unix.Errno) { return SendFile(a, fd, 2, 4) }, "file"},
	} {
		if n, errno := test.send(); n != len(test.want) || errno != 0 {
			t.Fatalf("%s: %d bytes, %v", name, n, errno)
		}
		got := make([]byte, 64)
		n, errno := Read(b, got)
		for errno == unix.EAGAIN {
			n, errno = Read(b, got)
		}
		if string(got[:n]) != test.want || errno != 0 {
			t.Errorf("%s: %q, %v", name, got[:n], errno)
		}
	}
	Send(a, []byte("dropped: kept"))
	if n, errno := Discard(b, 9); n != 9 || errno != 0 {
		t.Errorf("%d bytes dropped, %v", n, errno)
	}
	left := make([]byte, 9)
	if n, _ := Read(b, left); string(left[:n]) != "kept" {
		t.Errorf("%q is left", left[:n])
	}
	Close(a)
	n, errno := Read(b, make([]byte, 1))
	for errno == unix.EAGAIN {
		n, errno = Read(b, make([]byte, 1))
	}
	if n != 0 || errno != 0 {
		t.Errorf("after the end: %d bytes, %v", n, errno)
	}
}

func TestPoller(t *testing.T) {
	p, err := NewPoller()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	a, b, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer Close(a)
	defer Close(b)
	const gen = 1<<31 | 5 // more than an event carries
	if errno := p.Add(b, unix.EPOLLIN, 3, 7, gen); errno != 0 {
		t.Fatal(errno)
	}
	events := make([]unix.EpollEvent, 4)
	if n := p.Poll(events); n != 0 {
		t.Fatalf("%d events before anything was sent", n)
	}
	began := time.Now()
	if n := p.Wait(events, 2*time.Millisecond); n != 0 || time.Since(began) < 2*time.Millisecond {
		t.Fatalf("%d events after %v", n, time.Since(began))
	}
	Send(a, []byte("x"))
	if n := p.Wait(events, 10*time.Second); n != 1 {
		t.Fatalf("%d events, want 1", n)
	}
	if kind, slot, carried := Data(&events[0]); kind != 3 || slot != 7 || !SameGen(gen, carried) || SameGen(gen+1, carried) {
		t.Fatalf("kind %d, slot %d, generation %x", kind, slot, carried)
	}
	if errno := p.Modify(b, 0, 3, 7, gen); errno != 0 || p.Poll(events) != 0 {
		t.Fatal("an event of what nobody waits for any more:", errno)
	}
}

func TestListen(t *testing.T) {
	path := filepath.Join(os.TempDir(), "foobench-listen-test")
	a, err := Resolve("unix:" + path)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time over the file of the first
		fd, err := a.Listen(1)
		if err != nil {
			t.Fatal(err)
		}
		if LocalPort(fd) != 0 {
			t.Error("a unix socket has a port")
		}
		if _, errno := Accept(fd); errno != unix.EAGAIN {
			t.Error("nobody connects:", errno)
		}
		Close(fd)
	}
	os.Remove(path)
}

// Churn from addresses of its own: the ports of one do not run out.
func TestBindSource(t *testing.T) {
	listen, err := Resolve("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	fd, err := listen.Listen(1)
	if err != nil {
		t.Fatal(err)
	}
	defer Close(fd)
	to := *listen
	to.raw[2], to.raw[3] = byte(LocalPort(fd)>>8), byte(LocalPort(fd))
	client, errno := to.Socket()
	if errno != 0 {
		t.Fatal(errno)
	}
	defer Close(client)
	if errno := BindSource(client, 9); errno != 0 {
		t.Fatal(errno)
	}
	if errno := to.Connect(client); errno != 0 && errno != unix.EINPROGRESS {
		t.Fatal(errno)
	}
	name, err := unix.Getsockname(int(client))
	if in, ok := name.(*unix.SockaddrInet4); err != nil || !ok || in.Addr != [4]byte{127, 0, 0, 9} || in.Port == 0 {
		t.Fatalf("%+v, %v", name, err)
	}
	if errno := SocketError(client); errno != 0 {
		t.Error(errno)
	}
}

func TestMedianOfBatches(t *testing.T) {
	var b Batches
	if b.Median() != 0 {
		t.Error("a median of nothing")
	}
	for _, ns := range []int64{300, 100, 90000, 200, 400} {
		b.Add(ns*10, 10)
	}
	if m := b.Median(); m != 300 {
		t.Errorf("%v, want 300", m)
	}
}
