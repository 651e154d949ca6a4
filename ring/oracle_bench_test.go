//go:build giouring

package ring

import (
	"testing"

	"github.com/pawelgaczynski/giouring"
)

// newTheirs makes a ring of giouring with the flags of ours, as far as it can set them.
func newTheirs(tb testing.TB, entries uint32) *giouring.Ring {
	tb.Helper()
	g := giouring.NewRing()
	flags := SetupSingleIssuer | SetupDeferTaskrun | SetupTaskrunFlag | SetupSubmitAll
	if err := g.QueueInit(entries, flags); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(g.QueueExit)
	return g
}

// An enter that has nothing to do.
func BenchmarkEnter(b *testing.B) {
	b.Run("ring", func(b *testing.B) {
		r := newRing(b, Params{Entries: 64})
		for b.Loop() {
			if errno := r.enter(0, 0, enterGetEvents, 0, false); errno != 0 {
				b.Fatal(errno)
			}
		}
	})
	b.Run("giouring", func(b *testing.B) {
		pin(b)
		g := newTheirs(b, 64)
		for b.Loop() {
			if _, err := g.GetEvents(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// One nop there and back.
func BenchmarkNop(b *testing.B) {
	b.Run("ring", func(b *testing.B) {
		r := newRing(b, Params{Entries: 64})
		for b.Loop() {
			r.PrepNop(1)
			if errno := r.Collect(); errno != 0 {
				b.Fatal(errno)
			}
			batch := r.Ready()
			if len(batch) != 1 || batch[0].UserData != 1 {
				b.Fatal(describe(batch))
			}
			r.Advance(1)
		}
	})
	b.Run("giouring", func(b *testing.B) {
		pin(b)
		g := newTheirs(b, 64)
		for b.Loop() {
			e := g.GetSQE()
			e.PrepareNop()
			e.SetData64(1)
			if _, err := g.SubmitAndGetEvents(); err != nil {
				b.Fatal(err)
			}
			c, err := g.PeekCQE()
			if err != nil || c.UserData != 1 {
				b.Fatal(c, err)
			}
			g.CQESeen(c)
		}
	})
}

const benchBatch = 64

// Reading 64 completions and giving them back, without the enter: the time of an operation is that of one batch.
func BenchmarkReap(b *testing.B) {
	b.Run("ring", func(b *testing.B) {
		r := newRing(b, Params{Entries: benchBatch})
		sum := uint64(0)
		for b.Loop() {
			b.StopTimer()
			for i := range uint64(benchBatch) {
				r.PrepNop(i)
			}
			r.Submit()
			b.StartTimer()
			for batch := r.Ready(); len(batch) > 0; batch = r.Ready() {
				for i := range batch {
					sum += batch[i].UserData
				}
				r.Advance(len(batch))
			}
		}
		if sum != uint64(b.N)*benchBatch*(benchBatch-1)/2 {
			b.Error("completions are missing")
		}
	})
	b.Run("giouring", func(b *testing.B) {
		pin(b)
		g := newTheirs(b, benchBatch)
		cqes := make([]*giouring.CompletionQueueEvent, benchBatch)
		sum := uint64(0)
		for b.Loop() {
			b.StopTimer()
			for i := range uint64(benchBatch) {
				e := g.GetSQE()
				e.PrepareNop()
				e.SetData64(i)
			}
			if _, err := g.Submit(); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
			for n := g.PeekBatchCQE(cqes); n > 0; n = g.PeekBatchCQE(cqes) {
				for _, c := range cqes[:n] {
					sum += c.UserData
				}
				g.CQAdvance(n)
			}
		}
		if sum != uint64(b.N)*benchBatch*(benchBatch-1)/2 {
			b.Error("completions are missing")
		}
	})
}

// A whole batch: prepare 64 entries, enter, read 64 completions.
func BenchmarkBatch(b *testing.B) {
	b.Run("ring", func(b *testing.B) {
		r := newRing(b, Params{Entries: benchBatch})
		for b.Loop() {
			for i := range uint64(benchBatch) {
				r.PrepNop(i)
			}
			r.Collect()
			seen := 0
			for batch := r.Ready(); len(batch) > 0; batch = r.Ready() {
				seen += len(batch)
				r.Advance(len(batch))
			}
			if seen != benchBatch {
				b.Fatal(seen)
			}
		}
	})
	b.Run("giouring", func(b *testing.B) {
		pin(b)
		g := newTheirs(b, benchBatch)
		cqes := make([]*giouring.CompletionQueueEvent, benchBatch)
		for b.Loop() {
			for i := range uint64(benchBatch) {
				e := g.GetSQE()
				e.PrepareNop()
				e.SetData64(i)
			}
			if _, err := g.SubmitAndGetEvents(); err != nil {
				b.Fatal(err)
			}
			seen := uint32(0)
			for n := g.PeekBatchCQE(cqes); n > 0; n = g.PeekBatchCQE(cqes) {
				seen += n
				g.CQAdvance(n)
			}
			if seen != benchBatch {
				b.Fatal(seen)
			}
		}
	})
}

func pin(b *testing.B) {
	b.Helper()
	newRing(b, Params{Entries: 1}) // locks the goroutine to its thread, as on the other side
}
