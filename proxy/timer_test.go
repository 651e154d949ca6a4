package proxy

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// naiveTimer is what a session wants of the wheel, and what it has told it.
type naiveTimer struct {
	at  int64 // when it must be looked at; 0 = never
	due int64 // the same, but not before it was asked for
	set int64 // the time of the setting in force, 0 = none
	far bool  // that lay beyond one turn of the wheel, which may fire at its end
}

// wheelRig uses the wheel as core.rearm and core.expire do, with a list of times beside it.
type wheelRig struct {
	t      failer
	tab    table
	w      wheel
	now    int64
	timers map[int32]*naiveTimer
	fired  int
}

func newWheelRig(t failer, sessions int) *wheelRig {
	r := &wheelRig{t: t, tab: newTable(), now: testStart, timers: map[int32]*naiveTimer{}}
	r.w.init(r.now)
	for range sessions {
		r.timers[r.tab.get().slot] = &naiveTimer{}
	}
	return r
}

func (r *wheelRig) set(slot int32, at int64) {
	n := r.timers[slot]
	if n.set == 0 || at < n.set {
		// A timer that is far already stands at the wheel's end, which may come before at.
		n.far = n.set != 0 && n.far || at/tickLength+1 > r.w.tick+wheelSlots-1
		n.set = at
	}
	n.at, n.due = at, max(at, r.now)
	r.w.set(&r.tab, r.tab.at(slot), at)
}

func (r *wheelRig) clear(slot int32) {
	*r.timers[slot] = naiveTimer{}
	r.w.clear(&r.tab, r.tab.at(slot))
}

// advance moves the clock and handles what fires like a loop.
func (r *wheelRig) advance(by int64) {
	r.now += by
	for s := r.w.expired(&r.tab, r.now); s != nil; s = r.w.expired(&r.tab, r.now) {
		n := r.timers[s.slot]
		switch {
		case n.set == 0:
			r.t.Fatalf("slot %d fires and was not set", s.slot)
		case s.timer.tick != 0:
			r.t.Fatalf("slot %d fires and is still in the wheel", s.slot)
		case r.now < n.set && !n.far:
			r.t.Fatalf("slot %d fires %v early", s.slot, time.Duration(n.set-r.now))
		}
		n.set = 0
		if n.at > r.now {
			r.set(s.slot, n.at)
			continue
		}
		n.at = 0
		r.fired++
	}
	count := 0
	for slot, n := range r.timers {
		if n.set != 0 {
			count++
		}
		if n.at != 0 && n.due+tickLength <= r.now {
			r.t.Fatalf("slot %d is %v late", slot, time.Duration(r.now-n.due))
		}
	}
	if count != r.w.count {
		r.t.Fatalf("%d timers in the wheel, want %d", r.w.count, count)
	}
}

// next checks that waiting as long as the wheel says makes a timer fire, and no earlier one is missed.
func (r *wheelRig) next() time.Duration {
	wait := r.w.wait(r.now)
	if (wait < 0) != (r.w.count == 0) {
		r.t.Fatalf("wait %v with %d timers", wait, r.w.count)
	}
	for slot, n := range r.timers {
		if n.set != 0 && r.now+int64(wait) > max(n.set, r.now)+tickLength {
			r.t.Fatalf("wait %v passes slot %d, due in %v", wait, slot, time.Duration(n.set-r.now))
		}
	}
	return wait
}

