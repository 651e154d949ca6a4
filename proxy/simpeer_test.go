package proxy

import (
	"syscall"

	"fooproxy/codec"
)

// simSocket is one of the proxy's two sockets of a connection, as the kernel keeps it, with the peer behind it.
//
//	peer: stream ──sent──▶ [read:sent) in the socket ──▶ proxy
//	peer: [heard:taken) on its way, [:heard) received ◀── proxy
type simSocket struct {
	stream    simStream // what the peer has to say
	sent      int       // bytes of it that have arrived
	read      int       // bytes of it that the proxy has read
	looked    int       // those after them that the proxy has peeked at and accepted
	tried     bool      // it has tried to splice some of them, or must not since it holds others
	noPipe    uint64    // stats.NoPipe when it has peeked
	fin       bool      // its end has arrived
	urgent    int       // 1 + where in it a byte has arrived that TCP calls urgent, which is not part of it; 0 = none
	urges     bool      // the peer sends such bytes
	signalled bool      // a signal has stopped a recv there
	rst       bool
	err       bool // the reset was not reported yet; the kernel does that once
	resetAt   int64
	heardAt   int64 // since when its end counts as heard, 0 = it does not

	taken int // bytes that the proxy has sent
	heard int // bytes that the peer has received
	space int // bytes that may be between the two
	short bool
	shut  bool // the proxy has sent FIN

	closed   bool // by the proxy
	aborted  bool // with RST
	nonblock bool // O_NONBLOCK

	edge  bool   // epoll: an event is to be reported
	told  [4]int // uring: what there was when a poll found something to read
	again int    // how often it has found the same since, with memory to read it

	ending   peerEnd
	ended    bool // the peer has sent its end
	deaf     bool // the peer has closed: what comes to it is answered with RST
	stalled  bool // the peer does not read
	own      bool // of the proxy's user or of root
	answers  bool // the peer answers requests
	answered int  // lines of the other stream that it has looked at
}

// peerEnd is how a peer ends its connection.
type peerEnd int

const (
	endsFIN     peerEnd = iota // after all it had to say, and goes on reading
	endsClosed                 // the same, and does not read on
	endsReset                  // at any time
	endsNotYet                 // not before the simulation is brought to its end
	endsTwice                  // FIN after all it had to say, and RST in a lull
	peerEndings = 5
)

// simSpaces is how much there may be on its way to a peer, in bytes; that changes with what it receives.
var simSpaces = [...]int{1, 100, segSize, 4 * segSize}

// recv is recv(2) on a non-blocking socket, except for the bytes.
func (k *simSocket) recv(limit int) (int, syscall.Errno) {
	n := k.reach(limit)
	if k.atUrgent() {
		k.urgent = 0
	}
	switch {
	case n > 0:
		k.read += n
		return n, 0
	case k.err:
		k.err = false
		return 0, syscall.ECONNRESET
	case k.rst, k.fin:
		return 0, 0
	}
	return 0, syscall.EAGAIN
}

// atUrgent says whether a byte that TCP calls urgent comes next. A recv skips it, a splice does not get past it.
func (k *simSocket) atUrgent() bool { return k.urgent == k.read+1 }

// reach is how many bytes one call receives, if it may receive up to limit. It does not go past an urgent byte.
func (k *simSocket) reach(limit int) int {
	n := min(k.sent-k.read, limit)
	if before := k.urgent - 1 - k.read; before > 0 {
		n = min(n, before)
	}
	return n
}

// send is send(2) on a non-blocking socket, except for the bytes. The kernel may take less than it has space for.
func (k *simSocket) send(c chooser, n int) (int, syscall.Errno) {
	if k.shut || k.closed || n == 0 {
		panic("send after the end, or of nothing")
	}
	switch {
	case k.err:
		k.err = false
		return 0, syscall.ECONNRESET
	case k.rst:
		return 0, syscall.EPIPE
	}
	room := k.space - (k.taken - k.heard)
	if room == 0 {
		k.short = true
		return 0, syscall.EAGAIN
	}
	whole := n
	if n > 1 && oneIn(c, 8) {
		n = size(c, n-1)
	}
	if whole > room || n < whole {
		k.short = true // the kernel announces space when there is again
		n = min(n, room)
	}
	k.taken += n
	return n, 0
}

func (k *simSocket) undelivered() int {
	if k.rst {
		return 0
	}
	return k.taken - k.heard
}

// reset is the arrival of an RST.
func (k *simSocket) reset() {
	k.rst, k.err, k.ended = true, true, true
	k.edge = true
}

// act has the peer behind side d's socket do something, if it can: speak, end, or listen. eager peers do all they have to.
func (cn *simConn) act(c chooser, d side, eager bool) bool {
	k := &cn.sock[d]
	if k.rst || k.closed || d == server && !cn.up {
		return false
	}
	moved := cn.listen(c, d, eager)
	if k.answers {
		cn.answer(c, d, eager)
	}
	switch {
	case k.ended:
	case k.sent < len(k.stream.data):
		n := len(k.stream.data) - k.sent
		if !eager {
			n = size(c, n)
		}
		if k.urges && k.urgent == 0 && oneIn(c, 4) {
			k.urgent = 1 + k.sent + c.pick(n+1)
		}
		k.sent += n
		moved, k.edge = true, true
	case k.ending != endsReset && cn.hasSaidAll(d) && (eager || k.ending != endsNotYet):
		k.ended, k.fin = true, true
		k.deaf = k.ending == endsClosed
		moved, k.edge = true, true
	}
	if k.ending == endsReset && !k.ended && (eager || oneIn(c, 8)) || k.deaf && k.taken > k.heard && (eager || oneIn(c, 3)) {
		k.reset()
		moved = true
	}
	return moved
}

// listen has the peer receive some of what is on its way.
func (cn *simConn) listen(c chooser, d side, eager bool) bool {
	k := &cn.sock[d]
	n := k.taken - k.heard
	if n == 0 || k.deaf || k.stalled && !eager {
		return false
	}
	if !eager {
		n = size(c, n)
	}
	k.heard += n
	if !eager && oneIn(c, 6) {
		k.space = max(k.taken-k.heard, simSpaces[c.pick(len(simSpaces))])
	}
	if k.short && k.space > k.taken-k.heard {
		k.short, k.edge = false, true // the kernel announces space to whom it had none for
	}
	return true
}

// answer has the server answer complete requests that it has heard.
func (cn *simConn) answer(c chooser, d side, eager bool) {
	k, requests := &cn.sock[d], cn.sock[d^1].stream.lines
	for ; k.answered < len(requests) && requests[k.answered].end <= k.heard && !k.ended; k.answered++ {
		if !eager && oneIn(c, 2) {
			return
		}
		switch l := requests[k.answered]; {
		case l.bad != noBad:
		case l.fits:
			k.stream.valid(codec.ACK+codec.Type(c.pick(2)), l.seq, size(c, 40))
		default:
			k.stream.untracked(codec.NAK)
		}
	}
}

// hasSaidAll says whether the peer may end in good order: a server that answers waits for the client's end and its requests.
func (cn *simConn) hasSaidAll(d side) bool {
	k := &cn.sock[d]
	if !k.answers {
		return true
	}
	lines := cn.sock[d^1].stream.lines
	owed := k.answered < len(lines) && lines[k.answered].end <= k.heard
	return k.shut && k.heard == k.taken && !owed
}
