package proxy

import (
	"net/netip"

	"fooproxy/codec"
)

// side names one end of a session, and also the flow that is read from it: flow[client] carries requests, flow[server] answers.
type side uint8

const (
	client side = 0
	server side = 1
)

func (d side) direction() string {
	if d == client {
		return codec.Requests.String()
	}
	return codec.Answers.String()
}

// class is what a session's first bytes have shown.
type class uint8

const (
	classUnknown class = iota
	classFoo
	classArbitrary
	classTunnel
)

var classNames = [...]string{"unknown", "foo", "arbitrary", "tunnel"}

func (c class) String() string { return classNames[c] }

// action is what a session wants done for one of its flows. The engine does it as soon as the descriptor allows and then
// tells the session: received or sourceEnded after recv, sent or sinkFailed after send, sinkShut after shut.
type action uint8

const (
	actRecv  action = 1 << iota // read from the flow's side
	actSend                     // send the queue to the other side
	actShut                     // relay the FIN
	actAbort                    // relay the RST once the kernel has delivered everything
)

// session is one proxied connection: two descriptors and a flow each way. It makes no system calls; an engine calls it with
// what happened, asks it with want what to do next, and closes it when finished says so.
//
//	free ─▶ connecting ─▶ connected ─▶ closing ─▶ free
//
// Connecting and connected differ in one bit, since a client may end while the upstream is still being connected. There are no
// half-closed states: each flow has its own end.
type session struct {
	flow       [2]flow
	fd         [2]int32
	slot       int32
	nextFree   int32
	gen        uint32
	live       bool
	connected  bool
	noRequests bool // the client may send what it likes, no more of it is forwarded
	full       bool // the client has as many requests outstanding as it may
	paced      bool // the kernel paces what is sent to the client, though not to others
	clientGone bool // the client was seen to have gone for good, whatever of it is still to be read
	class      class
	cause      cause
	reset      [2]bool // the side has sent RST, so the end of its stream means RST
	abort      [2]bool // close this side with RST
	started    int64   // this and the following times: ns of the loop's clock
	active     int64   // when a byte last moved
	lineStart  int64   // when the unfinished request line began, 0 = none
	heldSince  int64   // since when requests wait for the upstream to take them, 0 = none does
	lingerFrom int64   // when both sinks had ended, 0 = not yet
	recheck    int64   // when to look again whether the kernel has delivered everything, 0 = no need
	id         uint64
	count      codec.Counts // messages forwarded
	uncounted  [2]uint64    // bytes from either side that no counter has yet
	track      *tracker     // nil unless requests are tracked
	timer      timer
	client     netip.AddrPort
	eng        engineState
}

// want says what is to be done for flow d now.
func (s *session) want(d side) action {
	f := &s.flow[d]
	var a action
	if f.source == dropping && (d == client || s.connected) ||
		f.source == reading && s.connected && !f.paused && f.pipe == nil && !(d == client && s.blocked()) {
		a = actRecv // what comes before the upstream is there waits in the kernel: only what is forwarded is counted
	}
	if f.sink == gone || d == client && !s.connected {
		return a
	}
	switch {
	case f.held():
		if d == server || s.class != classUnknown || f.ending != endNone {
			a |= actSend
		}
	case f.ending == endRST:
		a |= actAbort
	case f.ending == endFIN && f.sink == open:
		a |= actShut
	}
	return a
}

// blocked says whether the client is not read because of its outstanding requests: as long as answers can come for it.
func (s *session) blocked() bool {
	return s.full && s.flow[server].source == reading && !s.clientGone
}

// finished is true when nothing more can be delivered and no source needs draining: the engine closes the session then.
func (s *session) finished() bool { return s.flow[client].finished() && s.flow[server].finished() }

// pending is how many requests have been forwarded and not been answered.
func (s *session) pending() uint64 {
	if answers := s.count.Ack + s.count.Nak; s.count.Req > answers {
		return s.count.Req - answers
	}
	return 0
}
