package proxy

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"fooproxy/codec"
	"fooproxy/stats"
)

// simWorld is one loop's core with a fake engine, fake sockets and a fake clock. A chooser decides everything else.
type simWorld struct {
	failer
	chooser
	*core
	style    simStyle
	simPipes []*simPipe
	spliced  int     // bytes of tunnels
	long     simLong // what became of long Data
	noPipes  uint64  // times that the kernel had no pipe, or too small a one
	loans    uint64  // sends without a copy
	drains   bool    // a flow in bulk leaves its end to the next receive
	conns    []*simConn
	stale    []ref       // of sessions that have gone
	want     stats.Local // the counters, from what is known of the streams
	events   int         // things that happened to a session
	moves    int         // of them, those that changed something
	trace    [40]simEvent
}

// simStyle is a way to drive sessions: the io_uring engine's or the epoll engine's.
type simStyle interface {
	begin(cn *simConn)
	turn(eager bool)   // collects some of what has happened, or all, and serves
	touch(cn *simConn) // serves a session because of an order
	inKernel() int     // segments
	inFlight(fd int32) bool
	awaits(cn *simConn, d side, to bool) bool // something will have the session look at side d's socket again
	idle() bool                               // nothing in flight
	close()
}

// simConn is one connection with its two peers.
type simConn struct {
	oracle
	s      *session // nil after its end
	ref    ref
	sock   [2]simSocket
	bare   [2]bool // sends to the side without a copy are no use any more
	paused [2]bool // as far as was seen

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
	switch c.pick(6) {
	case 3, 4:
		cfg.Arbitrary = Tunnel
	case 5:
		cfg.Tunnel = true
	}
	cfg.MaxPipes = []int{8, 2, 1, 0}[c.pick(4)]
	cfg.ZeroCopy = []string{ZeroCopyOff, ZeroCopyOn, ZeroCopyAuto}[c.pick(3)]
	if oneIn(c, 3) {
		cfg.OnViolation = Forward
	}
	cfg.MaxPending = []int{0, 0, 1, 3}[c.pick(4)]
	if cfg.Splice = []string{SpliceOff, SpliceOn, SpliceAuto, SpliceOn}[c.pick(4)]; cfg.Splice != SpliceOff && oneIn(c, 2) {
		cfg.ZeroCopy = ZeroCopyOff // a flow whose sends lend its memory is not drained
	}
	return cfg, []int{2*simConns + simBuffers, 24, simHighest}[c.pick(3)], oneIn(c, 2)
}

// open lets a new connection come in.
func (w *simWorld) open() {
	w.admit()
	cn := &simConn{s: w.begin(simFD(len(w.conns), client), testClient), moved: w.now}
	cn.s.fd[server] = simFD(len(w.conns), server)
	cn.ref = newRef(0, cn.s.gen, cn.s.slot)
	cn.oracle = oracle{cfg: w.cfg, want: &w.want, tracked: w.tracks != nil}
	if w.cfg.Tunnel {
		cn.decide(classTunnel)
	}
	w.want[stats.Accepted]++
	badRate := [...]int{0, 0, 3, 12}
	for d, dir := range [2]codec.Dir{codec.Requests, codec.Answers} {
		k := &cn.sock[d]
		k.space = simSpaces[w.pick(len(simSpaces))]
		k.ending = peerEnd(w.pick(peerEndings))
		if side(d) == server && oneIn(w, 2) {
			k.answers, k.stream = true, emptySimStream(len(w.conns), dir)
		} else {
			k.stream = newSimStream(w, len(w.conns), dir, 8, badRate[w.pick(len(badRate))])
		}
		k.stalled = oneIn(w, 6)
		k.own = oneIn(w, 2)
		k.urges = w.domain[d] != unix.AF_UNIX && oneIn(w, 4)
		cn.stream[d] = &k.stream
	}
	if oneIn(w, 10) {
		cn.refused = []syscall.Errno{syscall.ECONNREFUSED, syscall.EHOSTUNREACH, syscall.ETIMEDOUT, syscall.EPERM, syscall.ECONNRESET}[w.pick(5)]
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

// heard notes that the loop is being given the next n bytes of side d's stream, and asks the oracle what is to become of them.
func (w *simWorld) heard(cn *simConn, d side, n int) {
	w.event(cn, d, "received", n)
	f := &cn.s.flow[d]
	if f.source == reading {
		from := cn.off[d]
		w.checkPending(cn, d)
		cn.offer(d, n)
		cn.moved = w.now
		w.timeLine(cn, d, from)
	}
	switch {
	case cn.class == classArbitrary:
		w.note(cn, causeArbitrary)
	case cn.violated[d]:
		w.note(cn, causeViolationRequest+cause(d))
	}
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

// ended notes that the loop is being told of the end of side d's stream as recv reports it.
func (w *simWorld) ended(cn *simConn, d side, errno syscall.Errno) {
	w.event(cn, d, "ended", int(errno))
	if errno != 0 || cn.sock[d].rst || cn.s.flow[d].ending == endNone {
		cn.moved = w.now
	}
	if errno != 0 || cn.sock[d].rst {
		w.note(cn, causeClientRST+cause(d))
	} else {
		w.note(cn, causeClientFIN+cause(d))
	}
}

// dialled notes that the loop is being told how its connection attempt has ended.
func (w *simWorld) dialled(cn *simConn) {
	w.event(cn, server, "connected", int(cn.refused))
	if cn.s.flow[client].sink != open {
		return // given up meanwhile
	}
	switch cn.refused {
	case 0:
	case syscall.ECONNRESET: // it was connected, and has reset it at once
		w.note(cn, causeServerRST)
		cn.sock[server].reset()
		cn.failed[client] = true
	default:
		w.note(cn, connectCause(cn.refused))
		return
	}
	cn.up = true
	cn.moved = w.now
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
	if cn.s.flow[d].sink != gone {
		cn.moved = w.now
	}
}

// untaken notes that a send of flow d fails because its destination has reset the connection.
func (w *simWorld) untaken(cn *simConn, d side, errno syscall.Errno) {
	w.event(cn, d^1, "send fails", int(errno))
	if cn.s.flow[d].sink != gone {
		w.note(cn, causeClientRST+cause(d^1))
		cn.failed[d], cn.moved = true, w.now
	}
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
	w.pipes.trim(w.now)
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

// closed notes that a connection's session closes its last descriptor.
func (w *simWorld) closed(cn *simConn) {
	w.event(cn, client, "closed", 0)
	w.checkEnd(cn)
	w.want[stats.Ended]++
	w.want[cn.s.cause.counter()]++
	cn.s = nil
	w.stale = append(w.stale, cn.ref)
}