func TestWheelAgainstList(t *testing.T) {
	turn := wheelSlots * tickLength
	rapid.Check(t, func(t *rapid.T) {
		r := newWheelRig(t, 6)
		delays := rapid.OneOf(
			rapid.Int64Range(-tickLength, 3*tickLength),
			rapid.Int64Range(0, 2*turn),
			rapid.SampledFrom([]int64{0, 1, tickLength - 1, tickLength, turn - tickLength, turn - 1, turn, turn + 1, 10 * turn}),
		)
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			slot := int32(rapid.IntRange(0, 5).Draw(t, "slot"))
			switch rapid.IntRange(0, 6).Draw(t, "step") {
			case 0, 1:
				at := r.now + delays.Draw(t, "at")
				if n := r.timers[slot]; n.at != 0 && at > n.at {
					n.at, n.due = at, max(at, r.now) // moves away: the wheel is not told
				} else {
					r.set(slot, at)
				}
			case 2:
				r.clear(slot)
			case 3, 4:
				r.advance(max(0, delays.Draw(t, "advance")))
			case 5: // as a loop sleeps
				if wait := r.next(); wait >= 0 {
					before := r.w.count
					r.now += int64(wait)
					if s := r.w.expired(&r.tab, r.now); s == nil {
						t.Fatalf("nothing of %d timers fires after the wait of %v", before, wait)
					} else if n := r.timers[s.slot]; n.at > r.now {
						n.set = 0
						r.set(s.slot, n.at)
					} else {
						*n = naiveTimer{}
					}
				}
			case 6:
				r.advance(rapid.SampledFrom([]int64{3 * turn, int64(time.Hour)}).Draw(t, "idle"))
			}
			r.next()
		}
		for slot := range r.timers {
			r.clear(slot)
		}
		if r.w.count != 0 || r.next() != -1 {
			t.Fatalf("%d timers after all were cleared", r.w.count)
		}
	})
}

func TestWheelFiresOnTheTickAfterTheTime(t *testing.T) {
	for _, delay := range []int64{1, tickLength - 1, tickLength, tickLength + 1, 100 * tickLength, 1000 * tickLength} {
		r := newWheelRig(t, 1)
		r.set(0, r.now+delay)
		due := r.now + delay
		for r.now+1 < due {
			r.advance(min(tickLength/2, due-1-r.now))
			if r.fired != 0 {
				t.Fatalf("a timer of %d ns fires %d ns early", delay, due-r.now)
			}
		}
		r.advance(tickLength + 1)
		if r.fired != 1 {
			t.Errorf("a timer of %d ns does not fire", delay)
		}
	}
}

func TestAnEarlierSettingStays(t *testing.T) {
	r := newWheelRig(t, 1)
	s := r.tab.at(0)
	r.w.set(&r.tab, s, r.now+10*tickLength)
	tick := s.timer.tick
	r.w.set(&r.tab, s, r.now+20*tickLength)
	if s.timer.tick != tick {
		t.Error("a later time has moved the timer")
	}
	r.w.set(&r.tab, s, r.now+5*tickLength)
	if s.timer.tick != tick-5 || r.w.count != 1 {
		t.Errorf("an earlier time moved the timer from tick %d to %d", tick, s.timer.tick)
	}
}

func TestClearKeepsTheOthersOfATick(t *testing.T) {
	for gone := range int32(3) {
		r := newWheelRig(t, 3)
		for slot := range int32(3) {
			r.set(slot, r.now+5*tickLength)
		}
		r.clear(gone)
		r.advance(10 * tickLength)
		if r.fired != 2 {
			t.Errorf("%d timers fire after slot %d was cleared", r.fired, gone)
		}
	}
}

func TestWheelAllocatesNothing(t *testing.T) {
	r := newWheelRig(t, 1)
	s := r.tab.at(0)
	if n := testing.AllocsPerRun(100, func() {
		r.w.set(&r.tab, s, r.now+tickLength)
		r.now += 2 * tickLength
		r.w.expired(&r.tab, r.now)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// A loop full of connections that say nothing sleeps half a second at a time.
func TestFarTimersFireTogether(t *testing.T) {
	const sessions, turns = 500, 3
	r := newWheelRig(t, sessions)
	for slot := range int32(sessions) {
		r.set(slot, r.now+int64(time.Hour))
		r.now += wheelSlots * tickLength / sessions
		r.advance(0)
	}
	wakes := 0
	for end := r.now + turns*wheelSlots*tickLength; r.now < end; wakes++ {
		r.advance(int64(r.next()))
	}
	if most := turns*wheelSlots/farTicks + 1; wakes > most {
		t.Errorf("%d sessions that are due in an hour wake the loop %d times in %d turns of the wheel, want %d", sessions, wakes, turns, most)
	}
}
