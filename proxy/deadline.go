package proxy

import "time"

// lingerLimit is how long a source is drained after both sinks have ended: closing a socket that still receives would turn
// into RST and could destroy what the peer has not read yet.
const lingerLimit = int64(time.Second)

// deadline returns when the session must end if nothing happens until then, and why; 0 = never.
func (c *core) deadline(s *session) (at int64, why cause) {
	soonest := func(from int64, limit time.Duration, reason cause) {
		if t := from + int64(limit); limit > 0 && (at == 0 || t < at) {
			at, why = t, reason
		}
	}
	requests, answers := &s.flow[client], &s.flow[server]
	if s.lingerFrom != 0 && requests.ending != endRST && answers.ending != endRST {
		return s.lingerFrom + lingerLimit, causeHalfCloseTimeout
	}
	if !s.connected && requests.sink == open {
		soonest(s.started, c.cfg.TimeoutConnect, causeConnectTimeout)
	}
	soonest(s.active, c.cfg.TimeoutIdle, causeIdle)
	if requests.ending != endNone || answers.ending != endNone {
		soonest(s.active, c.cfg.TimeoutHalfClose, causeHalfCloseTimeout)
	}
	if s.lineStart != 0 && requests.source == reading && (s.heldSince == 0 || s.class == classUnknown) {
		soonest(s.lineStart, c.cfg.TimeoutLine, causeLineTimeout)
	}
	return at, why
}

// rearm sets the session's timer for its deadline. A deadline that moves away needs no call: the timer looks when it fires.
func (c *core) rearm(s *session) {
	at, _ := c.deadline(s)
	if s.recheck != 0 && (at == 0 || s.recheck < at) {
		at = s.recheck
	}
	if at != 0 {
		c.wheel.set(&c.table, s, at)
	}
}

// expire is called when the session's timer has fired.
func (c *core) expire(s *session) {
	at, why := c.deadline(s)
	switch {
	case at == 0 || at > c.now:
		s.recheck = 0
		c.rearm(s)
	case why == causeConnectTimeout:
		c.refuse(s, why)
	case why == causeLineTimeout:
		c.stopRequests(s, why)
	default:
		c.kill(s, why)
	}
}

// patience is how long the loop may wait before something of its own is due, -1 = for ever.
func (c *core) patience() time.Duration {
	limit := c.wheel.wait(c.now)
	if c.pipes.lookAt != 0 {
		limit = sooner(limit, c.pipes.lookAt, c.now)
	}
	return limit
}
