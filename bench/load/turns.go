package load

import (
	"time"

	"fooproxy/bench/sys"
)

// Turn is one part of a window that is measured in turns, between which another generator measures another target. What slows the
// whole machine down for longer than a turn then hits all targets alike.
type Turn struct {
	Elapsed time.Duration `json:"elapsed_ns"`
	Answers uint64        `json:"answers"`
	Closed  uint64        `json:"connections_closed,omitempty"`
	CPU     time.Duration `json:"target_cpu_ns"`
	P99     time.Duration `json:"p99_ns"` // as Result.Latency
}

// rampMax is how long load runs at least before every turn but the first, which has the whole warm-up: caches are cold,
// connections are not.
const rampMax = 5 * time.Millisecond

// takeTurns measures whenever Options.Turns says so, and brings the turns home as one window.
func (l *loop) takeTurns(m *meeting, r *measured) error {
	sum := histograms{histogram(), histogram(), histogram()}
	warmup := l.opt.Warmup
	r.from, r.until = mark{}, mark{}
	var done *Turn
	for l.opt.Turns(done) {
		l.now = sys.Now()
		if err := l.reconnect(m); err != nil {
			return err
		}
		m.start.Store(l.now)
		var turn measured
		if err := l.warmUp(m, &turn, warmup); err != nil {
			return err
		}
		if err := l.measure(m, &turn); err != nil {
			return err
		}
		warmup = min(warmup, rampMax)
		if err := l.quiesce(m); err != nil {
			return err
		}
		r.until.extend(&turn.from, &turn.until)
		sum.merge(l.histograms)
		done = turn.turn()
		done.P99 = l.p99()
		r.turns = append(r.turns, *done)
	}
	l.histograms = sum
	return nil
}

// ramping tells that a turn in closed loop is not yet under way: not every connection can have had an answer since it began,
// with begun answers, at start. It gives up after the length of a whole warm-up.
func (l *loop) ramping(begun uint64, start int64) bool {
	return l.opt.Turns != nil && l.opt.Rate == 0 && !l.opt.Idle && l.answered-begun < uint64(l.active) &&
		l.now < start+int64(l.opt.Warmup)
}

// reconnect makes the connections that churn had closed when the last turn ended.
func (l *loop) reconnect(m *meeting) error {
	if l.opt.Churn == 0 {
		return nil
	}
	return l.connectAll(m)
}

// quiesce waits, between turns, until nothing is on its way: no connection is being made or ended.
func (l *loop) quiesce(m *meeting) error {
	for {
		busy := false
		for i := range l.conns {
			state := l.conns[i].state
			busy = busy || state == connecting || state == ending
		}
		if !busy {
			return nil
		}
		if err := l.step(m, 0); err != nil {
			return err
		}
	}
}

// extend adds what was counted between two marks to k, which began as nothing.
func (k *mark) extend(from, until *mark) {
	k.at += until.at - from.at
	k.answered += until.answered - from.answered
	k.naks += until.naks - from.naks
	k.bytesIn += until.bytesIn - from.bytesIn
	k.bytesOut += until.bytesOut - from.bytesOut
	k.churned += until.churned - from.churned
	k.idle += until.idle - from.idle
	k.waited += until.waited - from.waited
	k.own += until.own - from.own
	k.coreBusy += until.coreBusy - from.coreBusy
	before := k.target
	k.target = until.target.Sub(from.target).Add(before)
	k.target.Resident, k.target.Threads = until.target.Resident, until.target.Threads
}

// p99 is that of what a user waits.
func (l *loop) p99() time.Duration {
	h := l.service
	if l.opt.Rate > 0 {
		h = l.response
	}
	return time.Duration(h.ValueAtQuantile(99))
}

// turn is what one measured window says as a turn.
func (r *measured) turn() *Turn {
	return &Turn{
		Elapsed: time.Duration(r.until.at - r.from.at), Answers: r.until.answered - r.from.answered,
		Closed: r.until.churned - r.from.churned, CPU: r.until.target.CPU - r.from.target.CPU,
	}
}
