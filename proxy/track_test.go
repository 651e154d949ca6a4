package proxy

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

type trackedRequest struct {
	seq, start int64
	size       uint64
}

// naiveTracker is the oracle: a list in order of arrival.
type naiveTracker struct{ list []trackedRequest }

func (n *naiveTracker) match(seq int64) (trackedRequest, bool) {
	for i, r := range n.list {
		if r.seq == seq {
			n.list = slices.Delete(n.list, i, i+1)
			return r, true
		}
	}
	return trackedRequest{}, false
}

func outstanding(k *tracker) []trackedRequest {
	list := []trackedRequest{}
	k.each(func(seq, start int64, size uint64) { list = append(list, trackedRequest{seq, start, size}) })
	return list
}

// checkTable checks the invariants that trackTable states.
func checkTable(t *rapid.T, k *tracker) {
	table := k.table
	if table == nil {
		return
	}
	if table.live == 0 {
		t.Fatal("an empty tracker holds a table")
	}
	indexed, before := 0, true
	for i := table.entries[0].next; i != 0; i = table.entries[i].next {
		e := &table.entries[i]
		if table.entries[e.next].prev != i || table.entries[e.prev].next != i {
			t.Fatalf("entry %d is not linked both ways", i)
		}
		if e.indexed && !before {
			t.Fatalf("entry %d is indexed and one before it is not", i)
		}
		if before = e.indexed; before {
			indexed++
		}
	}
	inBuckets := 0
	for _, b := range table.index {
		for i := b.first; i != 0; i = table.entries[i].twin {
			inBuckets++
			if table.entries[i].twin == 0 && i != b.last {
				t.Fatalf("bucket %v ends at %d", b, i)
			}
		}
	}
	if inBuckets != indexed {
		t.Fatalf("%d entries in the index, want %d", inBuckets, indexed)
	}
}

func TestTrackerAgainstList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		max := rapid.SampledFrom([]int{0, 1, 7, 8, 9, 64, 65, 1000}).Draw(t, "max")
		pool := newTrackerPool(max)
		if rapid.Bool().Draw(t, "all in one bucket") {
			pool.seed = [2]uint64{0, 0}
		}
		seqs := rapid.OneOf(
			rapid.Int64Range(0, 3),
			rapid.Int64Range(0, 200),
			rapid.SampledFrom([]int64{math.MinInt64, -1, 0, math.MaxInt64}),
		)
		// Two trackers share the pool: one's table must not show in the other's.
		trackers := []*tracker{pool.tracker(), pool.tracker()}
		models := make([]naiveTracker, len(trackers))
		clock := int64(0)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			which := rapid.IntRange(0, len(trackers)-1).Draw(t, "which")
			k, model := trackers[which], &models[which]
			match := func(seq int64) {
				want, wantOK := model.match(seq)
				start, size, ok := k.match(seq)
				if ok != wantOK || start != want.start || size != want.size {
					t.Fatalf("match(%d) = %d, %d, %v; want %d, %d, %v", seq, start, size, ok, want.start, want.size, wantOK)
				}
			}
			switch rapid.IntRange(0, 6).Draw(t, "step") {
			case 0, 1, 2: // a burst, with rising or arbitrary Seqs
				rising := rapid.Bool().Draw(t, "rising")
				for range rapid.IntRange(1, 40).Draw(t, "burst") {
					clock++
					r := trackedRequest{clock, clock, uint64(clock) * 3}
					if !rising {
						r.seq = seqs.Draw(t, "seq")
					}
					room := len(model.list) < max
					if got := k.add(r.seq, r.start, r.size); got != room {
						t.Fatalf("add with %d of %d outstanding: %v", len(model.list), max, got)
					}
					if room {
						model.list = append(model.list, r)
					}
				}
			case 3:
				match(seqs.Draw(t, "any"))
			case 4, 5: // some answers, from either end or anywhere
				where := rapid.IntRange(0, 2).Draw(t, "where")
				for range rapid.IntRange(1, 40).Draw(t, "answers") {
					n := len(model.list)
					if n == 0 {
						break
					}
					match(model.list[[]int{0, n - 1, rapid.IntRange(0, n-1).Draw(t, "at")}[where]].seq)
				}
			case 6:
				k.reset()
				model.list = nil
			}
			for i, k := range trackers {
				checkTable(t, k)
				if k.len() != len(models[i].list) || !slices.Equal(outstanding(k), models[i].list) {
					t.Fatalf("tracker %d has %v, want %v", i, outstanding(k), models[i].list)
				}
			}
		}
	})
}

