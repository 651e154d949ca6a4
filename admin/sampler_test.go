package admin

import (
	"testing"
	"time"
)

// The sampler is at work as long as the process is: what it takes every second leaves nothing for the collector.
func TestSamplesLeaveNoGarbage(t *testing.T) {
	f, m, now := newFake(), new(sampler), time.Now()
	take := func() {
		now = now.Add(samplePeriod)
		m.take(f, now)
	}
	for range historyLen { // until all that is kept is there
		take()
	}
	f.answer(1)
	if n := testing.AllocsPerRun(2*samplesKept, take); n != 0 {
		t.Errorf("a sample leaves %v objects", n)
	}
	if len(m.past.P99) != historyLen || len(m.busy10) != 2 || m.last1.Count != 0 || m.taken < historyLen {
		t.Errorf("%d values of history, %d loops, %d answers in the last second", len(m.past.P99), len(m.busy10), m.last1.Count)
	}
}

// Bars hold all that the distribution does, and no empty one is at either end.
func TestBars(t *testing.T) {
	f, m := newFake(), new(sampler)
	m.take(f, time.Now())
	var n uint64
	for i, b := range m.bars {
		n += b.Count
		if i > 0 && (b.UpTo/m.bars[i-1].UpTo < 1.18 || b.UpTo/m.bars[i-1].UpTo > 1.2) {
			t.Errorf("after a bar up to %v comes one up to %v", m.bars[i-1].UpTo, b.UpTo)
		}
	}
	if n != m.last10.Count || n == 0 || m.bars[0].Count == 0 || m.bars[len(m.bars)-1].Count == 0 {
		t.Errorf("%d of %d in bars, from %v to %v", n, m.last10.Count, m.bars[0], m.bars[len(m.bars)-1])
	}
	if last := m.bars[len(m.bars)-1].UpTo; last < m.last10.Max || last > 1.2*m.last10.Max {
		t.Errorf("the last bar is up to %v µs, the longest took %v µs", last, m.last10.Max)
	}
}
