package load

import (
	"errors"
	"math"
	"sync/atomic"
	"time"

	"fooproxy/bench/proc"
	"fooproxy/bench/sys"

	"golang.org/x/sys/unix"
)

// meeting is what the threads of a run share: they start together when the last one has its connections.
type meeting struct {
	missing atomic.Int32 // threads that do not have all their connections yet
	running atomic.Int32 // threads whose connections have not all ended
	start   atomic.Int64 // when the warm-up begins; 0 = somebody is still connecting
	abort   atomic.Bool  // a thread has failed
	stop    atomic.Bool  // the user has had enough: measure no longer
}

// errAborted ends the threads whose sibling has failed.
var errAborted = errors.New("another generator thread failed")

// connectingMax is how many connections are being made at once; below the usual length of an accept queue.
const connectingMax = 64

// mark is a point in time with what had been counted up to it.
type mark struct {
	at                                         int64
	answered, naks, bytesIn, bytesOut, churned uint64
	idle                                       int64
	waited                                     time.Duration // for the CPU, this thread
	own                                        time.Duration // CPU time of the generator's process
	target                                     proc.Usage
	coreBusy                                   time.Duration // of the target's CPU, whoever used it
}

// measured is what one thread brings home.
type measured struct {
	base, from, until mark
	turns             []Turn
	unended           int // connections the target did not end after the generator had
	err               error
}

// run goes through the phases connect, warm-up, measure, drain, end.
func (l *loop) run(m *meeting) (r measured) {
	l.now = sys.Now()
	r.err = l.phases(m, &r)
	if r.err != nil {
		m.abort.Store(true)
	}
	l.phase("done")
	return r
}

func (l *loop) phases(m *meeting, r *measured) error {
	l.phase("connecting")
	if err := l.mark(&r.base); err != nil {
		return err
	}
	if err := l.connectAll(m); err != nil {
		return err
	}
	if m.missing.Add(-1) == 0 {
		m.start.Store(l.now + int64(time.Millisecond))
	}
	for m.start.Load() == 0 || l.now < m.start.Load() {
		if err := l.step(m, m.start.Load()); err != nil {
			return err
		}
	}
	window := l.window
	if l.opt.Turns != nil {
		window = l.takeTurns
	}
	if err := window(m, r); err != nil {
		return err
	}
	l.phase("ending")
	if err := l.endAll(m, r); err != nil {
		return err
	}
	m.running.Add(-1)
	for m.running.Load() > 0 { // the upstream of this thread may serve connections of the others
		if err := l.step(m, 0); err != nil {
			return err
		}
	}
	return nil
}

// window is the warm-up and one measured window.
func (l *loop) window(m *meeting, r *measured) error {
	if err := l.warmUp(m, r, l.opt.Warmup); err != nil {
		return err
	}
	return l.measure(m, r)
}

// open begins the measured window: what was counted before does not matter from here on.
func (l *loop) open(r *measured) error {
	l.phase("measuring")
	l.recordSame()
	l.histograms.reset()
	if l.opt.Duration > 0 {
		l.until = l.now + int64(l.opt.Duration)
	}
	l.recorded = l.until
	if err := l.mark(&r.from); err != nil {
		return err
	}
	if l.opt.Rate > 0 && l.feeding && l.opt.Duration > 10*settle {
		// Requests due while the marks are made are late by the generator's fault, and others behind them.
		l.now = sys.Now()
		l.from, l.recorded = l.now+int64(settle), l.until-int64(settle)
	}
	return nil
}

// settle is what is left out of the latency at both ends of a window in open loop.
const settle = time.Millisecond

// step is a turn that ends early when the run is over for all.
func (l *loop) step(m *meeting, wake int64) error {
	if m.abort.Load() {
		return errAborted
	}
	return l.turn(wake)
}

// connectAll makes all connections, a few at a time.
func (l *loop) connectAll(m *meeting) error {
	for l.connected < len(l.conns) {
		pending := 0
		for i := range l.conns {
			c := &l.conns[i]
			if c.state == closed && pending < connectingMax {
				if err := l.connect(c); err != nil {
					return err
				}
			}
			if c.state == connecting {
				pending++
			}
		}
		if err := l.step(m, 0); err != nil {
			return err
		}
	}
	return nil
}

