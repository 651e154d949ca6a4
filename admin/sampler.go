package admin

import (
	"slices"
	"sync"
	"time"

	"fooproxy/proxy"
	"fooproxy/stats"
)

const (
	// samplePeriod is the unit of what is said of the last second and the last ten.
	samplePeriod = time.Second
	// samplesKept is how many samples are kept: the ends of eleven seconds bound ten.
	samplesKept = 11
	// historyLen is how many seconds the page can look back.
	historyLen = 120
)

// sample is what the proxy showed at one time.
type sample struct {
	at      time.Time
	latency stats.Distribution
	busy    []time.Duration // of each loop
}

// sampler looks at the proxy once per second and keeps what is needed to speak of the last seconds. The loops have no part
// in it. A sample is 220 KB. All of it is used again and again: what is given out is a copy.
type sampler struct {
	mu     sync.Mutex
	ring   [samplesKept]sample
	taken  int
	view   proxy.View
	scrap  stats.Distribution
	last1  Quantiles
	last10 Quantiles
	bars   []Bar
	busy1  []float64
	busy10 []float64
	past   History
}

// newest returns the sample taken back periods ago, or the oldest there is; back is less than samplesKept.
func (m *sampler) newest(back int) *sample {
	back = min(back, m.taken-1)
	return &m.ring[(m.taken-1-back)%samplesKept]
}

// take looks at the proxy.
func (m *sampler) take(source Source, now time.Time) {
	source.View(&m.view)
	m.mu.Lock()
	defer m.mu.Unlock()
	s := &m.ring[m.taken%samplesKept]
	m.taken++
	s.at = now
	s.latency = m.view.Latency
	s.busy = s.busy[:0]
	for _, loop := range m.view.Loops {
		s.busy = append(s.busy, loop.Busy)
	}
	m.last1 = m.between(m.newest(1), s)
	m.last10 = m.between(m.newest(10), s) // scrap has the last ten seconds now
	m.bars = appendBars(m.bars[:0], &m.scrap)
	m.busy1 = appendBusy(m.busy1[:0], m.newest(1), s)
	m.busy10 = appendBusy(m.busy10[:0], m.newest(10), s)
	m.past.RequestRate = push(m.past.RequestRate, m.view.Total.RequestRate1)
	m.past.ResponseRate = push(m.past.ResponseRate, m.view.Total.ResponseRate1)
	m.past.P50 = push(m.past.P50, m.last1.P50)
	m.past.P99 = push(m.past.P99, m.last1.P99)
}

// between leaves what happened between two samples in scrap.
func (m *sampler) between(from, to *sample) Quantiles {
	m.scrap = to.latency
	if from != to {
		m.scrap.Sub(&from.latency)
	}
	return quantilesOf(&m.scrap)
}

// appendBusy appends the share of the time between two samples that each loop was busy.
func appendBusy(shares []float64, from, to *sample) []float64 {
	for i := range to.busy {
		share := 0.0
		if span := to.at.Sub(from.at); span > 0 && i < len(from.busy) {
			share = min(max(float64(to.busy[i]-from.busy[i])/float64(span), 0), 1)
		}
		shares = append(shares, share)
	}
	return shares
}

func push(list []float64, v float64) []float64 {
	if len(list) == historyLen {
		list = slices.Delete(list, 0, 1)
	}
	return append(list, v)
}

func (m *sampler) history() History {
	m.mu.Lock()
	defer m.mu.Unlock()
	return History{
		RequestRate: slices.Clone(m.past.RequestRate), ResponseRate: slices.Clone(m.past.ResponseRate),
		P50: slices.Clone(m.past.P50), P99: slices.Clone(m.past.P99),
	}
}

// latency adds the last seconds to the total.
func (m *sampler) latency(total *stats.Distribution) *Latency {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &Latency{Total: quantilesOf(total), Last1: m.last1, Last10: m.last10, Distribution: append([]Bar{}, m.bars...)}
}

// loops adds how busy they were to what they show.
func (m *sampler) loops(view []proxy.LoopView) []Loop {
	m.mu.Lock()
	defer m.mu.Unlock()
	loops := make([]Loop, len(view))
	for i := range view {
		v := &view[i]
		loops[i] = Loop{
			Index: i, CPU: v.CPU,
			Accepted: v.Local[stats.Accepted], Connections: v.Open(), MsgTotal: v.Total(),
			RequestRate1: v.RequestRate1, ResponseRate1: v.ResponseRate1,
			BufferedBytes: v.Local[stats.Buffered], ReadPauses: v.Local[stats.ReadPauses], NoBuffer: v.Local[stats.NoBuffer],
		}
		if i < len(m.busy1) {
			loops[i].Busy1, loops[i].Busy10 = m.busy1[i], m.busy10[i]
		}
	}
	return loops
}

// barRatio is that of the bounds of neighbouring bars: four to a doubling. The first ends at 1 µs.
const barRatio = 1.189207115002721

// appendBars cuts a distribution into bars whose bounds have a constant ratio, so that all of it can be seen on one logarithmic
// scale, and appends them. There are at most 106, and none is empty at either end.
func appendBars(bars []Bar, d *stats.Distribution) []Bar {
	upTo, begun := 1.0, len(bars)
	d.Each(func(lo, _ int64, n uint64) {
		for from := float64(lo) / float64(time.Microsecond); from > upTo; {
			upTo *= barRatio
			if len(bars) > begun {
				bars = append(bars, Bar{UpTo: upTo})
			}
		}
		if len(bars) == begun {
			bars = append(bars, Bar{UpTo: upTo})
		}
		bars[len(bars)-1].Count += n
	})
	return bars
}
