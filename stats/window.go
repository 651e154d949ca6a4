package stats

import (
	"sync/atomic"
	"time"
)

// The time ring. Slot number e covers the monotonic times [e*slotTime, (e+1)*slotTime) and lives at index e % slotCount.
// slotCount*slotTime is 10.24 s: the longest window, and 240 ms in which a reader may be late before its oldest slot goes.
const (
	slotTime  = 10 * time.Millisecond
	slotCount = 1024

	shortSlots = int64(time.Second / slotTime)
	longSlots  = int64(10 * time.Second / slotTime)
)

// A window of n slots that ends at time now has slot e = now/slotTime, which is not over yet, and the n-1 before it. So
// the 1 s window holds everything younger than 990 ms, nothing that is 1 s old or older, and of what lies between exactly
// the slots that began within the last second less the time that slot e has run. No part of a slot is ever estimated.

// slot counts the messages of one 10 ms. mark is the slot number + 1, or 0 while the slot is empty or being given a new
// number. Invariant for readers: if mark is the same before and after reading the counts, they belong to that number.
type slot struct {
	mark     atomic.Uint64
	requests atomic.Uint64
	answers  atomic.Uint64
}

// ring is written by one loop. newest is its highest slot number so far + 1, the writer's alone.
type ring struct {
	newest uint64
	slots  [slotCount]slot
}

// add counts messages at time now, in ns. A clock that steps back (the caller's fault) adds to the newest slot instead of
// giving a slot of the window an old number.
func (r *ring) add(requests, answers uint64, now int64) {
	mark := max(uint64(max(now, 0)/int64(slotTime))+1, r.newest)
	s := &r.slots[(mark-1)%slotCount]
	if r.newest != mark {
		r.newest = mark
		// The order makes torn reads visible: no number, new counts, new number.
		s.mark.Store(0)
		s.requests.Store(requests)
		s.answers.Store(answers)
		s.mark.Store(mark)
		return
	}
	if requests != 0 {
		s.requests.Store(s.requests.Load() + requests)
	}
	if answers != 0 {
		s.answers.Store(s.answers.Load() + answers)
	}
}

// read returns the slot's counts and its number + 1; mark is 0 when there is nothing to read or the slot was being reused.
func (s *slot) read() (mark, requests, answers uint64) {
	mark = s.mark.Load()
	if mark == 0 {
		return 0, 0, 0
	}
	requests, answers = s.requests.Load(), s.answers.Load()
	if s.mark.Load() != mark {
		return 0, 0, 0
	}
	return mark, requests, answers
}

// sums is what the two windows hold.
type sums struct{ requests1, requests10, answers1, answers10 uint64 }

// sum adds the windows that end at now, in ns, to w.
func (r *ring) sum(w *sums, now int64) {
	current := max(now, 0) / int64(slotTime)
	for i := range r.slots {
		mark, requests, answers := r.slots[i].read()
		age := current + 1 - int64(mark)
		if mark == 0 || age < 0 || age >= longSlots {
			continue
		}
		w.requests10 += requests
		w.answers10 += answers
		if age < shortSlots {
			w.requests1 += requests
			w.answers1 += answers
		}
	}
}