// warmUp starts the requests and runs until the measured window is open; without a time to warm up, the first request
// belongs to the window. Idle connections are warm when each has had its answer.
func (l *loop) warmUp(m *meeting, r *measured, length time.Duration) error {
	l.phase("warming up")
	start := m.start.Load()
	l.from, l.until = start+int64(length), math.MaxInt64
	l.budget = math.MaxUint64
	cold := length == 0 && !l.opt.Idle
	if cold {
		l.setBudget()
		if err := l.open(r); err != nil {
			return err
		}
	}
	l.feeding = true
	begun := l.answered
	l.nextDue = float64(start) + l.gap()*float64(l.index)/float64(l.opt.Threads)
	for i := range l.conns {
		c := &l.conns[i]
		l.feed(c)
		if err := l.flush(c, l.now); err != nil {
			return err
		}
		if i%32 == 31 { // answers arrive meanwhile: do not let them wait for the last connection's first request
			if err := l.step(m, l.now); err != nil {
				return err
			}
		}
	}
	for l.now < l.from || l.opt.Idle && l.outstanding() > 0 || l.ramping(begun, start) {
		if err := l.work(m, l.from); err != nil {
			return err
		}
		if m.stop.Load() {
			break
		}
	}
	if cold {
		return nil
	}
	l.setBudget()
	return l.open(r)
}

// setBudget limits the requests to this thread's share of the number asked for.
func (l *loop) setBudget() {
	if n := l.opt.Messages; n > 0 {
		l.budget = n / uint64(l.opt.Threads)
		if uint64(l.index) < n%uint64(l.opt.Threads) {
			l.budget++
		}
	}
}

// work is one turn while requests are made.
func (l *loop) work(m *meeting, until int64) error {
	if l.opt.Rate == 0 {
		return l.step(m, until)
	}
	if err := l.step(m, min(until, int64(l.nextDue))); err != nil {
		return err
	}
	return l.arrivals()
}

// measure runs the window: to its end in time, or until all requests of a number asked for are answered. With a number,
// waiting for the last answers belongs to the window; with a time, it comes after it.
func (l *loop) measure(m *meeting, r *measured) error {
	byTime := l.opt.Messages == 0
	for l.now < l.until && !m.stop.Load() && (byTime || l.budget > 0) {
		if err := l.work(m, l.until); err != nil {
			return err
		}
	}
	l.until = min(l.until, l.now)
	l.recorded = min(l.recorded, l.until)
	l.feeding = false
	if byTime {
		if err := l.mark(&r.until); err != nil {
			return err
		}
		if l.opt.Rate == 0 { // what is answered after the window is not of the window
			l.recordSame()
			service := l.service
			l.service = histogram()
			defer func() { l.service = service }()
		}
	}
	for l.outstanding() > 0 {
		if err := l.step(m, 0); err != nil {
			return err
		}
	}
	l.recordSame()
	if !byTime {
		return l.mark(&r.until)
	}
	return nil
}

// outstanding counts the requests without an answer.
func (l *loop) outstanding() (n uint64) {
	for i := range l.conns {
		n += l.conns[i].waiting()
	}
	return n
}

// endAll ends every connection and waits for the target's end of it: an answer too many would show here.
func (l *loop) endAll(m *meeting, r *measured) error {
	limit := l.now + int64(min(time.Second, l.opt.Timeout))
	for {
		left := 0
		for i := range l.conns {
			c := &l.conns[i]
			if c.state == open { // also one that churn had just begun to make
				l.finish(c)
			}
			if c.state != closed {
				left++
			}
		}
		if left == 0 || l.now > limit {
			r.unended = left
			return nil
		}
		if err := l.step(m, 0); err != nil {
			return err
		}
	}
}

// mark notes what has been counted so far.
func (l *loop) mark(k *mark) error {
	*k = mark{
		at: l.now, answered: l.answered, naks: l.naks, bytesIn: l.bytesIn, bytesOut: l.bytesOut, churned: l.churned,
		idle: l.idle, waited: proc.ThreadWait(unix.Gettid()),
	}
	if l.index > 0 {
		return nil
	}
	var err error
	if k.own, err = proc.CPU(unix.Getpid()); err != nil {
		return err
	}
	for _, pid := range l.opt.PIDs {
		u, err := proc.Of(pid)
		if err != nil {
			return &Failure{TargetEnded, -1, "the target's process is gone: " + err.Error()}
		}
		k.target = k.target.Add(u)
	}
	if l.opt.Alone >= 0 {
		k.coreBusy, err = proc.CoreBusy(l.opt.Alone)
	}
	return err
}

func (l *loop) phase(name string) { l.live.phase.Store(&name) }
