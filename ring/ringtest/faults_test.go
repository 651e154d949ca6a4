package ringtest

import (
	"math/rand/v2"
	"testing"
	"unsafe"

	"fooproxy/ring"

	"golang.org/x/sys/unix"
)

// A cut send has at least one byte left and at least one less than before; what it keeps is its beginning.
func TestShortSends(t *testing.T) {
	arena, err := ring.NewArena(1 << 16)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := arena.Free(); err != nil {
			t.Error(err)
		}
	}()
	f := New(1, Rates{ShortSend: 1})
	rng := rand.New(rand.NewPCG(3, 4))
	msg, vec := ring.Alloc[ring.Msghdr](arena), ring.AllocSlice[ring.Iovec](arena, 5)
	lengths := map[uint64]bool{}
	for range 2000 {
		e := ring.SQE{Opcode: ring.OpSend, Len: 10}
		f.Submission(&e)
		if e.Len < 1 || e.Len > 9 {
			t.Fatalf("send of 10 bytes became one of %d", e.Len)
		}
		total := uint64(0)
		for i := range vec {
			vec[i] = ring.Iovec{Base: uint64(i), Len: rng.Uint64N(4)}
			total += vec[i].Len
		}
		before := *(*[5]ring.Iovec)(vec)
		*msg = ring.Msghdr{Iov: uint64(uintptr(unsafe.Pointer(&vec[0]))), Iovlen: 5}
		e = ring.SQE{Opcode: ring.OpSendmsg, Addr: uint64(uintptr(unsafe.Pointer(msg)))}
		f.Submission(&e)
		left := uint64(0)
		for i, v := range vec[:msg.Iovlen] {
			left += v.Len
			if last := i == int(msg.Iovlen)-1; v.Base != before[i].Base || !last && v.Len != before[i].Len {
				t.Fatalf("parts %+v became %+v", before, vec[:msg.Iovlen])
			}
		}
		if total >= 2 && (left < 1 || left >= total) || total < 2 && left != total {
			t.Fatalf("message of %d bytes became one of %d", total, left)
		}
		if total == 8 {
			lengths[left] = true
		}
	}
	if len(lengths) != 7 {
		t.Errorf("messages of 8 bytes were cut to %v only", lengths)
	}
}

func TestEntriesChange(t *testing.T) {
	multishot := []ring.SQE{
		{Opcode: ring.OpAccept, IOPrio: ring.AcceptMultishot},
		{Opcode: ring.OpRecv, IOPrio: ring.RecvMultishot | ring.RecvBundle},
		{Opcode: ring.OpPollAdd, Len: ring.PollMultishot},
	}
	for _, e := range multishot {
		was := e
		New(1, Rates{}).Submission(&e)
		if e != was {
			t.Errorf("without faults %+v became %+v", was, e)
		}
		New(1, Rates{EndMultishot: 1}).Submission(&e)
		if e.IOPrio&^ring.RecvBundle != 0 || e.Len != 0 {
			t.Errorf("%+v is still multishot: %+v", was, e)
		}
	}
	e := ring.SQE{Opcode: ring.OpRecv, IOPrio: ring.RecvMultishot | ring.RecvBundle, BufIndex: 3}
	New(1, Rates{PollFirst: 1}).Submission(&e)
	if e.IOPrio != ring.RecvMultishot|ring.RecvBundle|ring.RecvSendPollFirst {
		t.Errorf("receive that waits first is %+v", e)
	}
	e.IOPrio &^= ring.RecvSendPollFirst
	New(1, Rates{NoBuffers: 1}).Submission(&e)
	if e.BufIndex != NoGroup || e.IOPrio != ring.RecvMultishot {
		t.Errorf("receive without buffers is %+v", e)
	}
	for _, flags := range []uint32{0, ring.CancelAll} {
		e = ring.SQE{Opcode: ring.OpAsyncCancel, Addr: 7, OpFlags: flags}
		New(1, Rates{LateCancel: 1}).Submission(&e)
		if late := e.Addr == NoOperation; late != (flags == 0) {
			t.Errorf("late cancel with flags %d is %+v", flags, e)
		}
	}
}

func TestEnterErrors(t *testing.T) {
	for errno, rates := range map[unix.Errno]Rates{0: {}, unix.EINTR: {EINTR: 1}, unix.EAGAIN: {EAGAIN: 1}, unix.EBUSY: {EBUSY: 1}} {
		if got := New(1, rates).Enter(); got != errno {
			t.Errorf("errno %v, want %v", got, errno)
		}
	}
}

// A shuffle loses nothing and keeps the order that the kernel promises.
func TestShuffle(t *testing.T) {
	f := New(5, Rates{Shuffle: 1})
	rng := rand.New(rand.NewPCG(6, 7))
	changed := 0
	for range 500 {
		batch := make([]ring.CQE, 2+rng.IntN(20))
		for i := range batch {
			// Res numbers the completions.
			batch[i] = ring.CQE{UserData: rng.Uint64N(5), Res: int32(i), Flags: rng.Uint32N(2) * ring.FlagBuffer}
		}
		f.Completions(batch)
		last, lastBuffer, seen := map[uint64]int32{}, int32(-1), map[int32]bool{}
		for i, c := range batch {
			if before, ok := last[c.UserData]; ok && before > c.Res {
				t.Fatalf("completions %d and %d of one entry changed places", c.Res, before)
			}
			if c.Flags&ring.FlagBuffer != 0 {
				if lastBuffer > c.Res {
					t.Fatalf("completions %d and %d with buffers changed places", c.Res, lastBuffer)
				}
				lastBuffer = c.Res
			}
			last[c.UserData], seen[c.Res] = c.Res, true
			if int(c.Res) != i {
				changed++
			}
		}
		if len(seen) != len(batch) {
			t.Fatalf("%d of %d completions are left", len(seen), len(batch))
		}
	}
	if changed == 0 {
		t.Error("nothing ever changed places")
	}
}
