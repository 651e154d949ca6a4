package proxy

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"fooproxy/codec"
	"fooproxy/stats"
)

// simWorld is one loop's core with a fake engine, fake sockets and a fake clock. A chooser decides everything else.
type simWorld struct {
	failer
	chooser
	*core
	style  simStyle
	conns  []*simConn
	stale  []ref       // of sessions that have gone
	want   stats.Local // the counters, from what is known of the streams
	events int         // things that happened to a session
	moves  int         // of them, those that changed something
	trace  [40]simEvent
}

// simStyle is a way to drive sessions: the io_uring engine's or the epoll engine's.
type simStyle interface {
	begin(cn *simConn)
	turn(eager bool)                  // collects some of what has happened, or all, and serves
	touch(cn *simConn)                // serves a session because of an order
	progress(cn *simConn, d side) int // bytes of flow d's queue that a send in flight has taken
	inKernel() int                    // segments
	idle() bool                       // nothing in flight
}

// simConn is one connection with its two peers.
type simConn struct {
	oracle
	s    *session // nil after its end
	ref  ref
	sock [2]simSocket

	up      bool          // the upstream is connected
	refused syscall.Errno // the upstream's answer to come, 0 = it connects

	cause    cause // the first thing that happened
	moved    int64 // when a byte last moved or a side ended
	lineFrom int64 // when the current request line began, 0 = none
	expired  bool  // ended by a time limit other than the linger's
	lingered bool
	stopped  bool // told to take no more requests
	killed   bool
	failed   [2]bool // sending flow d failed
}

// simLimits bound what one simulation does.
const (
	simConns   = 3  // at once
	simTotal   = 5  // connections in all
	simSteps   = 80 // before the peers bring everything to its end
	simTurns   = 4000
	simHighest = 48 // segments, at most
)

// simShape is what a simulation is like, apart from what happens in it.
func simShape(c chooser) (cfg Config, segs int, tracked bool) {
	limit := func(limits ...time.Duration) time.Duration { return limits[c.pick(len(limits))] }
	cfg = Config{
		MaxConn: simConns, MaxBuffer: segSize << c.pick(4), Arbitrary: Close, OnViolation: Close,
		TimeoutIdle: limit(0, 0, 50*time.Millisecond, 5*time.Second), TimeoutLine: limit(0, 0, 20*time.Millisecond),
		TimeoutHalfClose: limit(0, 0, 30*time.Millisecond), TimeoutConnect: limit(0, 20*time.Millisecond),
	}
	if oneIn(c, 3) {
		cfg.Arbitrary = Tunnel
	}
	if oneIn(c, 3) {
		cfg.OnViolation = Forward
	}
	cfg.MaxPending = []int{0, 0, 1, 3}[c.pick(4)]
	return cfg, []int{2*simConns + simBuffers, 24, simHighest}[c.pick(3)], oneIn(c, 2)
}

// open lets a new connection come in.
func (w *simWorld) open() {
	w.admit()
	cn := &simConn{s: w.begin(-1, testClient), moved: w.now}
	cn.ref = newRef(0, cn.s.gen, cn.s.slot)
	cn.oracle = oracle{cfg: w.cfg, want: &w.want, tracked: w.tracks != nil}
	w.want[stats.Accepted]++
	badRate := [...]int{0, 0, 3, 12}
	for d, dir := range [2]codec.Dir{codec.Requests, codec.Answers} {
		k := &cn.sock[d]
		k.space = []int{1, 100, segSize, 4 * segSize}[w.pick(4)]
		k.ending = peerEnd(w.pick(peerEndings))
		if side(d) == server && oneIn(w, 2) {
			k.answers, k.stream.firstBad = true, noBad
		} else {
			k.stream = newSimStream(w, dir, 8, badRate[w.pick(len(badRate))])
		}
		k.stalled = oneIn(w, 6)
		cn.stream[d] = &k.stream
	}
	if oneIn(w, 10) {
		cn.refused = []syscall.Errno{syscall.ECONNREFUSED, syscall.EHOSTUNREACH, syscall.ETIMEDOUT, syscall.EPERM}[w.pick(4)]
	}
	w.conns = append(w.conns, cn)
	w.rearm(cn.s)
	w.style.begin(cn)
}

// note keeps the first thing that happened to a connection.
func (w *simWorld) note(cn *simConn, why cause) {
	if cn.cause == causeNone {
		cn.cause = why
	}
}

// event notes that something has happened to side d of a connection; n is its size where it has one.
func (w *simWorld) event(cn *simConn, d side, what string, n int) {
	w.events++
	w.moves++
	w.trace[w.moves%len(w.trace)] = simEvent{cn, d, what, n, w.now}
}

// simEvent is for the report of a failure.
type simEvent struct {
	cn   *simConn
	d    side
	what string
	n    int
	now  int64
}

// Fatalf tells what has led to it.
func (w *simWorld) Fatalf(format string, args ...any) {
	w.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, format, args...)
	for i := range w.trace {
		if e := &w.trace[(w.moves+1+i)%len(w.trace)]; e.cn != nil {
			fmt.Fprintf(&b, "\n%9.3f ms  connection %d  %s  %s %d", float64(e.now-testStart)/1e6, slices.Index(w.conns, e.cn), name(e.d), e.what, e.n)
		}
	}
	for i, cn := range w.conns {
		if s := cn.s; s != nil {
			fmt.Fprintf(&b, "\nconnection %d: %v %v, flows %+v, wants %x %x, engine %+v", i, s.class, s.cause, s.flow, s.want(client), s.want(server), s.eng)
		}
	}
	w.failer.Fatalf("%s", b.String())
}

