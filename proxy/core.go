package proxy

import (
	"net/netip"
	"sync/atomic"
	"time"

	"fooproxy/accesslog"
	"fooproxy/codec"
	"fooproxy/stats"
)

// core is what one loop owns, whatever its engine: sessions, memory, timers, figures, log. Nothing in it is shared with
// another loop except conns, load and gate, which are touched when a connection comes or goes.
type core struct {
	cfg   *Config
	index int // of the loop
	loops int
	slab  *slab
	table table
	wheel wheel
	sys   kernel
	pipes pipePool
	pace  pace
	local stats.Local
	out   *stats.Core
	log   *accesslog.Ring   // nil = no log
	line  accesslog.Request // scratch of logRequest

	tracks  *trackerPool     // nil unless requests are matched with their answers; so is latency
	latency *stats.Histogram // of requests that were answered, ns

	notes []violationNote // a ring of the latest violations
	noted uint64          // violations noted so far

	now      int64 // ns of the loop's clock, read once per turn
	wallZero int64 // Unix time in µs when the loop's clock was 0

	reserved int           // segments of the slab kept so that every flow can have one
	atOnce   int           // bytes that one receive into the scratch of direct may bring
	lineEnds []int32       // scratch of scan, nil like tracks
	conns    *atomic.Int64 // of all loops
	load     *atomic.Int64 // of this one, what others have given to it included
	gate     *gate         // nil = no limits on one address
	opened   uint64        // sessions begun on this loop
	upstream netip.AddrPort

	mayPeek  bool    // the long Data of some sessions goes on within the kernel
	domain   [2]int  // of the sockets of either side: AF_INET, AF_INET6 or AF_UNIX
	rights   [2]bool // descriptors may come with what a side sends
	draining bool    // no new connections
	quiet    bool    // no new requests
}

// readClock is called once per turn, before anything sets a timer.
func (c *core) readClock() {
	c.now = stats.Now()
	c.wheel.skip(c.now)
}

// admit reserves a place for one more connection; release gives it back.
func (c *core) admit() bool {
	if c.conns.Add(1) > int64(c.cfg.MaxConn) {
		c.conns.Add(-1)
		return false
	}
	return true
}

// refused closes an accepted descriptor whose client's address has more than it may, and gives its place back. The client gets
// RST: it cannot take that for an answer, and nothing of the connection stays here.
func (c *core) refused(fd int32, from netip.AddrPort) bool {
	if c.gate == nil {
		return false
	}
	why, ok := c.gate.enter(from.Addr(), c.now)
	if !ok {
		c.local[why]++
		c.sys.close(fd, true)
		c.conns.Add(-1)
	}
	return !ok
}

// begin makes a session for a client's descriptor. Its upstream is still to be connected.
func (c *core) begin(fd int32, from netip.AddrPort) *session {
	s := c.table.get()
	s.fd = [2]int32{fd, -1}
	s.client = from
	s.id = c.opened*uint64(c.loops) + uint64(c.index) + 1
	s.started, s.active = c.now, c.now
	for d, dir := range [2]codec.Dir{codec.Requests, codec.Answers} {
		s.flow[d].scan = codec.NewScanner(dir, c.cfg.MaxLine)
		s.flow[d].queue = newSegQueue()
	}
	if c.tracks != nil {
		s.track = c.tracks.tracker()
	}
	c.opened++
	c.load.Add(1)
	c.local[stats.Accepted]++
	c.local[stats.Connecting]++
	if c.cfg.Tunnel {
		c.decide(s, classTunnel)
	}
	return s
}

// release accounts for a session whose descriptors are closed and of which no operation is in flight, and frees its slot.
func (c *core) release(s *session) {
	for d := range s.flow {
		if s.flow[d].sending {
			panic("session released while the kernel is sending from it")
		}
		c.dropHeld(&s.flow[d])
	}
	c.wheel.clear(&c.table, s)
	c.end(s, causeError)
	if s.class == classUnknown {
		c.local[stats.BytesRequest] += s.uncounted[client]
		c.local[stats.BytesResponse] += s.uncounted[server]
	}
	c.logEnd(s)
	c.untrack(s)
	if s.class != classUnknown {
		c.local[openOf(s.class)]--
	}
	if c.local[stats.OpenTunnel] == 0 && !c.mayPeek {
		c.pipes.clear()
	}
	c.local[stats.Closing]--
	if c.gate != nil {
		c.gate.leave(s.client.Addr(), c.now)
	}
	c.local[stats.Ended]++
	c.local[s.cause.counter()]++
	c.table.put(s)
	c.load.Add(-1)
	c.conns.Add(-1)
}

// publish makes the loop's figures visible, once per turn.
func (c *core) publish(kernelSegs int) {
	if c.log != nil {
		c.log.Flush()
	}
	c.local[stats.Buffered] = uint64(len(c.slab.segs)-c.slab.free-kernelSegs)*segSize + uint64(c.pipes.held)
	if c.latency != nil {
		c.latency.Publish()
	}
	c.out.Publish(&c.local, c.now)
}

// readLimit is how much may be read for a flow whose queue is empty: all of its share while there is plenty of memory, less
// and less as the slab fills, and never less than the segment that the slab holds for every flow. So a thousand stalled
// peers cannot take what the others need.
func (c *core) readLimit() int {
	return max(segSize, min(c.cfg.MaxBuffer, (c.slab.free-c.reserved)/8*segSize))
}

// recvLimit is how much one receive of flow d may bring. Where requests outstanding are limited it is little, since they are
// counted after each receive.
func (c *core) recvLimit(d side) int {
	if d == client && c.cfg.MaxPending > 0 {
		return segSize
	}
	return c.readLimit()
}

// wall converts a time of the loop's clock to Unix time in µs.
func (c *core) wall(ns int64) int64 { return c.wallZero + ns/int64(time.Microsecond) }
