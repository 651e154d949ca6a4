package proxy

import (
	"syscall"

	"fooproxy/stats"
)

// How sessions end. Everything here turns what has happened to one side into what is owed to the other; the engines carry
// it out by asking session.want.

// end notes why the session ends; the first cause stays.
func (c *core) end(s *session, why cause) {
	if s.cause != causeNone {
		return
	}
	s.cause = why
	c.local[stats.Closing]++
	if !s.connected {
		c.local[stats.Connecting]--
	}
}

// sourceFIN: side d has sent FIN after everything it had to say. From a peer known to have reset its connection (seen when
// sending to it) the end of the stream means RST.
func (c *core) sourceFIN(s *session, d side) {
	if s.reset[d] {
		c.sourceRST(s, d)
		return
	}
	f := &s.flow[d]
	f.source = ended
	if f.ending != endNone {
		return
	}
	f.ending = endFIN
	c.end(s, causeClientFIN+cause(d))
	c.halfClosed(s)
}

// halfClosed begins the time that the other half of a session has left while nothing moves.
func (c *core) halfClosed(s *session) {
	c.holdsNoMore(s)
	s.active = c.now
	c.rearm(s)
}

// sourceRST: side d has reset its connection. What it sent before goes to the other side first, then the RST. What was on its
// way to side d has nobody left to receive it.
func (c *core) sourceRST(s *session, d side) {
	f := &s.flow[d]
	s.reset[d] = true
	f.source = ended
	f.ending = endRST
	c.end(s, causeClientRST+cause(d))
	c.halfClosed(s)
	c.loseSink(s, d^1)
}

// heardFIN says whether side d has ended its stream in good order and could still reset it: no recv is left to report that.
func (s *session) heardFIN(d side) bool {
	return s.flow[d].source == ended && !s.reset[d] && s.flow[d].ending == endFIN && s.flow[d^1].sink != gone
}

// sinkFailed: flow d could not be sent because its destination has reset the connection. What the destination sent before
// that is still read to its end, which then counts as RST.
func (c *core) sinkFailed(s *session, d side) {
	s.reset[d^1] = true
	c.end(s, causeClientRST+cause(d^1))
	c.halfClosed(s)
	if back := &s.flow[d^1]; back.source == ended {
		back.ending = endRST
	}
	c.loseSink(s, d)
}

// loseSink ends flow d because nobody is left to send to.
func (c *core) loseSink(s *session, d side) {
	f := &s.flow[d]
	c.dropHeld(f)
	f.sink = gone
	f.source = ended
	c.sinkEnded(s)
}

// dropHeld throws away what a flow holds; what the kernel is sending stays until it is done with it.
func (c *core) dropHeld(f *flow) {
	if !f.sending {
		f.queue.drop(c.slab)
	}
	c.dropPipe(f)
}

// sinkShut: the FIN of flow d has been sent.
func (c *core) sinkShut(s *session, d side) {
	s.flow[d].sink = shut
	c.sinkEnded(s)
}

// sinkAborted: everything of flow d has been delivered, and closing its destination will send the RST.
func (c *core) sinkAborted(s *session, d side) {
	s.abort[d^1] = true
	c.loseSink(s, d)
	c.loseSink(s, d^1)
}

// sinkEnded: once both sinks have ended, what a source still sends is dropped, for a short time.
func (c *core) sinkEnded(s *session) {
	if s.lingerFrom == 0 && s.flow[client].sink != open && s.flow[server].sink != open {
		s.lingerFrom = c.now
		for d := range s.flow {
			if f := &s.flow[d]; f.source == reading {
				f.source = dropping
			}
		}
	}
	c.rearm(s)
}

// connectDone: the upstream connection stands.
func (c *core) connectDone(s *session) {
	s.connected = true
	s.active = c.now
	if s.cause == causeNone {
		c.local[stats.Connecting]--
	}
}

// connectFailed: the upstream cannot be reached; the client gets FIN without an answer. An upstream that has reset what it had
// just accepted was reached.
func (c *core) connectFailed(s *session, errno syscall.Errno) {
	if errno == syscall.ECONNRESET || errno == syscall.EPIPE {
		c.connectDone(s)
		c.sinkFailed(s, client)
		return
	}
	c.refuse(s, connectCause(errno))
}

func connectCause(errno syscall.Errno) cause {
	switch errno {
	case syscall.ECONNREFUSED, syscall.ENOENT:
		return causeRefused
	case syscall.ETIMEDOUT:
		return causeConnectTimeout
	case syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.ENETDOWN:
		return causeUnreachable
	case syscall.EADDRNOTAVAIL, syscall.EADDRINUSE:
		return causeNoPorts
	}
	return causeConnectError
}

// refuse ends a session whose client shall reach nobody: what it sent is dropped, and it gets FIN.
func (c *core) refuse(s *session, why cause) {
	c.end(s, why)
	heard := s.flow[client].source == ended
	c.loseSink(s, client)
	if !heard {
		s.flow[client].source = dropping
	}
	answers := &s.flow[server]
	c.dropHeld(answers)
	answers.source = ended
	if answers.ending == endNone {
		answers.ending = endFIN
	}
	c.rearm(s)
}

// stopRequests ends a session from the client's side without losing what was accepted: requests go on to the upstream and
// then FIN, answers come back as long as one is owed. What the client sends from now on is dropped.
func (c *core) stopRequests(s *session, why cause) {
	c.end(s, why)
	s.noRequests = true
	f := &s.flow[client]
	if f.source == reading {
		f.source = dropping
	}
	if f.ending == endNone {
		f.ending = endFIN
	}
	c.stopAnswers(s)
	c.halfClosed(s)
}

// stopAnswers ends the answers of a session that takes no more requests once none is owed.
func (c *core) stopAnswers(s *session) {
	requests, answers := &s.flow[client], &s.flow[server]
	if requests.held() || s.pending() > 0 || answers.ending != endNone {
		return
	}
	answers.ending = endFIN
	if answers.source == reading {
		answers.source = dropping
	}
}

// stopBoth ends a session after a violation of the server: what was valid is delivered both ways, then both sides get FIN.
func (c *core) stopBoth(s *session, why cause) {
	c.end(s, why)
	for d := range s.flow {
		f := &s.flow[d]
		if f.source == reading {
			f.source = dropping
		}
		if f.ending == endNone {
			f.ending = endFIN
		}
	}
	c.halfClosed(s)
}

// kill ends a session at once. A side that does not get all of what was accepted for it gets RST, so that it cannot take the
// part for the whole.
func (c *core) kill(s *session, why cause) {
	c.end(s, why)
	for d := range s.flow {
		if s.flow[d].held() {
			s.abort[d^1] = true
		}
	}
	c.loseSink(s, client)
	c.loseSink(s, server)
}
