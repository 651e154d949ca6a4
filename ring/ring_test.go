package ring

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestSetupTakesTheBestFlags(t *testing.T) {
	for i, want := range ladder {
		without := uint32(0)
		for _, better := range ladder[:i] {
			without |= better &^ want
		}
		t.Run(fmt.Sprintf("without %#x", without), func(t *testing.T) {
			r := newRing(t, Params{Entries: 5, Without: without})
			if r.Flags() != want {
				t.Errorf("flags %#x, want %#x", r.Flags(), want)
			}
			if r.SQEntries() != 8 || r.CQEntries() != 32 {
				t.Errorf("queues of %d and %d entries, want 8 and 32", r.SQEntries(), r.CQEntries())
			}
			for i := range 100 {
				r.PrepNop(uint64(i))
				awaitOne(t, r, uint64(i), 0)
			}
		})
	}
}

func TestSetupSaysWhatFailed(t *testing.T) {
	_, err := Setup(Params{Entries: 0})
	if !errors.Is(err, unix.EINVAL) {
		t.Errorf("no entries: error %v, want EINVAL", err)
	}
	_, err = Setup(Params{Entries: 8, Without: SetupClamp})
	if !errors.Is(err, unix.EINVAL) {
		t.Errorf("no set of flags left: error %v, want EINVAL", err)
	}
}

func TestQueueSizes(t *testing.T) {
	r := newRing(t, Params{Entries: 4, CQEntries: 8})
	if r.SQEntries() != 4 || r.CQEntries() != 8 {
		t.Fatalf("queues of %d and %d entries, want 4 and 8", r.SQEntries(), r.CQEntries())
	}
	for i := range 4 {
		if r.Room() != 4-i || r.Prepared() != i {
			t.Fatalf("after %d entries: room for %d, %d prepared", i, r.Room(), r.Prepared())
		}
		r.PrepNop(uint64(i))
	}
	if r.PrepNop(9) != nil || r.PrepSendv(0, 0, 0, 0) != nil || r.Iovecs() != nil || r.PrepTimeout(1, 0, 0, 0) != nil {
		t.Fatal("a full queue took another entry")
	}
	if errno := r.Submit(); errno != 0 {
		t.Fatal(errno)
	}
	if r.Room() != 4 || r.Prepared() != 0 {
		t.Fatalf("after submitting: room for %d, %d prepared", r.Room(), r.Prepared())
	}
	for i, c := range await(t, r, 4) {
		if c.UserData != uint64(i) || c.Res != 0 {
			t.Errorf("completion %d is %s", i, describe([]CQE{c}))
		}
	}
}

// The completion queue is a ring too: views end at its end, and the next one goes on at its start.
func TestReadyWraps(t *testing.T) {
	r := newRing(t, Params{Entries: 4, CQEntries: 8})
	next, views := uint64(0), 0
	for want := uint64(0); want < 200; {
		for range 3 {
			r.PrepNop(next)
			next++
		}
		if errno := r.Submit(); errno != 0 {
			t.Fatal(errno)
		}
		for {
			batch := r.Ready()
			if len(batch) == 0 {
				break
			}
			views++
			for _, c := range batch {
				if c.UserData != want {
					t.Fatalf("completion %d where %d belongs", c.UserData, want)
				}
				want++
			}
			r.Advance(len(batch))
		}
	}
	if rounds := int(next) / 3; views <= rounds {
		t.Errorf("%d views in %d rounds: no view was ever cut at the end of the queue", views, rounds)
	}
}

// More completions than the queue holds: the kernel keeps them, in order, and says so.
func TestOverflow(t *testing.T) {
	r := newRing(t, Params{Entries: 4, CQEntries: 8})
	for i := range 40 {
		if r.Room() == 0 {
			if errno := r.Submit(); errno != 0 && !Transient(errno) {
				t.Fatal(errno)
			}
		}
		if r.PrepNop(uint64(i)) == nil {
			t.Fatal("the queue is full after a submit")
		}
	}
	if errno := r.Submit(); errno != 0 {
		t.Fatal(errno)
	}
	if !r.Overflowed() || !r.Pending() {
		t.Fatal("no overflow with 40 completions in 8 places")
	}
	for i := range 40 {
		awaitOne(t, r, uint64(i), 0)
	}
	none(t, r)
	if r.Overflowed() || r.Lost() != 0 {
		t.Errorf("at the end: overflow %v, lost %d", r.Overflowed(), r.Lost())
	}
}

// Completion work beyond what one enter runs is announced, not forgotten.
func TestPendingWorkIsAnnounced(t *testing.T) {
	r := newRing(t, Params{Entries: 256})
	if r.Flags()&(SetupDeferTaskrun|SetupTaskrunFlag) != SetupDeferTaskrun|SetupTaskrunFlag {
		t.Fatalf("flags %#x without deferred completion work", r.Flags())
	}
	const n = 200
	var peers [n]int
	for i := range n {
		a, b := unixPair(t)
		peers[i] = b
		r.PrepPollAdd(a, unix.POLLIN, uint64(i))
	}
	none(t, r)
	if r.Pending() {
		t.Fatal("work is pending before anything happened")
	}
	for _, fd := range peers {
		write(t, fd, []byte("x"))
	}
	seen, turns := 0, 0
	for ; r.Pending(); turns++ {
		if errno := r.Collect(); errno != 0 {
			t.Fatal(errno)
		}
		for batch := r.Ready(); len(batch) > 0; batch = r.Ready() {
			seen += len(batch)
			r.Advance(len(batch))
		}
	}
	if seen != n || turns < 2 {
		t.Errorf("%d of %d completions in %d turns, want all in more than one turn", seen, n, turns)
	}
}

