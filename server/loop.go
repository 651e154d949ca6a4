package server

import (
	"encoding/binary"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"fooproxy/codec"
)

const (
	eventsMax   = 256                   // events taken at once
	acceptMax   = 64                    // connections accepted in one turn
	acceptPause = 50 * time.Millisecond // before the next try, when the system is out of descriptors or memory

	// Keys of epoll that are no connection's: slots never get so high.
	wakeKey   = 1<<32 - 1
	listenKey = 1<<32 - 2
)

// A loop serves its share of the connections on one thread. Only counters and the two orders to stop are shared.
type loop struct {
	server     *Server
	opts       *Options
	answerer   answerer
	direct     bool // answers are neither delayed nor reordered: they leave at once, in order
	receiveMax int

	poll      poller
	listener  int32
	listening uint32 // the events to register it for
	wake      int32  // an eventfd
	begun     time.Time

	conns []*conn // by slot
	free  []*conn
	ready []*conn // to be received from without an event
	doing []*conn // the ready of this turn
	open  int

	in     []byte  // streamMin bytes of room for an unfinished answer, then the received chunk
	out    []byte  // answers being composed
	ends   []int32 // of the lines in the chunk
	spares spares

	delayed  timers // answers that must wait
	windows  timers // reorder windows whose client may have paused
	endings  timers // connections ended by the server, whose client does not end
	accepts  timers // the listener, when accepting must pause
	stopping bool

	counts    Counts
	published Counts
	_         [64]byte // what other threads read lies on its own cache line
	shared    sharedCounts
}

// sharedCounts are a loop's counters as other goroutines see them: one writer, stored once per turn if changed.
type sharedCounts struct{ req, ack, nak, bad, accepted, open atomic.Uint64 }

// newLoop makes a loop that owns the listener from here on, also when it fails.
func newLoop(s *Server, listener int32, events uint32) (*loop, error) {
	o := &s.opts
	l := &loop{
		server: s, opts: o, answerer: newAnswerer(*o), direct: o.Delay == 0 && o.Reorder <= 1, listener: listener,
		listening: events, begun: time.Now(), wake: -1,
	}
	// A chunk's answers are to be a few MiB at most, however long the answer to the shortest request.
	l.receiveMax = min(receiveMax, max(1<<10, 6*(2<<20)/len(l.answerer.tail)))
	l.in = make([]byte, streamMin+l.receiveMax)
	l.ends = make([]int32, l.receiveMax/6+1)
	l.delayed.after = o.Delay
	l.windows.after = reorderWait
	l.endings.after = o.Drain + o.Delay
	l.accepts.after = acceptPause
	var err error
	if l.poll, err = newPoller(eventsMax); err != nil {
		l.closeListener()
		return nil, err
	}
	wake, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err == nil {
		l.wake = int32(wake)
		err = l.poll.add(l.wake, unix.EPOLLIN, wakeKey)
	}
	if err == nil {
		err = l.poll.add(listener, events, listenKey)
	}
	if err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// run is the loop's thread, which ends with it. cpu is where it runs, or -1.
func (l *loop) run(cpu int) {
	runtime.LockOSThread() // never unlocked: affinity is the thread's, so the thread must not go back to Go
	if cpu >= 0 {
		var set unix.CPUSet
		set.Set(cpu)
		_ = unix.SchedSetaffinity(0, &set) // New has tried it
	}
	for {
		limit := time.Duration(0)
		if len(l.ready) == 0 {
			limit = l.untilNext()
		}
		events := l.poll.wait(limit)
		for i := range events {
			l.dispatch(key(&events[i]), events[i].Events)
		}
		l.doing, l.ready = l.ready, l.doing[:0]
		for _, c := range l.doing {
			c.queued = false
			if c.fd >= 0 && !c.eof {
				l.receive(c)
			}
		}
		l.expire()
		l.publish()
		if l.stopping && l.open == 0 {
			return
		}
	}
}

func (l *loop) dispatch(key uint64, events uint32) {
	switch key {
	case listenKey:
		l.accept(acceptMax)
		return
	case wakeKey:
		l.obey()
		return
	}
	c := l.at(uint32(key), uint32(key>>32))
	if c == nil {
		return // closed earlier in this turn
	}
	if events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		c.hangup = true
	}
	if len(c.q.waiting()) > 0 && !l.push(c) {
		return
	}
	if events&^unix.EPOLLOUT != 0 && !c.paused && !c.queued && !c.eof {
		l.receive(c)
	}
}

// at is the connection in a slot if it is still the one of that generation, else nil.
func (l *loop) at(slot, gen uint32) *conn {
	if c := l.conns[slot]; c.fd >= 0 && c.gen == gen {
		return c
	}
	return nil
}

