package proxy

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestRefKeepsItsParts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		op := rapid.Uint8().Draw(t, "op")
		gen := rapid.Uint32().Draw(t, "gen")
		slot := rapid.Int32().Draw(t, "slot")
		r := newRef(op, gen, slot)
		if r.op() != op || r.gen() != gen&genMask || r.slot() != slot {
			t.Fatalf("ref of %d, %d, %d reads %d, %d, %d", op, gen, slot, r.op(), r.gen(), r.slot())
		}
		if r != ref(op)<<56|ref(gen&genMask)<<32|ref(uint32(slot)) {
			t.Fatalf("ref is %x", uint64(r))
		}
	})
}

func TestEpollEventKeepsItsRef(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := ref(rapid.Uint64().Draw(t, "ref"))
		events := rapid.Uint32().Draw(t, "events")
		ev := newEpollEvent(events, r)
		if eventRef(&ev) != r || ev.Events != events {
			t.Fatalf("event of %x reads %x", uint64(r), uint64(eventRef(&ev)))
		}
	})
}

// The model of a table is what is live and which refs name something that has gone.
func TestTableAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tab := newTable()
		tab.genFirst = rapid.SampledFrom([]uint32{0, 1, genMask - 1, genMask}).Draw(t, "first generation")
		live := map[ref]*session{}
		var order, stale []ref
		for range rapid.IntRange(1, 120).Draw(t, "steps") {
			if len(order) == 0 || rapid.IntRange(0, 2).Draw(t, "free") != 0 {
				s := tab.get()
				r := newRef(0, s.gen, s.slot)
				if live[r] != nil || !s.live || s.fd != [2]int32{} || s.cause != causeNone || s.timer.tick != 0 {
					t.Fatalf("slot %d generation %d is not fresh: %+v", s.slot, s.gen, s)
				}
				if slices.Contains(stale, r) {
					t.Fatalf("%x comes again at once", uint64(r))
				}
				live[r] = s
				order = append(order, r)
				s.fd, s.cause, s.timer.tick = [2]int32{3, 4}, causeStopped, 9
			} else {
				i := rapid.IntRange(0, len(order)-1).Draw(t, "which")
				r := order[i]
				tab.put(live[r])
				delete(live, r)
				order = append(order[:i], order[i+1:]...)
				stale = append(stale, r)
			}
			if tab.used != len(live) {
				t.Fatalf("%d used, want %d", tab.used, len(live))
			}
			for r, s := range live {
				if tab.find(r) != s || tab.find(r|0xab<<56) != s {
					t.Fatalf("live session %x is not found, or has moved", uint64(r))
				}
			}
			for _, r := range stale {
				if s := tab.find(r); s != nil && live[r] == nil {
					t.Fatalf("stale %x finds generation %d of slot %d", uint64(r), s.gen, s.slot)
				}
			}
		}
	})
}

func TestGenerationWraps(t *testing.T) {
	tab := newTable()
	tab.genFirst = genMask
	s := tab.get()
	last := newRef(1, s.gen, s.slot)
	if tab.find(last) != s || last.gen() != 1<<24-1 {
		t.Fatalf("generation %d is not found", last.gen())
	}
	tab.put(s)
	if s = tab.get(); s.gen != 0 || newRef(1, s.gen, s.slot).slot() != last.slot() {
		t.Errorf("after the last generation comes %d", s.gen)
	}
	if tab.find(last) != nil {
		t.Error("the last generation is found in the first")
	}
	if tab.find(newRef(1, 0, s.slot)) != s {
		t.Error("generation 0 is not found")
	}
}

func TestRefsOutsideTheTableFindNothing(t *testing.T) {
	tab := newTable()
	for _, slot := range []int32{-1, -1 << 31, 0, chunkSlots, 1<<31 - 1} {
		if tab.find(newRef(0, 0, slot)) != nil {
			t.Errorf("slot %d of an empty table", slot)
		}
	}
	s := tab.get()
	for slot := range int32(chunkSlots + 1) {
		if found := tab.find(newRef(0, 0, slot)); (found != nil) != (slot == s.slot) {
			t.Errorf("slot %d: found %v", slot, found != nil)
		}
	}
}

func TestGrowthMovesNoSession(t *testing.T) {
	tab := newTable()
	var all []*session
	for i := range uint64(5*chunkSlots + 1) {
		s := tab.get()
		s.id = i
		all = append(all, s)
	}
	if len(tab.chunks) != 6 {
		t.Errorf("%d chunks", len(tab.chunks))
	}
	for i, s := range all {
		if s.id != uint64(i) || tab.at(s.slot) != s {
			t.Fatalf("session %d has moved or was overwritten", i)
		}
	}
	// What is free is reused before the table grows.
	for _, s := range all[100:200] {
		tab.put(s)
	}
	for range 100 {
		tab.get()
	}
	if len(tab.chunks) != 6 || tab.used != len(all) {
		t.Errorf("%d chunks for %d sessions", len(tab.chunks), tab.used)
	}
}

func TestEachVisitsTheLiveEvenIfFreed(t *testing.T) {
	tab := newTable()
	var all []*session
	for range 3 * chunkSlots {
		all = append(all, tab.get())
	}
	for i, s := range all {
		if i%3 == 0 {
			tab.put(s)
		}
	}
	visits := map[int32]int{}
	tab.each(func(s *session) {
		visits[s.slot]++
		tab.put(s)
	})
	for i, s := range all {
		want := 1
		if i%3 == 0 {
			want = 0
		}
		if visits[s.slot] != want {
			t.Errorf("slot %d was visited %d times, want %d", s.slot, visits[s.slot], want)
		}
	}
	if tab.used != 0 {
		t.Errorf("%d used", tab.used)
	}
	tab.each(func(s *session) { t.Errorf("slot %d is live", s.slot) })
}