func TestWaitsEnd(t *testing.T) {
	r := newRing(t, Params{})
	// A signal to our thread (the Go runtime sends them) may end a wait early, hence the loop.
	lasts := func(wait func(time.Duration) unix.Errno, limit, atLeast time.Duration) bool {
		for range 1000 {
			start := time.Now()
			if errno := wait(limit); errno != 0 {
				t.Fatal(errno)
			}
			if time.Since(start) >= atLeast {
				return true
			}
		}
		return false
	}
	if !lasts(r.WaitRaw, 2*time.Millisecond, 2*time.Millisecond) {
		t.Error("no raw wait lasts to its limit")
	}
	if !lasts(r.WaitRaw, time.Hour, RawWaitMax) || r.control.ts != timespec(RawWaitMax) {
		t.Errorf("a raw wait with a limit of one hour waits %+v", r.control.ts)
	}
	if !lasts(r.Wait, 2*RawWaitMax, 2*RawWaitMax) {
		t.Error("no blocking wait lasts to its limit")
	}
	if !lasts(r.Wait, 0, 0) {
		t.Error("a wait without patience never ends")
	}
	if got := r.Ready(); len(got) != 0 {
		t.Errorf("completions %s", describe(got))
	}
}

// Signals end a wait early and are no error; the entries are there exactly once.
func TestSignalsEndWaits(t *testing.T) {
	r := newRing(t, Params{})
	self, stop, stopped := unix.Gettid(), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				_ = unix.Tgkill(os.Getpid(), self, unix.SIGURG)
				runtime.Gosched()
			}
		}
	}()
	for i := range 200 {
		r.PrepTimeout(200*time.Microsecond, 0, 0, uint64(i))
		for len(r.Ready()) == 0 {
			wait := r.Wait
			if i%2 == 0 {
				wait = r.WaitRaw
			}
			if errno := wait(time.Second); errno != 0 {
				t.Fatal(errno)
			}
		}
		if got := r.Ready(); len(got) != 1 || got[0].UserData != uint64(i) || got[0].Errno() != unix.ETIME {
			t.Fatalf("completions %s, want time-out %d", describe(got), i)
		}
		r.Advance(1)
	}
	close(stop)
	<-stopped
}

// An enter that fails leaves what is prepared in its place.
func TestFailedEnterKeepsEntries(t *testing.T) {
	r := newRing(t, Params{})
	h := &scriptedHook{errnos: []unix.Errno{unix.EAGAIN, unix.EBUSY, unix.EINTR, unix.EBADR}}
	r.SetHook(h)
	r.PrepNop(1)
	for _, want := range []unix.Errno{unix.EAGAIN, unix.EBUSY, 0, unix.EBADR} {
		if errno := r.Collect(); errno != want {
			t.Fatalf("errno %v, want %v", errno, want)
		}
		if r.Prepared() != 1 || len(r.Ready()) != 0 {
			t.Fatalf("after %v: %d prepared, ready %s", want, r.Prepared(), describe(r.Ready()))
		}
	}
	awaitOne(t, r, 1, 0)
	if h.submissions != 1 {
		t.Errorf("the hook saw the entry %d times, want once", h.submissions)
	}
	if !Transient(unix.EAGAIN) || !Transient(unix.EBUSY) || Transient(unix.EBADR) || Transient(0) {
		t.Error("Transient holds for other errnos than EAGAIN and EBUSY")
	}
}

type scriptedHook struct {
	errnos      []unix.Errno
	submissions int
	batches     int
}

func (h *scriptedHook) Submission(*SQE)   { h.submissions++ }
func (h *scriptedHook) Completions([]CQE) { h.batches++ }
func (h *scriptedHook) Enter() (errno unix.Errno) {
	if len(h.errnos) > 0 {
		errno, h.errnos = h.errnos[0], h.errnos[1:]
	}
	return errno
}

// Every kind of turn allocates nothing.
func TestTurnsAllocateNothing(t *testing.T) {
	r := newRing(t, Params{Entries: 64, Iovecs: 4})
	arena := newArena(t, 1<<16)
	br, err := r.NewBufRing(1, arena.Bytes(16*1024, 4096), 1024, 0, false)
	if err != nil {
		t.Fatal(err)
	}
	for id := range br.Count() {
		br.Add(int32(id))
	}
	br.Publish()
	a, b := unixPair(t)
	r.PrepRecvMultishot(b, 1, true, 1)
	data := arena.Bytes(2000, 64)
	turn := func() {
		vec := r.Iovecs()
		vec[0] = Iovec{Base: Addr(data), Len: 500}
		vec[1] = Iovec{Base: Addr(data[500:]), Len: 1500}
		r.PrepSendv(a, 2, unix.MSG_WAITALL, 2)
		r.PrepNop(3)
		r.PrepTimeout(time.Hour, 1, 0, 4)
		for left := 2000; left > 0; {
			if len(r.Ready()) == 0 {
				r.WaitRaw(time.Millisecond)
				r.Wait(time.Millisecond)
			}
			for batch := r.Ready(); len(batch) > 0; batch = r.Ready() {
				for i := range batch {
					if batch[i].UserData != 1 {
						continue
					}
					for s := br.Segments(&batch[i]); s.Next(); {
						left -= len(s.Data)
						br.Add(s.Buffer)
					}
				}
				r.Advance(len(batch))
			}
			br.Publish()
			r.Collect()
		}
	}
	if n := testing.AllocsPerRun(200, turn); n != 0 {
		t.Errorf("%v allocations per turn", n)
	}
}
