package stats

import "time"

var base = time.Now()

// Now returns the monotonic time in ns since the program started, never negative.
func Now() int64 { return int64(time.Since(base)) }

// Set is the cores of all loops.
type Set struct{ cores []*Core }

// NewSet returns a set of n cores.
func NewSet(n int) *Set {
	s := &Set{cores: make([]*Core, n)}
	for i := range s.cores {
		s.cores[i] = new(Core)
	}
	return s
}

// Core returns core i of [0, n).
func (s *Set) Core(i int) *Core { return s.cores[i] }

const (
	settleLook  = 100 * time.Microsecond // between two looks at the cores
	settleAwake = time.Millisecond       // a loop with something to do has woken up within this time
	settleTurns = 2 * stateTurn          // the turn that is under way, and a whole one after it
	settleRoom  = 32                     // cores that are watched without allocating
)

// Settle waits until what had reached the loops' sockets before the call is counted, at most limit. A running loop must
// end the turn it is in and one more, which is the one that sees all that was there at the call. A sleeping loop has
// published all that it did; since data may just have arrived and be waking it, it must be found asleep in the same turn
// for settleAwake.
func (s *Set) Settle(limit time.Duration) {
	type watch struct {
		start, seen uint64
		since       time.Time // when seen was first seen
	}
	var room [settleRoom]watch // on the stack
	watched := room[:0]
	now := time.Now()
	deadline := now.Add(limit)
	for _, c := range s.cores {
		state := c.state.Load()
		watched = append(watched, watch{start: state, seen: state, since: now})
	}
	for {
		waiting := false
		for i, c := range s.cores {
			w, state := &watched[i], c.state.Load()
			if state != w.seen {
				w.seen, w.since = state, now
			}
			asleep := state&stateIdle != 0 && now.Sub(w.since) >= settleAwake
			if !asleep && state&^(stateTurn-1) < w.start&^(stateTurn-1)+settleTurns {
				waiting = true
			}
		}
		if !waiting || !now.Before(deadline) {
			return
		}
		time.Sleep(settleLook)
		now = time.Now()
	}
}

// Snapshot is the sum of all cores at one time. Its counters only grow from one snapshot to the next, except the levels.
// Rates are messages per second over a moving window of the last 1 s or 10 s, of which the slot that is not over yet is
// the last 10 ms; the divisor is always the window's length, also right after the start.
type Snapshot struct {
	Local
	RequestRate1, RequestRate10   float64
	ResponseRate1, ResponseRate10 float64

	windows sums
}

// Snapshot sums the cores; now, a time from Now, is where the rates' windows end.
func (s *Set) Snapshot(now int64) Snapshot {
	var out Snapshot
	for i := range s.cores {
		loop := s.Loop(i, now)
		out.Add(&loop)
	}
	return out
}

// Loop is the Snapshot of core i alone.
func (s *Set) Loop(i int, now int64) Snapshot {
	var out Snapshot
	c := s.cores[i]
	c.read(&out.Local)
	c.ring.sum(&out.windows, now)
	out.rate()
	return out
}

// Add adds other cores' figures of the same time.
func (s *Snapshot) Add(o *Snapshot) {
	s.Local.add(&o.Local)
	s.windows.requests1 += o.windows.requests1
	s.windows.requests10 += o.windows.requests10
	s.windows.answers1 += o.windows.answers1
	s.windows.answers10 += o.windows.answers10
	s.rate()
}

// rate divides the windows' counts, which add up without an error, by their lengths.
func (s *Snapshot) rate() {
	s.RequestRate1, s.RequestRate10 = float64(s.windows.requests1), float64(s.windows.requests10)/10
	s.ResponseRate1, s.ResponseRate10 = float64(s.windows.answers1), float64(s.windows.answers10)/10
}

// Latency adds the published latency histograms of all cores that have one to d.
func (s *Set) Latency(d *Distribution) {
	for _, c := range s.cores {
		if h := c.lat.Load(); h != nil {
			d.Add(h)
		}
	}
}

// Total returns the number of valid messages forwarded.
func (s *Snapshot) Total() uint64 { return s.Local[Req] + s.Local[Ack] + s.Local[Nak] }

// Open returns the number of connections that have been accepted and have not ended.
func (s *Snapshot) Open() uint64 { return s.Local[Accepted] - s.Local[Ended] }
