package ring

import (
	"os"
	"runtime"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// Closing a ring ends what is in flight: the listener's port and the buffers are free at once.
func TestCloseEndsEverything(t *testing.T) {
	for i, flags := range ladder {
		r := newRing(t, Params{Entries: 64, Without: ^flags & (SetupDeferTaskrun | SetupSingleIssuer | SetupCoopTaskrun | SetupSubmitAll)})
		if r.Flags() != flags {
			t.Fatalf("step %d: flags %#x, want %#x", i, r.Flags(), flags)
		}
		l, addr := listen(t)
		r.PrepAcceptMultishot(l, unix.SOCK_CLOEXEC, 1)
		quiet, _ := unixPair(t)
		for range 2000 { // enough that the kernel, left to itself, would not be done in time
			for r.PrepPollAdd(quiet, unix.POLLIN, 3) == nil {
				if errno := r.Submit(); errno != 0 {
					t.Fatal(errno)
				}
			}
		}
		mem := newArena(t, 4096).Bytes(4096, 4096)
		br, err := r.NewBufRing(0, mem, 1024, 0, false)
		if err != nil {
			t.Fatal(err)
		}
		for id := range br.Count() {
			br.Add(int32(id))
		}
		br.Publish()
		a, b := unixPair(t)
		r.PrepRecvMultishot(a, 0, false, 2)
		none(t, r)
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		write(t, b, []byte("late"))
		if mem[0] != 0 {
			t.Errorf("step %d: data came into the buffer of a closed ring", i)
		}
		if err := unix.Close(l); err != nil {
			t.Fatal(err)
		}
		again, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		closeLater(t, again)
		if err := unix.Bind(again, addr); err != nil {
			t.Errorf("step %d: the port of a closed ring's listener is still taken: %v", i, err)
		}
		if br.raw != nil {
			t.Errorf("step %d: the buffer ring is still mapped", i)
		}
		if err := r.Close(); err != nil {
			t.Errorf("closing twice: %v", err)
		}
	}
}

// What Close does first: every operation has completed before the ring goes.
func TestCancelEverything(t *testing.T) {
	for i, flags := range ladder {
		r := newRing(t, Params{Entries: 64, Without: ladder[0] &^ flags})
		const n = 50
		for range n {
			a, _ := unixPair(t)
			r.PrepPollAdd(a, unix.POLLIN, 1)
		}
		none(t, r)
		r.cancelEverything()
		if done := atomic.LoadUint32(r.kCQTail); done != n {
			t.Errorf("step %d: %d of %d operations have completed", i, done, n)
		}
	}
}

func TestCloseGivesDescriptorsBack(t *testing.T) {
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := count()
	for range 50 {
		r, err := Setup(Params{Entries: 8})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if after := count(); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}
