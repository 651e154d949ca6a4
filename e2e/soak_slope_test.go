package e2e

import (
	"math"
	"slices"
	"testing"
	"time"
)

// How fast memory may grow once a soak is warm, and what it takes to see that it does not.
//
// The warm-up ends after the largest load there will be, so that tables, buffers and the log's rings have had their high-water
// marks, after many collections in short order (soak_age_test.go), and after one of the periods of two minutes between those that
// follow, so that the little garbage of such a period, as a rotation of the log leaves, comes to pages that are there.
const (
	soakGroups = 20              // of looks, for the slope
	soakSteep  = 1 << 20         // bytes an hour that fail
	soakShown  = 4 * time.Minute // after the warm-up show a slope: a leak of 1 MiB an hour makes it 17 pages
)

// slope estimates how fast memory still grows after the warm-up, and wants less than 1 MiB an hour to be certain.
func (s *soak) slope(memory []int64, span time.Duration) {
	calm := memory[int(float64(len(memory))*soakCalm):]
	if len(calm) < 2*soakGroups {
		s.t.Logf("too short for a slope of memory: %d looks", len(calm))
		return
	}
	span = span * time.Duration(len(calm)) / time.Duration(len(memory))
	slope, err, steep := growth(calm, span)
	s.t.Logf("memory: %.0f ± %.0f KiB an hour over %v", slope/1024, err/1024, span.Round(time.Second))
	switch {
	case raceEnabled: // its shadow grows as it likes
	case span < soakShown:
		s.t.Log("that is too short to be judged")
	case steep:
		s.t.Errorf("memory grows by %.0f KiB an hour, ± %.0f", slope/1024, err/1024)
	}
}

// growth puts looks at memory, of which there have been as many in any part of span, together in groups, of which the least counts,
// and fits a straight line to what they rise by: a leak is not made good by what the runtime gives back meanwhile. It is too steep
// unless even the slope and twice its standard error are below the limit, so memory that goes up and down fails as well.
func growth(memory []int64, span time.Duration) (slope, err float64, steep bool) {
	hours := span.Hours() / float64(len(memory)) // between two looks
	var x, y []float64
	risen, last := 0.0, float64(memory[0])
	for g := range soakGroups {
		from, to := g*len(memory)/soakGroups, (g+1)*len(memory)/soakGroups
		least := float64(slices.Min(memory[from:to]))
		risen, last = risen+max(0, least-last), least
		x = append(x, float64(from+to)/2*hours)
		y = append(y, risen)
	}
	slope, err = fit(x, y)
	return slope, err, slope+2*err >= soakSteep
}

// fit is the slope of the straight line through points, and its standard error.
func fit(x, y []float64) (slope, err float64) {
	n := float64(len(x))
	var mx, my float64
	for i := range x {
		mx, my = mx+x[i]/n, my+y[i]/n
	}
	var xx, xy float64
	for i := range x {
		xx += (x[i] - mx) * (x[i] - mx)
		xy += (x[i] - mx) * (y[i] - my)
	}
	slope = xy / xx
	var rest float64
	for i := range x {
		d := y[i] - my - slope*(x[i]-mx)
		rest += d * d
	}
	return slope, math.Sqrt(rest / (n - 2) / xx)
}

// A leak of 1 MiB an hour is seen in the shortest time that is judged, and one of a fifth more where memory is given back meanwhile,
// which hides what it has come to within that group of looks; a few pages that come once are none.
func TestSlopeSeesALeak(t *testing.T) {
	const looks, page = 800, 4 << 10
	memory := func(of func(share float64) float64) []int64 {
		list := make([]int64, looks)
		for i := range list {
			list[i] = 40<<20 + int64(of(float64(i)/looks))/page*page
		}
		return list
	}
	leak := soakSteep * soakShown.Hours()
	step := func(at, share, bytes float64) float64 {
		if share < at {
			return 0
		}
		return bytes
	}
	for _, c := range []struct {
		name  string
		steep bool
		of    func(share float64) float64
	}{
		{"flat", false, func(float64) float64 { return 0 }},
		{"a collection now and then", false, func(share float64) float64 { return math.Mod(share*100, 1) * 64 * page }},
		{"two pages, once", false, func(share float64) float64 { return step(0.5, share, 2*page) }},
		{"a page, four times", false, func(share float64) float64 {
			return step(0.1, share, page) + step(0.3, share, page) + step(0.6, share, page) + step(0.8, share, page)
		}},
		{"a leak", true, func(share float64) float64 { return share * leak * 1.01 }},
		{"a leak by large pieces", true, func(share float64) float64 { return math.Ceil(share*3) / 3 * leak }},
		{"a leak, and memory given back", true, func(share float64) float64 { return 1.2*share*leak - step(0.5, share, leak) }},
		{"a leak, and as much given back at the start", true, func(share float64) float64 { return share*leak - step(0.05, share, leak) }},
	} {
		slope, err, steep := growth(memory(c.of), soakShown)
		t.Logf("%s: %.0f ± %.0f KiB an hour", c.name, slope/1024, err/1024)
		if steep != c.steep {
			t.Errorf("%s: too steep is %v", c.name, steep)
		}
	}
}
