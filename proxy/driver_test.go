package proxy

import (
	"testing"

	"fooproxy/stats"
)

// driver plays an engine for one session: it does what the session wants as far as the sides take bytes, and notes what each
// side has got. It reads only where the session wants to be read.
type driver struct {
	t       *testing.T
	c       *core
	s       *session
	high    int       // watermarks in bytes of memory
	low     int       //
	room    [2]int    // bytes that each side still takes
	unacked [2]bool   // what was sent to the side has not been acknowledged
	got     [2]string // bytes that each side has received
	end     [2]string // how each side's stream has ended: "", "FIN" or "RST"
	closed  bool
	cause   cause // after the end
}

// newDriver makes a session on a fresh core, not connected yet.
func newDriver(t *testing.T, cfg Config) *driver {
	t.Helper()
	c := newTestCore(t, cfg, 64, 2)
	c.enableTracking()
	c.conns.Add(1)
	d := &driver{t: t, c: c, s: c.begin(-1, testClient), high: 1, room: [2]int{1 << 30, 1 << 30}}
	c.rearm(d.s)
	return d
}

// newOpen is newDriver with the upstream connected.
func newOpen(t *testing.T, cfg Config) *driver {
	t.Helper()
	d := newDriver(t, cfg)
	d.c.connectDone(d.s)
	return d
}

func (d *driver) reads(from side) bool { return !d.closed && d.s.want(from)&actRecv != 0 }

// says delivers text from a side, which the session must want to read.
func (d *driver) says(from side, text string) {
	d.t.Helper()
	if !d.reads(from) {
		d.t.Fatalf("%q from the %v is not wanted", text, name(from))
	}
	n := d.c.received(d.s, from, []byte(text))
	if n < 0 || n > len(text) {
		d.t.Fatalf("%d of the %d bytes of %q are forwarded", n, len(text), text)
	}
	q := &d.s.flow[from].queue
	if q.write(d.c.slab, []byte(text[:n])) < n {
		d.t.Fatalf("no memory for %q", text)
	}
	d.c.queued(d.s, from, d.high)
	d.work()
}

func (d *driver) fin(from side) {
	d.t.Helper()
	if !d.reads(from) {
		d.t.Fatalf("FIN from the %v is not wanted", name(from))
	}
	d.c.sourceFIN(d.s, from)
	d.work()
}

func (d *driver) rst(from side) {
	d.c.sourceRST(d.s, from)
	d.work()
}

// takes gives a side room for n more bytes.
func (d *driver) takes(to side, n int) {
	d.room[to] += n
	d.work()
}

// passes moves the clock and handles what fires.
func (d *driver) passes(ns int64) {
	d.c.now += ns
	for s := d.c.wheel.expired(&d.c.table, d.c.now); s != nil; s = d.c.wheel.expired(&d.c.table, d.c.now) {
		d.c.expire(s)
		d.work()
	}
}

// work does what the session wants until it wants nothing that can be done.
func (d *driver) work() {
	d.t.Helper()
	for again := true; again && !d.closed; {
		again = false
		for from := range d.s.flow {
			again = d.relay(side(from)) || again
		}
	}
	if d.closed || !d.s.finished() {
		return
	}
	for at := range d.end {
		switch {
		case d.s.abort[at]:
			d.end[at] = "RST"
		case d.end[at] == "":
			d.end[at] = "FIN"
		}
	}
	d.cause, d.closed = d.s.cause, true
	d.c.release(d.s)
}

func (d *driver) relay(from side) bool {
	d.t.Helper()
	f, to := &d.s.flow[from], from^1
	switch a := d.s.want(from); {
	case a&actSend != 0 && d.room[to] > 0:
		if d.end[to] != "" {
			d.t.Fatalf("data for the %v after its %s", name(to), d.end[to])
		}
		text := contents(d.c.slab, &f.queue)
		n := min(d.room[to], len(text))
		d.got[to] += string(text[:n])
		d.room[to] -= n
		d.c.sent(d.s, from, n, d.low)
	case a&actShut != 0:
		if d.end[to] != "" {
			d.t.Fatalf("FIN for the %v after its %s", name(to), d.end[to])
		}
		d.end[to] = "FIN"
		d.c.sinkShut(d.s, from)
	case a&actAbort != 0 && !d.unacked[to]:
		d.c.sinkAborted(d.s, from)
	default:
		return false
	}
	return true
}

func name(d side) string { return [2]string{"client", "server"}[d] }

// has checks what both sides have received so far, and how their streams have ended.
func (d *driver) has(toClient, clientEnd, toServer, serverEnd string) {
	d.t.Helper()
	if d.got[client] != toClient || d.end[client] != clientEnd {
		d.t.Errorf("the client has %q and %q, want %q and %q", d.got[client], d.end[client], toClient, clientEnd)
	}
	if d.got[server] != toServer || d.end[server] != serverEnd {
		d.t.Errorf("the server has %q and %q, want %q and %q", d.got[server], d.end[server], toServer, serverEnd)
	}
}

// is checks that the session has ended for a reason, and that nothing of it is left.
func (d *driver) is(why cause) {
	d.t.Helper()
	if !d.closed {
		d.t.Fatalf("the session has not ended; cause so far: %v", d.s.cause)
	}
	if d.cause != why {
		d.t.Errorf("ended with %v, want %v", d.cause, why)
	}
	d.counts(map[stats.Counter]uint64{why.counter(): 1, stats.Accepted: 1, stats.Ended: 1})
	c := d.c
	checkSlab(d.t, c.slab)
	if c.slab.free != len(c.slab.segs) || c.table.used != 0 || c.wheel.count != 0 || c.conns.Load() != 0 {
		d.t.Errorf("left behind: %d segments, %d sessions, %d timers, %d connections",
			len(c.slab.segs)-c.slab.free, c.table.used, c.wheel.count, c.conns.Load())
	}
}

func (d *driver) isOpen() {
	d.t.Helper()
	if d.closed {
		d.t.Fatalf("the session has ended: %v", d.cause)
	}
}

// counts checks some of the loop's counters.
func (d *driver) counts(want map[stats.Counter]uint64) {
	d.t.Helper()
	for counter, n := range want {
		if got := d.c.local[counter]; got != n {
			d.t.Errorf("%v is %d, want %d", counter, got, n)
		}
	}
}

// messages checks the counters of messages: requests, ACKs, NAKs, bad lines.
func (d *driver) messages(req, ack, nak, bad uint64) {
	d.t.Helper()
	d.counts(map[stats.Counter]uint64{stats.Req: req, stats.Ack: ack, stats.Nak: nak, stats.Bad: bad})
}