func TestTrackerHoldsNothingWhenEmpty(t *testing.T) {
	const many = 50_000
	pool := newTrackerPool(many)
	k := pool.tracker()
	for seq := range int64(many) {
		if !k.add(seq, seq, 1) {
			t.Fatalf("no room for request %d", seq)
		}
	}
	if k.add(0, 0, 0) {
		t.Error("room for more than the bound")
	}
	for seq := int64(many - 1); seq >= 0; seq-- {
		if start, _, ok := k.match(seq); !ok || start != seq {
			t.Fatalf("match(%d) = %d, %v", seq, start, ok)
		}
	}
	if k.table != nil {
		t.Error("a table after the last answer")
	}
	if pool.spare == 0 || pool.spare > trackSpare {
		t.Errorf("the pool keeps %d bytes, want at most %d", pool.spare, trackSpare)
	}
}

func TestPoolKeepsABoundedNumberOfTables(t *testing.T) {
	pool := newTrackerPool(1 << 16)
	trackers := make([]*tracker, 100)
	for i := range trackers {
		trackers[i] = pool.tracker()
		for seq := range int64(10_000) {
			trackers[i].add(seq, 0, 0)
		}
	}
	for _, k := range trackers {
		k.reset()
	}
	kept := 0
	for _, tables := range pool.free {
		for _, table := range tables {
			kept += table.bytes()
		}
	}
	if kept != pool.spare || kept > trackSpare || kept < trackSpare/2 {
		t.Errorf("the pool keeps %d bytes and says %d; want at most %d, and not much less", kept, pool.spare, trackSpare)
	}
}

// What a flood has left does not keep out the small tables that everybody needs, nor the other way round.
func TestPoolKeepsSmallTables(t *testing.T) {
	pool := newTrackerPool(1 << 16)
	trackers := make([]*tracker, 1000)
	each := func(requests int64) {
		for i := range trackers {
			if trackers[i] == nil {
				trackers[i] = pool.tracker()
			}
			for seq := range requests {
				trackers[i].add(seq, 0, 0)
			}
		}
		for _, k := range trackers {
			k.reset()
		}
	}
	each(1000)
	large := pool.spare
	if n := testing.AllocsPerRun(10, func() { each(1) }); n > 0 {
		t.Errorf("%v objects for a thousand requests after a flood", n)
	}
	if pool.spare > trackSpare || pool.spare < trackSpare/2 || len(pool.free[0]) != len(trackers) {
		t.Errorf("the pool keeps %d bytes, %d before, %d tables of the smallest", pool.spare, large, len(pool.free[0]))
	}
}

// Answers near the order of the requests need no index; the first that is farther away makes it.
func TestIndexOnlyForAnswersFarFromTheOrder(t *testing.T) {
	k := newTracker(100)
	for seq := range int64(100) {
		k.add(seq, 0, 0)
	}
	for seq := int64(trackScan - 1); seq >= 0; seq-- {
		k.match(seq)
	}
	if k.table.index != nil {
		t.Errorf("an index after answers to the oldest %d", trackScan)
	}
	k.match(2 * trackScan)
	if k.table.index == nil {
		t.Errorf("no index after an answer to a request behind %d others", trackScan)
	}
}