// again has a connection received from in the next turn.
func (l *loop) again(c *conn) {
	if !c.queued {
		c.queued = true
		l.ready = append(l.ready, c)
	}
}

// accept takes up to limit connections. It must never end the loop: out of descriptors or memory it pauses.
func (l *loop) accept(limit int) {
	for range limit {
		fd, errno := accept(l.listener)
		switch errno {
		case 0:
			l.admit(fd)
		case unix.EAGAIN:
			return
		case unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM:
			l.listen(false)
			l.accepts.add(l.clock(), deadline{})
			return
		default: // that one connection has failed already (accept(2)); the next may be well
		}
	}
}

// listen watches the listener, or no longer. The descriptor is taken out of epoll because one registered with EPOLLEXCLUSIVE
// cannot be modified.
func (l *loop) listen(on bool) {
	if l.listener < 0 {
		return
	}
	var err error
	if on {
		err = l.poll.add(l.listener, l.listening, listenKey)
	} else {
		err = l.poll.remove(l.listener)
	}
	if err != nil {
		l.accepts.add(l.clock(), deadline{}) // out of memory: try again
	}
}

func (l *loop) admit(fd int32) {
	var c *conn
	if last := len(l.free) - 1; last >= 0 {
		c, l.free = l.free[last], l.free[:last]
	} else {
		c = &conn{slot: uint32(len(l.conns))}
		l.conns = append(l.conns, c)
	}
	c.fd = fd
	c.scan = codec.NewScanner(codec.Requests, 0)
	if l.opts.Reorder > 1 && c.window == nil {
		c.window = new(window)
	}
	l.open++
	l.counts.Accepted++
	if err := l.poll.add(fd, connEvents, uint64(c.slot)|uint64(c.gen)<<32); err != nil {
		l.drop(c) // out of memory, or of the user's epoll watches
	}
}

// number gives a connection that sends its first byte the next number, of which its generators depend. Connections that only
// try whether the port is open take none away.
func (l *loop) number(c *conn) {
	n := l.server.numbers.Add(1)
	c.numbered = true
	c.line.random = newRng(l.opts.Seed, n, 1)
	if c.window != nil {
		c.window.random = newRng(l.opts.Seed, n, 2)
	}
}

// drop closes a connection and frees its slot.
func (l *loop) drop(c *conn) {
	_ = unix.Close(int(c.fd))
	c.q.reset(&l.spares)
	if c.window != nil {
		c.window.reset()
	}
	*c = conn{fd: -1, slot: c.slot, gen: c.gen + 1, queued: c.queued, window: c.window}
	l.free = append(l.free, c)
	l.open--
}

// obey carries out an order to stop.
func (l *loop) obey() {
	var count [8]byte
	_, _ = unix.Read(int(l.wake), count[:])
	if l.server.killed.Load() {
		l.stopping = true
		l.closeListener()
		l.each(l.drop)
		return
	}
	if l.stopping {
		return
	}
	l.stopping = true
	l.accept(1 << 20) // those whose connect has succeeded are clients already
	l.closeListener()
	l.each(func(c *conn) {
		gen := c.gen
		if !c.paused && !c.eof {
			l.receive(c)
		}
		if c.gen == gen {
			l.end(c)
		}
	})
}

func (l *loop) each(do func(*conn)) {
	for _, c := range l.conns {
		if c.fd >= 0 {
			do(c)
		}
	}
}

// publish shows the counters to other goroutines.
func (l *loop) publish() {
	l.counts.Open = uint64(l.open)
	if l.counts == l.published {
		return
	}
	n, s := &l.counts, &l.shared
	s.req.Store(n.Req)
	s.ack.Store(n.Ack)
	s.nak.Store(n.Nak)
	s.bad.Store(n.Bad)
	s.accepted.Store(n.Accepted)
	s.open.Store(n.Open)
	l.published = *n
}

// clock is the time since the loop was made.
func (l *loop) clock() time.Duration { return time.Since(l.begun) }

// signal makes the loop look at the server's orders. It may be called from any goroutine until the loop has ended.
func (l *loop) signal() {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = unix.Write(int(l.wake), one[:])
}

func (l *loop) closeListener() {
	if l.listener >= 0 {
		_ = unix.Close(int(l.listener))
		l.listener = -1
	}
}

// close gives back what newLoop has taken, and the listener. No connection is open and the loop does not run.
func (l *loop) close() {
	l.closeListener()
	_ = unix.Close(int(l.poll.fd))
	if l.wake >= 0 {
		_ = unix.Close(int(l.wake))
	}
}
