package ring

import (
	"bytes"
	"errors"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Every kind of send puts the same bytes on the wire.
func TestSends(t *testing.T) {
	a, b := tcpPairs(t)
	r := newRing(t, Params{Iovecs: 8})
	arena := newArena(t, 1<<20)
	data := arena.Bytes(10_000, 4096)
	copy(data, pattern(len(data)))
	if err := r.RegisterBuffers(data); err != nil {
		t.Fatal(err)
	}
	msg, vec := Alloc[Msghdr](arena), AllocSlice[Iovec](arena, 2)
	vec[0] = Iovec{Base: Addr(data[:1]), Len: 1}
	vec[1] = Iovec{Base: Addr(data[1:]), Len: uint64(len(data) - 1)}
	*msg = Msghdr{Iov: addrOf(&vec[0]), Iovlen: 2}

	sends := map[string]func() *SQE{
		"send":    func() *SQE { return r.PrepSend(a, data, unix.MSG_WAITALL, 5) },
		"sendmsg": func() *SQE { return r.PrepSendmsg(a, msg, unix.MSG_WAITALL, 5) },
		"sendv": func() *SQE {
			v := r.Iovecs()
			for i := range v {
				v[i] = Iovec{Base: Addr(data[i*1250:]), Len: 1250}
			}
			return r.PrepSendv(a, len(v), unix.MSG_WAITALL, 5)
		},
		"send without copy":       func() *SQE { return r.PrepSendZC(a, data, unix.MSG_WAITALL, 5) },
		"send without copy fixed": func() *SQE { return r.PrepSendZCFixed(a, data, 0, unix.MSG_WAITALL, 5) },
		"sendmsg without copy": func() *SQE {
			e := r.PrepSendmsg(a, msg, unix.MSG_WAITALL, 5)
			e.Opcode = OpSendmsgZC
			return e
		},
	}
	for name, prep := range sends {
		e := prep()
		zeroCopy := e.Opcode == OpSendZC || e.Opcode == OpSendmsgZC
		if zeroCopy {
			e.IOPrio |= SendReportUsage
		}
		c := awaitOne(t, r, 5, len(data))
		if c.More() != zeroCopy {
			t.Fatalf("%s: completion %s", name, describe([]CQE{c}))
		}
		if got := readAll(t, b, len(data)); !bytes.Equal(got, data) {
			t.Errorf("%s: other bytes came out than went in", name)
		}
		if zeroCopy {
			n := await(t, r, 1)[0]
			if n.UserData != 5 || n.Flags&FlagNotif == 0 || n.More() || uint32(n.Res)&^NotifCopied != 0 {
				t.Errorf("%s: notification %s", name, describe([]CQE{n}))
			}
		}
	}
	if err := r.UnregisterBuffers(); err != nil {
		t.Error(err)
	}
	r.PrepSendZCFixed(a, data, 0, 0, 5)
	awaitOne(t, r, 5, -int(unix.EFAULT))
}

// The vector of an entry may be written anew as soon as the kernel has taken the entry, though the send still waits.
func TestVectorIsFreeAfterSubmit(t *testing.T) {
	a, b := unixPair(t)
	r := newRing(t, Params{Entries: 1, Iovecs: 2})
	data := newArena(t, 1<<21).Bytes(2<<20, 4096)
	copy(data, pattern(len(data)))
	vec := r.Iovecs()
	vec[0] = Iovec{Base: Addr(data), Len: 1 << 20}
	vec[1] = Iovec{Base: Addr(data[1<<20:]), Len: 1 << 20}
	r.PrepSendv(a, 2, unix.MSG_WAITALL, 1)
	none(t, r)
	vec = r.Iovecs()
	vec[0], vec[1] = Iovec{}, Iovec{}
	r.msgs[0] = Msghdr{}
	got := make([]byte, 0, len(data))
	for len(got) < len(data) {
		got = append(got, readAll(t, b, 4096)...)
		if errno := r.Collect(); errno != 0 {
			t.Fatal(errno)
		}
	}
	if !bytes.Equal(got, data) {
		t.Error("other bytes came out than went in")
	}
	awaitOne(t, r, 1, len(data))
}

func TestSplice(t *testing.T) {
	a, b := tcpPairs(t)
	c, d := tcpPairs(t)
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	closeLater(t, pipe[0])
	closeLater(t, pipe[1])
	r := newRing(t, Params{})
	data := pattern(5000)
	write(t, a, data)
	readable := []unix.PollFd{{Fd: int32(b), Events: unix.POLLIN}}
	if n, err := unix.Poll(readable, int(patience.Milliseconds())); n != 1 {
		t.Fatal(n, err)
	}
	r.PrepSplice(b, -1, pipe[1], -1, uint32(len(data)), 0, 1)
	n := int(await(t, r, 1)[0].Res)
	if n <= 0 || n > len(data) {
		t.Fatalf("splice into the pipe: %d", n)
	}
	r.PrepSplice(pipe[0], -1, c, -1, uint32(n), 0, 2)
	awaitOne(t, r, 2, n)
	if got := readAll(t, d, n); !bytes.Equal(got, data[:n]) {
		t.Error("other bytes came out than went in")
	}
}

func TestPoll(t *testing.T) {
	a, b := unixPair(t)
	r := newRing(t, Params{})
	r.PrepPollAdd(a, unix.POLLIN, 1)
	r.PrepPollMultishot(a, unix.POLLIN, 2)
	none(t, r)
	write(t, b, []byte("x"))
	seen := map[uint64]bool{}
	for _, c := range await(t, r, 2) {
		seen[c.UserData] = true
		if c.Res != unix.POLLIN || c.More() != (c.UserData == 2) {
			t.Errorf("completion %s", describe([]CQE{c}))
		}
	}
	if !seen[1] || !seen[2] {
		t.Errorf("completions of %v, want of 1 and 2", seen)
	}
	for range 3 {
		none(t, r)
		write(t, b, []byte("y"))
		if c := awaitOne(t, r, 2, unix.POLLIN); !c.More() {
			t.Error("multishot poll ended")
		}
	}
}

func TestTimeout(t *testing.T) {
	r := newRing(t, Params{})
	start := time.Now()
	r.PrepTimeout(1500*time.Microsecond, 0, 0, 1)
	awaitOne(t, r, 1, -int(unix.ETIME))
	if d := time.Since(start); d < 1500*time.Microsecond {
		t.Errorf("time-out of 1.5 ms after %v", d)
	}
	r.PrepTimeout(time.Hour, 1, 0, 2)
	none(t, r)
	r.PrepNop(3)
	awaitOne(t, r, 3, 0)
	awaitOne(t, r, 2, 0)
	r.PrepTimeout(time.Hour, 0, 0, 4)
	r.PrepCancel(4, 0, 5)
	seen := map[uint64]int32{}
	for _, c := range await(t, r, 2) {
		seen[c.UserData] = c.Res
	}
	if seen[4] != -int32(unix.ECANCELED) || seen[5] != 0 {
		t.Errorf("cancelled time-out: %v", seen)
	}
}

func TestTimeoutOnLink(t *testing.T) {
	r := newRing(t, Params{})
	r.PrepTimeout(time.Millisecond, 0, TimeoutETimeSuccess, 1).Flags |= EntryLink
	r.PrepNop(2)
	awaitOne(t, r, 1, -int(unix.ETIME))
	awaitOne(t, r, 2, 0)
}

func TestCancel(t *testing.T) {
	r := newRing(t, Params{})
	a, _ := unixPair(t)
	c, _ := unixPair(t)
	arm := func() {
		for i := range 3 {
			r.PrepPollAdd(a, unix.POLLIN, uint64(10+i))
		}
		r.PrepPollAdd(c, unix.POLLIN, 20)
		none(t, r)
	}
	cancelled := func(what string, want ...uint64) {
		t.Helper()
		wanted := map[uint64]bool{}
		for _, w := range want {
			wanted[w] = true
		}
		for _, c := range await(t, r, len(want)+1) {
			switch {
			case c.UserData == 1:
			case wanted[c.UserData] && c.Errno() == unix.ECANCELED:
			default:
				t.Errorf("%s: completion %s, want %v cancelled", what, describe([]CQE{c}), want)
			}
		}
		none(t, r)
	}
	arm()
	r.PrepCancel(11, 0, 1)
	cancelled("by user data", 11)
	r.PrepCancel(11, 0, 1)
	awaitOne(t, r, 1, -int(unix.ENOENT))
	r.PrepCancelFd(a, CancelAll, 1)
	cancelled("by descriptor", 10, 12)
	r.PrepCancel(0, CancelAny|CancelAll, 1)
	cancelled("all", 20)
	arm()
	r.PrepCancelFd(c, 0, 1)
	cancelled("one by descriptor", 20)
}

// EntrySkipSuccess spares the completion of a cancel that worked.
func TestSkippedSuccess(t *testing.T) {
	r := newRing(t, Params{})
	a, _ := unixPair(t)
	r.PrepPollAdd(a, unix.POLLIN, 1)
	none(t, r)
	r.PrepCancel(1, 0, 2).Flags |= EntrySkipSuccess
	awaitOne(t, r, 1, -int(unix.ECANCELED))
	none(t, r)
}

func TestMsgRing(t *testing.T) {
	target, done := make(chan int), make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		r, err := Setup(Params{Entries: 1})
		if err != nil {
			close(target)
			done <- err
			return
		}
		target <- r.Fd()
		for end := time.Now().Add(patience); len(r.Ready()) == 0 && time.Now().Before(end); {
			r.Wait(time.Second)
		}
		if got := r.Ready(); len(got) != 1 || got[0].UserData != 99 || got[0].Res != 1234 {
			err = errors.New(describe(got))
		}
		done <- errors.Join(err, r.Close())
	}()
	r := newRing(t, Params{})
	if fd, ok := <-target; ok {
		r.PrepMsgRing(fd, 1234, 99, 0, 1)
		awaitOne(t, r, 1, 0)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A wake-up is never lost, whether it comes before, during or after the wait begins.
func TestWaker(t *testing.T) {
	r := newRing(t, Params{})
	w, err := NewWaker()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}()
	w.Wake()
	w.Arm(r, 8)
	for i := range 300 {
		c := awaitOne(t, r, 8, unix.POLLIN)
		if !c.More() {
			w.Arm(r, 8)
		}
		w.Drain()
		go w.Wake()
		if i%3 == 0 {
			r.WaitRaw(time.Millisecond)
		}
	}
	awaitOne(t, r, 8, unix.POLLIN)
}

func TestArena(t *testing.T) {
	a := newArena(t, 5000)
	if a.Left() != 8192 {
		t.Errorf("%d bytes left of two pages", a.Left())
	}
	a.Bytes(3, 1)
	b := a.Bytes(100, 64)
	if Addr(b)%64 != 0 || len(b) != 100 || cap(b) != 100 {
		t.Errorf("address %#x, length %d, capacity %d", Addr(b), len(b), cap(b))
	}
	s := AllocSlice[Iovec](a, 3)
	if len(s) != 3 || uintptr(unsafe.Pointer(&s[0]))%64 != 0 {
		t.Errorf("slice of %d", len(s))
	}
	if Addr(nil) != 0 {
		t.Error("an empty slice has an address")
	}
	defer func() {
		if recover() == nil {
			t.Error("an arena handed out more than it has")
		}
	}()
	a.Bytes(a.Left()+1, 1)
}
