package stats

import (
	"runtime"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const ms = int64(time.Millisecond)

// event is what the oracle keeps: a plain list of when how many messages were published.
type event struct {
	at                int64
	requests, answers uint64
}

// oracle sums the events of a window of length ns that ends at now, by the definition: the slot of now, and as many before
// it as make up the length.
func oracle(events []event, now, length int64) (requests, answers uint64) {
	const slot = 10 * ms
	first := (now/slot + 1 - length/slot) * slot
	for _, e := range events {
		if e.at >= first && e.at/slot <= now/slot {
			requests += e.requests
			answers += e.answers
		}
	}
	return requests, answers
}

func TestWindowsAgainstListOfTimestamps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		set := NewSet(rapid.IntRange(1, 3).Draw(t, "cores"))
		locals := make([]Local, len(set.cores))
		var events []event
		now := rapid.Int64Range(0, 20_000).Draw(t, "start") * ms
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now += rapid.OneOf(
				rapid.Int64Range(0, 30*ms),
				rapid.SampledFrom([]int64{0, 1, 10*ms - 1, 10 * ms, 990 * ms, 1000*ms - 1, 1000 * ms, 9990 * ms, 10_000*ms - 1, 10_000 * ms, 10_240*ms - 1, 10_240 * ms, 10_250 * ms, 31_000 * ms}),
			).Draw(t, "pass")
			i := rapid.IntRange(0, len(locals)-1).Draw(t, "core")
			e := event{
				at:       now,
				requests: rapid.Uint64Range(0, 5).Draw(t, "req"),
				answers:  rapid.Uint64Range(0, 5).Draw(t, "ack"),
			}
			naks := rapid.Uint64Range(0, e.answers).Draw(t, "nak")
			locals[i][Req] += e.requests
			locals[i][Ack] += e.answers - naks
			locals[i][Nak] += naks
			set.Core(i).Publish(&locals[i], now)
			events = append(events, e)

			at := now + rapid.SampledFrom([]int64{0, 1, 5 * ms, 980 * ms, 999 * ms, 1000 * ms, 9999 * ms, 10_000 * ms}).Draw(t, "look")
			s := set.Snapshot(at)
			req1, ans1 := oracle(events, at, 1000*ms)
			req10, ans10 := oracle(events, at, 10_000*ms)
			want := [4]float64{float64(req1), float64(req10) / 10, float64(ans1), float64(ans10) / 10}
			got := [4]float64{s.RequestRate1, s.RequestRate10, s.ResponseRate1, s.ResponseRate10}
			if got != want {
				t.Fatalf("rates at %d ns: got %v, want %v; events %v", at, got, want, events)
			}
		}
	})
}

// The edges are written out here because the oracle above shares the definition with the code.
func TestWindowEdges(t *testing.T) {
	tests := []struct {
		name        string
		event, look int64
		in1, in10   bool
	}{
		{"same instant", 5000 * ms, 5000 * ms, true, true},
		{"at time zero", 0, 0, true, true},
		{"younger than 990 ms, always in", 5009 * ms, 5009*ms + 990*ms - 1, true, true},
		{"990 ms old, the slot just begun", 5009 * ms, 5999 * ms, true, true},
		{"last ns of its slot, the slot falls out", 5010*ms - 1, 6000 * ms, false, true},
		{"1 s old, never in", 5000 * ms, 6000 * ms, false, true},
		{"1 ns short of 1 s", 5000 * ms, 6000*ms - 1, true, true},
		{"younger than 9.99 s, always in", 5009 * ms, 5009*ms + 9990*ms - 1, false, true},
		{"10 s old, never in", 5000 * ms, 15_000 * ms, false, false},
		{"1 ns short of 10 s", 5000 * ms, 15_000*ms - 1, false, true},
		{"same index, one lap later", 5000 * ms, 5000*ms + 10_240*ms, false, false},
		{"far later", 5000 * ms, 3_600_000 * ms, false, false},
		{"the reader's time is before the slot", 5000 * ms, 4989 * ms, false, false},
		{"the reader's time is 1 ns before the slot", 5000 * ms, 5000*ms - 1, false, false},
		{"the reader's time is earlier in the slot", 5009 * ms, 5001 * ms, true, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			set := NewSet(1)
			set.Core(0).Publish(&Local{Req: 30, Ack: 10, Nak: 10}, test.event)
			s := set.Snapshot(test.look)
			var want [4]float64
			if test.in1 {
				want[0], want[2] = 30, 20
			}
			if test.in10 {
				want[1], want[3] = 3, 2
			}
			if got := [4]float64{s.RequestRate1, s.RequestRate10, s.ResponseRate1, s.ResponseRate10}; got != want {
				t.Errorf("event at %d, look at %d: rates %v, want %v", test.event, test.look, got, want)
			}
		})
	}
}

func TestSlotIsReusedAfterIdling(t *testing.T) {
	set := NewSet(1)
	c, l := set.Core(0), Local{}
	for _, now := range []int64{0, slotCount * 10 * ms, 2 * slotCount * 10 * ms, 7 * slotCount * 10 * ms} {
		l[Req] += 3
		c.Publish(&l, now)
		if s := set.Snapshot(now); s.RequestRate1 != 3 || s.RequestRate10 != 0.3 {
			t.Errorf("after idling until %d ns: rates %v and %v, want 3 and 0.3", now, s.RequestRate1, s.RequestRate10)
		}
	}
}

func TestClockSteppingBackAddsToNewestSlot(t *testing.T) {
	set := NewSet(1)
	c, l := set.Core(0), Local{Req: 1}
	c.Publish(&l, 2000*ms)
	l[Req] = 3
	c.Publish(&l, 1000*ms)
	if s := set.Snapshot(2000 * ms); s.RequestRate1 != 3 {
		t.Errorf("rate %v, want 3", s.RequestRate1)
	}
}

// A writer gives one and the same slot a new number as fast as it can, each with counts that follow from the number. A
// reader must never see a number with the counts of another.
func TestReaderRejectsTornSlot(t *testing.T) {
	// This slot's number and counts lie in two cache lines, so that they can arrive at different times.
	const laps, index = 300_000, 2
	counts := func(lap uint64) uint64 { return lap*2654435761%1000 + 1 }
	r := new(ring)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for lap := range uint64(laps) {
			r.add(counts(lap), 2*counts(lap), int64(lap*slotCount+index)*10*ms)
			if lap%64 == 0 {
				runtime.Gosched()
			}
		}
	}()
	seen := 0
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		mark, requests, answers := r.slots[index].read()
		if mark == 0 {
			continue
		}
		seen++
		lap := (mark - 1) / slotCount
		if requests != counts(lap) || answers != 2*counts(lap) {
			t.Fatalf("slot of lap %d has counts %d and %d, want %d and %d", lap, requests, answers, counts(lap), 2*counts(lap))
		}
	}
	if seen == 0 {
		t.Fatal("the reader never got a slot")
	}
	// A slot that is being reused when the reader comes counts as nothing.
	r.slots[index].mark.Store(0)
	if mark, requests, answers := r.slots[index].read(); mark|requests|answers != 0 {
		t.Errorf("a slot in reuse reads as %d, %d, %d", mark, requests, answers)
	}
}
