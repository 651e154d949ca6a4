package proxy

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"fooproxy/codec"
)

// Sessions belong to their loop. Whoever wants to see them asks the loop, which answers between two turns: a bounded number of
// sessions for each question, so that the traffic does not feel it.

// sessionsPerAsk is how many slots of the table one answer looks at: some 20 µs.
const sessionsPerAsk = 256

// question is filled by the loop before it closes done; until then nobody else may look at it.
type question struct {
	slot  int32           // the first to look at; afterwards where to go on, -1 at the end of the table
	conns []Connection    // has room for sessionsPerAsk, or is nil
	notes []violationNote // has room for all that the loop keeps, or is nil
	done  chan struct{}
}

// Connection is what a live connection shows.
type Connection struct {
	ID           uint64
	Loop         int
	Client       netip.AddrPort // zero on a unix socket
	Class        string         // unknown, foo, arbitrary, tunnel
	State        string         // connecting, open, closing
	End          string         // why it ends, "-" = it does not
	Age, Idle    time.Duration  // since it was accepted, since a byte last moved
	Count        codec.Counts   // messages forwarded
	Outstanding  uint64         // requests without an answer so far
	In, Out      uint64         // bytes accepted from the client, from the server
	HeldRequests int            // bytes that the server has not taken yet
	HeldAnswers  int            // bytes that the client has not taken yet
	WaitsFor     string         // connect, server-reads, client-reads, end, data, first-bytes, rest-of-request, answer, request
}

// Violation is one place where a peer broke the grammar.
type Violation struct {
	Time   time.Time
	Conn   uint64
	Client netip.AddrPort
	Dir    string // request, response
	Line   uint64 // 1-based
	Offset uint64 // in the line, 0-based
	Want   string
	Got    []byte // from the first byte that cannot be Foo on, at most violationExcerpt; whatever the peer sent
}

// violationExcerpt is how many bytes of what was wrong are kept.
const violationExcerpt = 64

// violationNote is a Violation as the loop keeps it, without pointers.
type violationNote struct {
	wall   int64 // Unix time in µs
	conn   uint64
	client netip.AddrPort
	side   side
	at     codec.Violation
	size   uint8
	got    [violationExcerpt]byte
}

// noteViolation keeps a violation for those who ask; got begins with the byte that cannot be Foo.
func (c *core) noteViolation(s *session, d side, v codec.Violation, got []byte) {
	if len(c.notes) == 0 {
		return
	}
	n := &c.notes[c.noted%uint64(len(c.notes))]
	c.noted++
	*n = violationNote{wall: c.wall(c.now), conn: s.id, client: s.client, side: d, at: v}
	n.size = uint8(copy(n.got[:], got))
}

func (n *violationNote) violation() Violation {
	return Violation{
		Time: time.UnixMicro(n.wall), Conn: n.conn, Client: n.client, Dir: n.side.direction(),
		Line: n.at.Line, Offset: n.at.Offset, Want: n.at.Want.String(), Got: n.got[:n.size],
	}
}

// answer fills a question, without allocating.
func (c *core) answer(q *question) {
	if q.conns != nil {
		end := min(q.slot+sessionsPerAsk, int32(len(c.table.chunks)*chunkSlots))
		for ; q.slot < end; q.slot++ {
			if s := c.table.at(q.slot); s.live {
				q.conns = append(q.conns, c.show(s))
			}
		}
		if int(q.slot) >= len(c.table.chunks)*chunkSlots {
			q.slot = -1
		}
	}
	if q.notes != nil {
		q.notes = append(q.notes, c.notes[:min(c.noted, uint64(len(c.notes)))]...)
	}
}

func (c *core) show(s *session) Connection {
	state := "open"
	switch {
	case s.cause != causeNone:
		state = "closing"
	case !s.connected:
		state = "connecting"
	}
	return Connection{
		ID: s.id, Loop: c.index, Client: s.client, Class: s.class.String(), State: state, End: s.cause.String(),
		Age: time.Duration(c.now - s.started), Idle: time.Duration(c.now - s.active),
		Count: s.count, Outstanding: s.pending(),
		In: s.flow[client].accepted, Out: s.flow[server].accepted,
		HeldRequests: s.flow[client].queue.bytes, HeldAnswers: s.flow[server].queue.bytes,
		WaitsFor: s.waitsFor(),
	}
}

// waitsFor says what must happen next for the session to go on.
func (s *session) waitsFor() string {
	requests, answers := &s.flow[client], &s.flow[server]
	switch {
	case !s.connected && requests.sink == open:
		return "connect"
	case requests.queue.bytes > 0 && s.class != classUnknown:
		return "server-reads"
	case answers.queue.bytes > 0:
		return "client-reads"
	case s.cause != causeNone:
		return "end"
	case s.class == classTunnel:
		return "data"
	case s.class == classUnknown:
		return "first-bytes"
	case requests.scan.Offset() != 0:
		return "rest-of-request"
	case s.pending() > 0:
		return "answer"
	}
	return "request"
}

// ask has the loop answer a question; false when it has ended, or did not come to it before ctx was done.
func (w *worker) ask(ctx context.Context, q *question) bool {
	q.done = make(chan struct{})
	w.asking.Lock()
	defer w.asking.Unlock()
	w.asked.Store(q)
	w.wake()
	select {
	case <-q.done:
		return true
	case <-w.ended:
	case <-ctx.Done():
	}
	w.asked.CompareAndSwap(q, nil) // a loop that has it by now fills what nobody reads
	return false
}

// hear answers what the loop has been asked; it is called once per turn.
func (w *worker) hear() {
	if w.asked.Load() == nil {
		return
	}
	if q := w.asked.Swap(nil); q != nil {
		w.core.answer(q)
		close(q.done)
	}
}

// Connections returns the live connections, at most limit of each loop, in no order. Those that begin or end meanwhile may be
// missing. A loop that does not answer before ctx is done shows none.
func (p *Proxy) Connections(ctx context.Context, limit int) (all []Connection) {
	for _, w := range p.workers {
		shown := 0
		for slot := int32(0); slot >= 0 && shown < limit; {
			q := &question{slot: slot, conns: make([]Connection, 0, sessionsPerAsk)}
			if !w.ask(ctx, q) {
				break
			}
			part := q.conns[:min(len(q.conns), limit-shown)]
			all = append(all, part...)
			shown += len(part)
			slot = q.slot
		}
	}
	return all
}

// Violations returns the latest violations, the last one first: at most Config.Violations.
func (p *Proxy) Violations(ctx context.Context) (all []Violation) {
	for _, w := range p.workers {
		q := &question{notes: make([]violationNote, 0, p.cfg.Violations)}
		if p.cfg.Violations == 0 || !w.ask(ctx, q) {
			continue
		}
		for i := range q.notes {
			all = append(all, q.notes[i].violation())
		}
	}
	slices.SortFunc(all, func(a, b Violation) int { return b.Time.Compare(a.Time) })
	return all[:min(len(all), p.cfg.Violations)]
}
