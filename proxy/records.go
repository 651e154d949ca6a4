package proxy

import (
	"time"

	"fooproxy/accesslog"
	"fooproxy/codec"
	"fooproxy/stats"
)

// trackMax bounds the outstanding requests remembered per connection. Requests beyond it are forwarded and logged as
// unanswered, their answers as unmatched: totals stay right, latencies are missing.
const trackMax = 1 << 16

// enableTracking has the core match requests with answers from now on, and keep their latencies.
func (c *core) enableTracking() {
	c.tracks = newTrackerPool(trackMax)
	if c.log != nil {
		c.tracks.size = min(c.cfg.LogData, logDataMax)
	}
	c.latency = c.out.EnableLatency()
	c.lineEnds = make([]int32, max(c.cfg.MaxBuffer, segSize)/shortestMessage+1)
}

// shortestMessage is "REQ 1\n".
const shortestMessage = 6

// trackLines matches requests with answers; each of ends is the offset just after an LF of data.
func (c *core) trackLines(s *session, d side, data []byte, ends []int32) {
	head := &s.flow[d].head
	waiting := s.track.len()
	start := int32(0)
	c.address(s)
	for _, end := range ends {
		line := data[start:end]
		m := head.Line(line)
		start = end
		if c.tracks.size > 0 {
			s.track.excerpt(d, line)
		}
		if d == client {
			c.trackRequest(s, &m)
		} else {
			c.trackAnswer(s, &m)
		}
	}
	head.Partial(data[start:])
	if c.tracks.size > 0 {
		s.track.begin(d, data[start:])
	}
	c.local[stats.Outstanding] += uint64(s.track.len() - waiting)
}

// untrack forgets the requests of a session that has ended.
func (c *core) untrack(s *session) {
	if s.track == nil {
		return
	}
	n := uint64(s.track.len())
	c.local[stats.Unanswered] += n
	c.local[stats.Outstanding] -= n
	c.tracks.release(s.track)
	s.track = nil
}

func (c *core) trackRequest(s *session, m *codec.Message) {
	if m.Fits && s.track.add(m.Seq, c.now, m.Size) {
		if c.tracks.size > 0 {
			s.track.keep()
		}
		return
	}
	c.local[stats.Untracked]++
	c.logRequest(m.Seq, m.Fits, m.Size, nil, 0)
}

func (c *core) trackAnswer(s *session, m *codec.Message) {
	if m.Fits {
		if start, size, ok := s.track.match(m.Seq); ok {
			c.latency.Record(c.now - start)
			c.logRequest(m.Seq, true, size, m, start)
			return
		}
		c.local[stats.Unmatched]++
		if s.track.answered(m.Seq) {
			c.local[stats.Duplicate]++
		}
	} else {
		c.local[stats.Untracked]++
	}
	if c.log != nil {
		c.log.Answer(&accesslog.Answer{
			Time: c.wall(c.now), Conn: s.id, Client: s.client,
			Result: result(m), Seq: m.Seq, Fits: m.Fits, Size: m.Size, Data: c.tracks.latest[server],
		})
	}
}

func result(m *codec.Message) accesslog.Result {
	switch {
	case m == nil:
		return accesslog.None
	case m.Type == codec.ACK:
		return accesslog.ACK
	}
	return accesslog.NAK
}

// address says whose requests the next calls of logRequest log, and when.
func (c *core) address(s *session) {
	if c.log != nil {
		c.line.Time, c.line.Conn, c.line.Client = c.wall(c.now), s.id, s.client
	}
}

// logRequest logs a request that was forwarded at start, with its answer or nil when it got none.
func (c *core) logRequest(seq int64, fits bool, size uint64, answer *codec.Message, start int64) {
	if c.log == nil {
		return
	}
	q := &c.line
	q.Seq, q.Fits, q.Size, q.Result = seq, fits, size, result(answer)
	if answer != nil {
		q.AnswerSize = answer.Size
		q.Latency = (c.now - start) / int64(time.Microsecond)
	}
	if c.tracks.size > 0 {
		q.Data, q.AnswerData = c.tracks.latest[client], c.tracks.latest[server]
	}
	c.log.Request(q)
}

// logEnd logs the requests that got no answer, and the connection.
func (c *core) logEnd(s *session) {
	if c.log == nil {
		return
	}
	outstanding := uint64(0)
	if s.track != nil {
		outstanding = uint64(s.track.len())
		c.address(s)
		s.track.each(func(seq, _ int64, size uint64) { c.logRequest(seq, true, size, nil, 0) })
	}
	c.log.Conn(&accesslog.Conn{
		Time: c.wall(c.now), Conn: s.id, Client: s.client, Server: c.upstream, Class: s.class.String(),
		Duration: (c.now - s.started) / int64(time.Millisecond),
		Req:      s.count.Req, Ack: s.count.Ack, Nak: s.count.Nak, Open: outstanding,
		In: s.flow[client].accepted, Out: s.flow[server].accepted, End: s.cause.String(),
	})
}

// logBad logs a violation; got begins with the byte that cannot be Foo.
func (c *core) logBad(s *session, d side, v codec.Violation, got []byte) {
	if c.log != nil {
		c.log.Bad(&accesslog.Bad{
			Time: c.wall(c.now), Conn: s.id, Client: s.client, Dir: d.direction(),
			Line: v.Line, Offset: v.Offset, Want: v.Want.String(), Got: got,
		})
	}
}