// received hands the next bytes of side d's stream to the session and compares what it does with the oracle.
func (w *simWorld) received(cn *simConn, d side, data []byte) int {
	w.event(cn, d, "received", len(data))
	reading := cn.s.flow[d].source == reading
	n := w.core.received(cn.s, d, data)
	want := 0
	if reading {
		from := cn.off[d]
		w.checkPending(cn, d)
		want = cn.offer(d, len(data))
		cn.moved = w.now
		w.timeLine(cn, d, from)
	}
	if n != want && (cn.class != classArbitrary || n != 0) {
		w.Fatalf("%d of %d bytes of side %d are forwarded, want %d", n, len(data), d, want)
	}
	switch {
	case cn.class == classArbitrary:
		w.note(cn, causeArbitrary)
	case cn.violated[d]:
		w.note(cn, causeViolationRequest+cause(d))
	}
	return n
}

// timeLine keeps the time at which the current request line began; bytes from offset from on have come just now.
func (w *simWorld) timeLine(cn *simConn, d side, from int) {
	if d != client || cn.class == classTunnel {
		return
	}
	begin := 0
	for i := range cn.sock[d].stream.lines {
		if end := cn.sock[d].stream.lines[i].end; end <= cn.off[d] {
			begin = end
		}
	}
	switch {
	case begin == cn.off[d]:
		cn.lineFrom = 0
	case begin >= from:
		cn.lineFrom = w.now
	}
}

// ended tells the session of the end of side d's stream as recv reports it.
func (w *simWorld) ended(cn *simConn, d side, errno syscall.Errno) {
	w.event(cn, d, "ended", int(errno))
	if errno != 0 || cn.s.reset[d] || cn.s.flow[d].ending == endNone {
		cn.moved = w.now
	}
	if errno != 0 {
		w.note(cn, causeClientRST+cause(d))
		w.sourceRST(cn.s, d)
		return
	}
	if cn.sock[d].rst {
		w.note(cn, causeClientRST+cause(d))
	} else {
		w.note(cn, causeClientFIN+cause(d))
	}
	w.sourceFIN(cn.s, d)
}

// connected tells the session how its connection attempt has ended.
func (w *simWorld) connected(cn *simConn) {
	w.event(cn, server, "connected", int(cn.refused))
	if cn.refused != 0 {
		w.note(cn, connectCause(cn.refused))
		w.connectFailed(cn.s, cn.refused)
		return
	}
	cn.up = true
	cn.moved = w.now
	w.connectDone(cn.s)
}

// took notes that the kernel has taken n bytes of flow d, and compares them with what they should be.
func (w *simWorld) took(cn *simConn, d side, data []byte) {
	w.event(cn, d^1, "sent", len(data))
	k := &cn.sock[d^1]
	from := k.taken - len(data)
	if string(cn.stream[d].data[from:k.taken]) != string(data) {
		w.Fatalf("bytes [%d:%d) of side %d have changed on their way", from, k.taken, d)
	}
	if k.taken > cn.accepted[d] {
		w.Fatalf("%d bytes of side %d are sent, %d may be", k.taken, d, cn.accepted[d])
	}
}

func (w *simWorld) shutdown(cn *simConn, d side) {
	w.event(cn, d^1, "shut", 0)
	k := &cn.sock[d^1]
	if k.shut || k.closed {
		w.Fatalf("FIN for side %d after its end", d^1)
	}
	if k.taken != cn.accepted[d] && cn.class != classArbitrary {
		w.Fatalf("FIN for side %d after %d of %d bytes", d^1, k.taken, cn.accepted[d])
	}
	k.shut = true
	w.sinkShut(cn.s, d)
}

// delivered is what the engines ask the kernel before they relay an RST.
func (w *simWorld) delivered(cn *simConn, d side) bool {
	if cn.sock[d^1].undelivered() == 0 {
		return true
	}
	cn.s.recheck = w.now + recheckEvery
	w.rearm(cn.s)
	return false
}

// fire handles the timers that the clock has passed.
func (w *simWorld) fire(then func(cn *simConn)) {
	for s := w.wheel.expired(&w.table, w.now); s != nil; s = w.wheel.expired(&w.table, w.now) {
		cn := w.find(s)
		w.event(cn, client, "timer", 0)
		if at, why := w.deadline(s); at != 0 && at <= w.now && !s.finished() {
			w.checkLimit(cn, why)
			w.note(cn, why)
			if why == causeLineTimeout {
				cn.moved = w.now // the client's side ends, and the answers have their time
			}
			cn.lingered = cn.lingered || s.lingerFrom != 0
			cn.expired = cn.expired || s.lingerFrom == 0
		}
		w.expire(s)
		then(cn)
	}
}

func (w *simWorld) find(s *session) *simConn {
	for _, cn := range w.conns {
		if cn.s == s {
			return cn
		}
	}
	w.Fatalf("slot %d has no connection", s.slot)
	return nil
}

// closed ends a connection whose session has finished.
func (w *simWorld) closed(cn *simConn) {
	w.event(cn, client, "closed", 0)
	s := cn.s
	for d := range cn.sock {
		cn.sock[d].closed, cn.sock[d].aborted = true, s.abort[d]
	}
	w.checkEnd(cn)
	w.want[stats.Ended]++
	w.want[s.cause.counter()]++
	w.release(s)
	cn.s = nil
	w.stale = append(w.stale, cn.ref)
}