// Many requests of one Seq share a place in the index; it must still hand them out in order, and those behind the scan.
func TestManyRequestsOfOneSeq(t *testing.T) {
	const many = 200_000
	k := newTracker(many + 1)
	k.add(-1, -1, 0)
	for i := range int64(trackScan) {
		k.add(-2, i, 0)
	}
	for i := range int64(many - trackScan) {
		k.add(7, i, 0)
	}
	for i := range int64(many - trackScan) {
		if start, _, ok := k.match(7); !ok || start != i {
			t.Fatalf("match %d: %d, %v", i, start, ok)
		}
	}
	if _, _, ok := k.match(7); ok || k.len() != trackScan+1 {
		t.Errorf("%d requests left", k.len())
	}
}

// answerOrders are orders in which a window of requests is answered.
func answerOrders(n int) map[string][]int64 {
	inOrder := make([]int64, n)
	for i := range inOrder {
		inOrder[i] = int64(i)
	}
	reversed, random := slices.Clone(inOrder), slices.Clone(inOrder)
	slices.Reverse(reversed)
	rand.New(rand.NewPCG(1, 2)).Shuffle(n, func(i, j int) { random[i], random[j] = random[j], random[i] })
	return map[string][]int64{"in order": inOrder, "reversed": reversed, "random": random}
}

func TestTrackerAllocatesNothing(t *testing.T) {
	for _, n := range []int{1, 64, 5000} {
		for name, order := range answerOrders(n) {
			k := newTracker(n)
			base := int64(0)
			round := func() {
				base += int64(n)
				for i := range int64(n) {
					k.add(base+i, 0, 0)
				}
				for _, i := range order {
					k.match(base + i)
				}
			}
			round() // the pool gets its tables
			if allocs := testing.AllocsPerRun(20, round); allocs != 0 {
				t.Errorf("%d outstanding, %s: %v allocations", n, name, allocs)
			}
		}
	}
}

// An answer is known as a repeated one while its match is among the latest of its own connection.
func TestTrackerKnowsRepeatedAnswers(t *testing.T) {
	pool := newTrackerPool(100)
	k, other := pool.tracker(), pool.tracker()
	if k.answered(0) {
		t.Error("a fresh tracker knows an answer")
	}
	for seq := range int64(trackLatest + 1) {
		k.add(seq, 0, 0)
		if k.answered(seq) {
			t.Errorf("request %d is known as answered before it was", seq)
		}
		k.match(seq)
		if !k.answered(seq) || other.answered(seq) {
			t.Errorf("after answer %d: known %v, to another connection %v", seq, k.answered(seq), other.answered(seq))
		}
	}
	if k.answered(0) || !k.answered(1) {
		t.Errorf("not the latest %d answers are known", trackLatest)
	}
}

// A tracker is used again by another connection, which finds nothing of the one before.
func TestTrackerIsUsedAgain(t *testing.T) {
	pool := newTrackerPool(100)
	pool.size = 10
	k := pool.tracker()
	k.add(1, 0, 0)
	k.match(1)
	k.add(2, 0, 0)
	k.begin(client, []byte("REQ 3 begun"))
	pool.release(k)
	again := pool.tracker()
	if again != k || again.len() != 0 || again.answered(1) || len(again.begun[client]) != 0 {
		t.Errorf("the same one %v, %d requests, knows an answer %v, has %q", again == k, again.len(), again.answered(1), again.begun[client])
	}
	if _, _, ok := again.match(2); ok {
		t.Error("an answer matches the request of another connection")
	}
	if pool.tracker() == k {
		t.Error("one tracker is given to two connections")
	}
}

// One operation is one request and its answer.
func BenchmarkTracker(b *testing.B) {
	for _, n := range []int{1, 64, 50_000} {
		for name, order := range answerOrders(n) {
			b.Run(fmt.Sprintf("%d/%s", n, name), func(b *testing.B) {
				k := newTracker(n)
				base := int64(0)
				for done := 0; done < b.N; done += n {
					base += int64(n)
					for i := range int64(n) {
						k.add(base+i, 0, 0)
					}
					for _, i := range order {
						k.match(base + i)
					}
				}
			})
		}
	}
}
