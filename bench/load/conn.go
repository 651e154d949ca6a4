package load

import "golang.org/x/sys/unix"

// connState is where a client connection is in its life:
//
//	closed ─▶ connecting ─▶ open ─▶ ending (FIN sent, waiting for the target's) ─▶ closed
//	             ▲                                                                 │
//	             └───────────────────────────── churn ─────────────────────────────┘
type connState uint8

const (
	closed connState = iota
	connecting
	open
	ending
)

// request is one request from its queueing to its answer.
type request struct {
	sent int64 // when its first byte was handed to the kernel; 0 = not yet, or answered
	due  int64 // open loop: when it was meant to be sent
	size int32 // bytes it takes on the wire
}

// conn is one client connection. Requests are numbered without gaps; done ≤ sent ≤ queued, and oldest is the first number
// that may still lack its answer, so that every number below it has been answered and every one from sent on has not left.
// The number survives a reconnection, so a late answer of an earlier connection is recognised. A Seq on the wire is
// number << shift | slot: an answer that strays to another connection identifies itself.
type conn struct {
	fd    int32
	slot  int32
	state connState
	gen   uint32

	blocked bool // true exactly when the socket took less than was offered and has not called back yet
	dirty   bool // true exactly when listed in loop.dirty
	hangUp  bool // an event said that the stream ends: read on until it does
	rest    int  // bytes of request number sent that have left already

	queued, sent, done, oldest uint64
	first                      uint64 // done when this connection was made
	window                     []request
	pause                      int64 // when the second half of a split request may leave
	began                      int64 // when it entered its state connecting or ending

	in inbound
}

// inbound is the state of an unfinished answer between two reads.
type inbound struct {
	head   [headMax]byte
	filled int  // bytes of head
	inData bool // the head is complete, the rest of the line is data
	answer head
	pos    int // bytes of data seen so far
}

// at is the entry of request n.
func (c *conn) at(n uint64) *request { return &c.window[n&uint64(len(c.window)-1)] }

// inFlight counts the requests that were sent, or begun, and have no answer.
func (c *conn) inFlight() uint64 { return c.sent - c.done }

// waiting counts all requests without an answer.
func (c *conn) waiting() uint64 { return c.queued - c.done }

// enqueue adds a request; the window doubles when the oldest unanswered one would be overwritten.
func (c *conn) enqueue(size int32, due int64) {
	if c.queued-c.oldest == uint64(len(c.window)) {
		c.grow()
	}
	*c.at(c.queued) = request{due: due, size: size}
	c.queued++
}

func (c *conn) grow() {
	old := c.window
	c.window = make([]request, max(2*len(old), 1))
	for n := c.oldest; n < c.queued; n++ {
		*c.at(n) = old[n&uint64(len(old)-1)]
	}
}

// advance moves oldest over the requests that have been answered.
func (c *conn) advance() {
	for c.oldest < c.sent && c.at(c.oldest).sent == 0 {
		c.oldest++
	}
}

const clientEvents = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET
