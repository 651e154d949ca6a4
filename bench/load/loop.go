package load

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"

	"fooproxy/bench/sys"
)

const (
	kindClient sys.Kind = iota
	kindUpstream
	kindListen
)

// waitMax bounds a raw wait in the kernel, see sys.Poller.Wait.
const waitMax = 3 * time.Millisecond

// loop is one generator thread: its connections, its responder, and what it has counted. Nothing in it is shared except
// the fields of live.
type loop struct {
	opt    *Options
	index  int // of this loop
	target *sys.Addr
	poll   sys.Poller
	events []unix.EpollEvent
	conns  []conn
	active int  // the first of conns, which are used; the others are still
	shift  uint // bits of a Seq that hold the slot
	rng    rand.PCG
	dirty  []int32 // connections with something to send
	paused []int32 // connections with half a request to send, in the order of conn.pause

	listen int32 // the responder's listener, -1 without
	ups    []upstream
	upFree []int32

	in, pattern, scratch, outAnswers []byte
	iov                              []unix.Iovec
	ends                             []int32
	script                           *script // nil = requests are copied

	verify    bool
	skims     bool // the responder reads heads only
	feeding   bool // requests are still being made
	connected int
	endedN    int    // connections in state ending whose end has come
	budget    uint64 // requests that may still be queued, with a number of messages given
	churned   uint64 // connections that were made, used and closed

	answered, naks, bytesIn, bytesOut, bytesAsked uint64
	histograms
	sameTook, sameCount int64 // answers in a row with the same time, not recorded yet
	from, until         int64 // measured window
	recorded            int64 // open loop records what was due after from and before this
	nextDue             float64
	nextConn            int32
	now                 int64
	idle                int64 // nanoseconds without anything to do
	nextSweep           int64

	live live
}

// live is what other threads may read while a loop runs.
type live struct {
	answered, waiting atomic.Uint64
	phase             atomic.Pointer[string]
}

// histogram covers 1 µs to 60 s with three digits, in nanoseconds.
func histogram() *hdrhistogram.Histogram { return hdrhistogram.New(1000, int64(time.Minute), 3) }

func newLoop(opt *Options, index int, target *sys.Addr) (*loop, error) {
	active := shareOf(opt.Conns, opt.Threads, index)
	all := active + shareOf(opt.Still, opt.Threads, index)
	l := &loop{
		opt: opt, index: index, target: target, listen: -1,
		events: make([]unix.EpollEvent, 512), conns: make([]conn, all), active: active,
		in: make([]byte, scratchSize), scratch: make([]byte, 0, scratchSize), outAnswers: make([]byte, 0, scratchSize+headMax),
		iov: make([]unix.Iovec, 0, iovMax), ends: make([]int32, 0, scratchSize/6),
		pattern: newPattern(opt.Mix.Max()), verify: opt.Verify,
		histograms: histograms{histogram(), histogram(), histogram()},
	}
	for 1<<l.shift < all {
		l.shift++
	}
	l.rng.Seed(opt.Seed, uint64(index))
	for i := range l.conns {
		l.conns[i] = conn{fd: -1, slot: int32(i), window: make([]request, windowFor(opt.Depth))}
	}
	l.paused = make([]int32, 0, active)
	var err error
	if l.script, err = newScript(opt, active); err != nil {
		return nil, err
	}
	if l.poll, err = sys.NewPoller(); err != nil {
		l.script.close()
		return nil, fmt.Errorf("epoll: %w", err)
	}
	return l, nil
}

// windowFor is how many requests a connection has room for at first: a power of two.
func windowFor(depth int) int {
	window := 1
	for window < min(depth, 1024) {
		window *= 2
	}
	return window
}

// shareOf is one thread's part of n.
func shareOf(n, threads, index int) int {
	share := n / threads
	if index < n%threads {
		share++
	}
	return share
}

// openResponder starts listening as the built-in upstream.
func (l *loop) openResponder(addr *sys.Addr) error {
	fd, err := addr.Listen(4096)
	if err != nil {
		return err
	}
	l.listen = fd
	l.skims = l.script != nil && !l.opt.Echo && l.opt.Threads == 1 && addr.IsTCP()
	if l.opt.NoDelay && addr.IsTCP() {
		sys.SetOption(fd, unix.SOL_TCP, unix.TCP_NODELAY, 1) // accepted sockets inherit it
	}
	if errno := l.poll.Add(fd, unix.EPOLLIN, kindListen, 0, 0); errno != 0 {
		return fmt.Errorf("epoll_ctl: %w", errno)
	}
	return nil
}

func (l *loop) close() {
	for i := range l.conns {
		if l.conns[i].state != closed {
			sys.Close(l.conns[i].fd)
		}
	}
	for i := range l.ups {
		if l.ups[i].fd >= 0 {
			sys.Close(l.ups[i].fd)
		}
	}
	if l.listen >= 0 {
		sys.Close(l.listen)
	}
	l.poll.Close()
	l.script.close()
}

// turn serves everything that is ready. With nothing ready it waits, at most until wake (0 = no appointment).
func (l *loop) turn(wake int64) error {
	n := l.poll.Poll(l.events)
	if n == 0 {
		from := l.now
		if limit := l.patience(wake); limit > 0 {
			from = sys.Now()
			n = l.poll.Wait(l.events, limit)
		}
		l.now = sys.Now()
		l.idle += l.now - from
	} else {
		l.now = sys.Now()
	}
	for i := range n {
		ev := &l.events[i]
		kind, slot, gen := sys.Data(ev)
		var err error
		switch kind {
		case kindClient:
			err = l.clientEvent(&l.conns[slot], gen, ev.Events)
		case kindUpstream:
			err = l.upstreamEvent(slot, gen, ev.Events)
		case kindListen:
			err = l.accept()
		}
		if err != nil {
			return err
		}
	}
	if len(l.paused) > 0 {
		if err := l.resume(); err != nil {
			return err
		}
	}
	if l.now >= l.nextSweep {
		return l.sweep()
	}
	return nil
}

// patience is how long turn may wait in the kernel; 0 means not at all, because the appointment is so near that waking up
// could miss it.
func (l *loop) patience(wake int64) time.Duration {
	const near = 60 * time.Microsecond
	limit := waitMax
	if wake != 0 {
		limit = min(limit, time.Duration(wake-l.now)-near)
	}
	if len(l.paused) > 0 {
		limit = min(limit, time.Duration(l.conns[l.paused[0]].pause-l.now))
	}
	if l.opt.Spin {
		return 0
	}
	return limit
}

// hangUpEvents say that the stream ends after what can still be read; no further event may come.
const hangUpEvents = unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR

// clientEvent serves one client connection.
func (l *loop) clientEvent(c *conn, gen, events uint32) error {
	if !sys.SameGen(c.gen, gen) || c.state == closed {
		return nil
	}
	if c.state == connecting {
		if events&(unix.EPOLLOUT|unix.EPOLLERR|unix.EPOLLHUP) == 0 {
			return nil
		}
		if err := l.established(c, events&(unix.EPOLLERR|unix.EPOLLHUP) != 0); err != nil {
			return err
		}
	}
	if events&unix.EPOLLOUT != 0 {
		c.blocked = false
	}
	c.hangUp = c.hangUp || events&hangUpEvents != 0
	if events&unix.EPOLLIN != 0 || c.hangUp {
		if err := l.receive(c); err != nil {
			return err
		}
	}
	return l.flush(c, l.now)
}

// receive reads c until it is empty, checks the answers and makes the next requests.
func (l *loop) receive(c *conn) error {
	for c.state == open || c.state == ending {
		n, errno := sys.Read(c.fd, l.in)
		if errno == unix.EAGAIN {
			break
		}
		if errno != 0 {
			return l.lost(c, errno)
		}
		if n == 0 {
			return l.endOfStream(c)
		}
		l.now = sys.Now()
		l.bytesIn += uint64(n)
		if err := l.answers(c, l.in[:n], l.now); err != nil {
			return err
		}
		if n < len(l.in) && !c.hangUp {
			break // edge-triggered: a short read has emptied the socket, and what comes later makes a new event
		}
	}
	if l.feeding {
		l.feed(c)
	}
	if l.opt.Churn > 0 && c.state == open && c.done-c.first >= uint64(l.opt.Churn) {
		l.finish(c)
	}
	return nil
}

// recordSame puts the run of equal times into the histogram.
func (l *loop) recordSame() {
	if l.sameCount > 0 {
		record(l.service, l.sameTook, l.sameCount)
	}
	l.sameCount = 0
}

// record adds count times of ns, cut to what the histogram holds.
func record(h *hdrhistogram.Histogram, ns, count int64) {
	_ = h.RecordValues(min(max(ns, 0), int64(time.Minute)), count)
}

// bytes of an iovec.
func iovBytes(v *unix.Iovec) []byte { return unsafe.Slice(v.Base, int(v.Len)) }
