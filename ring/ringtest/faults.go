// Package ringtest bends what passes between an io_uring loop and the kernel, for tests of the loop: seeded faults that a
// kernel may produce by itself, only seldom.
//
//	f := ringtest.New(seed, ringtest.Rates{ShortSend: 3, EndMultishot: 2})
//	r.SetHook(f)
//
// Nothing is fabricated that would lose data: a cut send really sends less, a multishot operation that "ends early" is
// submitted as a single one, a starved receive really finds no buffer, a late cancel really cancels nothing. Only the errors of enter are made up, and then the
// kernel is not called.
package ringtest

import (
	"math/rand/v2"
	"unsafe"

	"fooproxy/ring"

	"golang.org/x/sys/unix"
)

// NoGroup is a buffer group that no ring may register: receives from it find no buffer.
const NoGroup = 0xffff

// NoOperation is user data that no operation may have.
const NoOperation = 1<<64 - 1

// Rates says how often each fault happens: once in so many chances on average, 1 always, 0 never.
type Rates struct {
	ShortSend    int // a send or sendmsg carries only a part of its bytes
	EndMultishot int // a multishot accept, receive or poll completes once, without FlagMore
	PollFirst    int // a multishot receive does not look before it waits: all that is there comes while it is being armed
	NoBuffers    int // a receive ends with -ENOBUFS at once, though buffers may be there
	LateCancel   int // a cancel finds nothing, and its operation goes on
	EINTR        int // an enter is interrupted before it does anything
	EAGAIN       int // an enter fails for want of memory
	EBUSY        int // an enter fails because completions must be collected
	Shuffle      int // a batch of completions comes in another order
}

// Counts is how often each fault happened.
type Counts struct{ ShortSend, EndMultishot, PollFirst, NoBuffers, LateCancel, EINTR, EAGAIN, EBUSY, Shuffle uint64 }

// Faults is a ring.Hook. It belongs to the thread of its ring.
type Faults struct {
	rates Rates
	rng   *rand.Rand
	count Counts
}

var _ ring.Hook = (*Faults)(nil)

// New makes a hook whose faults depend on the seed and on the ring's calls alone.
func New(seed uint64, rates Rates) *Faults {
	return &Faults{rates: rates, rng: rand.New(rand.NewPCG(seed, 0x466f6f))}
}

// Counts is what happened so far.
func (f *Faults) Counts() Counts { return f.count }

func (f *Faults) roll(rate int, count *uint64) bool {
	if rate == 0 || f.rng.IntN(rate) != 0 {
		return false
	}
	*count++
	return true
}

// Submission implements ring.Hook.
func (f *Faults) Submission(e *ring.SQE) {
	switch e.Opcode {
	case ring.OpSend, ring.OpSendZC:
		if e.Len > 1 && f.roll(f.rates.ShortSend, &f.count.ShortSend) {
			e.Len = 1 + uint32(f.rng.IntN(int(e.Len)-1))
		}
	case ring.OpSendmsg:
		f.cutMessage(pointer[ring.Msghdr](&e.Addr))
	case ring.OpAccept:
		if e.IOPrio&ring.AcceptMultishot != 0 && f.roll(f.rates.EndMultishot, &f.count.EndMultishot) {
			e.IOPrio &^= ring.AcceptMultishot
		}
	case ring.OpPollAdd:
		if e.Len&ring.PollMultishot != 0 && f.roll(f.rates.EndMultishot, &f.count.EndMultishot) {
			e.Len &^= ring.PollMultishot
		}
	case ring.OpAsyncCancel:
		if e.OpFlags == 0 && f.roll(f.rates.LateCancel, &f.count.LateCancel) {
			e.Addr = NoOperation
		}
	case ring.OpRecv:
		if f.roll(f.rates.NoBuffers, &f.count.NoBuffers) {
			// A bundle from an unknown group would fail with -ENOENT instead.
			e.BufIndex, e.IOPrio = NoGroup, e.IOPrio&^ring.RecvBundle
		} else if e.IOPrio&ring.RecvMultishot != 0 && f.roll(f.rates.EndMultishot, &f.count.EndMultishot) {
			e.IOPrio &^= ring.RecvMultishot
		} else if e.IOPrio&ring.RecvMultishot != 0 && f.roll(f.rates.PollFirst, &f.count.PollFirst) {
			e.IOPrio |= ring.RecvSendPollFirst
		}
	}
}

// cutMessage shortens the message in place: the loop may not read a vector back.
func (f *Faults) cutMessage(m *ring.Msghdr) {
	vec := unsafe.Slice(pointer[ring.Iovec](&m.Iov), m.Iovlen)
	total := uint64(0)
	for _, v := range vec {
		total += v.Len
	}
	if total < 2 || !f.roll(f.rates.ShortSend, &f.count.ShortSend) {
		return
	}
	left := 1 + f.rng.Uint64N(total-1)
	for i := range vec {
		if vec[i].Len >= left {
			vec[i].Len, m.Iovlen = left, uint64(i+1)
			return
		}
		left -= vec[i].Len
	}
}

// Enter implements ring.Hook.
func (f *Faults) Enter() unix.Errno {
	switch {
	case f.roll(f.rates.EINTR, &f.count.EINTR):
		return unix.EINTR
	case f.roll(f.rates.EAGAIN, &f.count.EAGAIN):
		return unix.EAGAIN
	case f.roll(f.rates.EBUSY, &f.count.EBUSY):
		return unix.EBUSY
	}
	return 0
}

// Completions implements ring.Hook. Neighbours change places only where the kernel promises no order: not those of one
// entry, not two that carry buffers.
func (f *Faults) Completions(batch []ring.CQE) {
	if len(batch) < 2 || !f.roll(f.rates.Shuffle, &f.count.Shuffle) {
		return
	}
	for range 2 {
		for i := 1; i < len(batch); i++ {
			a, b := &batch[i-1], &batch[i]
			buffers := a.Flags & b.Flags & ring.FlagBuffer
			if a.UserData != b.UserData && buffers == 0 && f.rng.IntN(2) == 0 {
				*a, *b = *b, *a
			}
		}
	}
}

// pointer reads the address in *field as one of memory outside the Go heap.
func pointer[T any](field *uint64) *T { return *(**T)(unsafe.Pointer(field)) }
