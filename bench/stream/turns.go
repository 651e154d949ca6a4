package stream

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"fooproxy/bench/load"
	"fooproxy/bench/proc"
	"fooproxy/bench/sys"
)

// rampMax is how long the streams run before every turn but the first, which has the whole warm-up.
const rampMax = 5 * time.Millisecond

// mark is what has been counted at one time, or the sum of what was counted in several turns.
type mark struct {
	at, idle         int64
	arrived          uint64
	waited, coreBusy time.Duration
	target           proc.Usage
}

func (l *loop) mark(m *mark) (err error) {
	*m = mark{at: sys.Now(), idle: l.idle, arrived: l.arrived, waited: proc.ThreadWait(unix.Gettid())}
	if l.PID != 0 {
		if m.target, err = proc.Of(l.PID); err != nil {
			return fmt.Errorf("the target's process is gone: %w", err)
		}
	}
	if l.TargetCore >= 0 {
		m.coreBusy, err = proc.CoreBusy(l.TargetCore)
	}
	return err
}

// extend adds what was counted between two marks.
func (m *mark) extend(from, to *mark) {
	m.at += to.at - from.at
	m.idle += to.idle - from.idle
	m.arrived += to.arrived - from.arrived
	m.waited += to.waited - from.waited
	m.coreBusy += to.coreBusy - from.coreBusy
	m.target = to.target.Sub(from.target).Add(m.target)
	m.target.Resident, m.target.Threads = to.target.Resident, to.target.Threads
}

// takeTurns measures one window, or one whenever Options.Turns says so, and sums them up.
func (l *loop) takeTurns(ctx context.Context, sum *mark) (turns []load.Turn, err error) {
	if l.Turns == nil {
		_, err := l.window(ctx, l.Warmup, sum)
		return nil, err
	}
	warmup := l.Warmup
	var done *load.Turn
	for l.Turns(done) {
		if err := l.pause(ctx, false); err != nil {
			return nil, err
		}
		turn, err := l.window(ctx, warmup, sum)
		if err != nil {
			return nil, err
		}
		if err := l.pause(ctx, true); err != nil {
			return nil, err
		}
		turns = append(turns, turn)
		done = &turn
		warmup = min(warmup, rampMax)
	}
	return turns, l.pause(ctx, false)
}

// pause stops the streams and waits until all that was sent has arrived, or lets them go on.
func (l *loop) pause(ctx context.Context, still bool) error {
	l.still, l.last = still, sys.Now()
	for slot := range l.ends {
		if err := l.watch(int32(slot)); err != nil {
			return err
		}
	}
	for still && l.balance() != nil {
		if err := l.turn(ctx); err != nil {
			return err
		}
	}
	return nil
}

// window runs the streams for a warm-up and a measured window.
func (l *loop) window(ctx context.Context, warmup time.Duration, sum *mark) (turn load.Turn, err error) {
	if err := l.until(ctx, sys.Now()+int64(warmup)); err != nil {
		return turn, err
	}
	var from, to mark
	if err := l.mark(&from); err != nil {
		return turn, err
	}
	if err := l.until(ctx, sys.Now()+int64(l.Duration)); err != nil {
		return turn, err
	}
	if err := l.mark(&to); err != nil {
		return turn, err
	}
	sum.extend(&from, &to)
	return load.Turn{
		Elapsed: time.Duration(to.at - from.at), Answers: (to.arrived - from.arrived) / unit, CPU: to.target.CPU - from.target.CPU,
	}, nil
}

// result is what all turns have found.
func (l *loop) result(sum *mark, turns []load.Turn) *load.Result {
	window := max(time.Duration(sum.at), 1)
	r := &load.Result{
		Target: l.Target, Loop: "closed", Conns: l.Conns, Depth: 1, Threads: 1, Sizes: "a stream, counted by MiB",
		Elapsed: window, Answers: sum.arrived / unit, BytesIn: sum.arrived, PerSec: float64(sum.arrived) / unit / window.Seconds(),
		Turns: turns,
	}
	r.Generator.Busy = 1 - float64(sum.idle)/float64(window)
	r.Generator.Waited = float64(sum.waited) / float64(window)
	if l.PID == 0 {
		return r
	}
	spent := sum.target
	u := &load.TargetUsage{
		CPU: spent.CPU, Busy: spent.CPU.Seconds() / window.Seconds(), Resident: spent.Resident, Threads: spent.Threads,
		Switches: float64(spent.Voluntary+spent.Involuntary) / window.Seconds(),
	}
	if sum.arrived > 0 {
		u.CPUPerMsg = float64(spent.CPU) * unit / float64(sum.arrived)
	}
	if spent.CPU > 0 {
		u.UserShare = min(1, float64(spent.User)/float64(spent.CPU))
	}
	if foreign := sum.coreBusy - spent.CPU; foreign > 0 {
		r.Generator.Foreign = foreign.Seconds() / window.Seconds()
	}
	r.Usage = u
	return r
}
