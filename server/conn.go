package server

import (
	"golang.org/x/sys/unix"

	"fooproxy/codec"
)

const (
	receiveMax    = 256 << 10 // bytes received at once
	streamMin     = 64 << 10  // bytes of an unfinished answer from which on it is sent before its request has ended
	receiveBudget = 1 << 20   // bytes of one connection in one turn of the loop
	connEvents    = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET
)

// A conn is a client's connection, or a free slot when fd is negative. Invariant: a conn that is readable (more may be
// received, but no event will say so) is in loop.ready, or paused until its queue has drained.
type conn struct {
	fd   int32
	slot uint32
	gen  uint32 // raised when the slot is freed: events and deadlines of its former life are known by it

	queued   bool // true exactly when the conn is in loop.ready
	paused   bool // not received from, because the client does not take its answers
	hangup   bool // the end of the stream, or an error, is to be received: read on after a short read
	eof      bool // the end of the stream has been received
	ended    bool // what else comes is thrown away, and the server's FIN follows the answers
	fin      bool // the server's FIN is sent
	numbered bool // the generators are seeded, which happens with the first byte

	scan   codec.Scanner
	line   line
	q      queue
	window *window // nil unless answers are reordered
}

// receive reads, answers and sends until nothing is there to read, the client has too much to take, or the turn's budget is
// used up; then the conn goes on in the loop's next turn.
func (l *loop) receive(c *conn) {
	for budget := receiveBudget; budget > 0; {
		if c.q.held() >= l.opts.MaxBuffer && !c.ended {
			c.paused = true
			return
		}
		room := l.in[streamMin : streamMin+l.receiveMax]
		n, errno := recv(c.fd, room)
		switch {
		case errno == unix.EAGAIN:
			return
		case errno != 0:
			l.drop(c)
			return
		case n == 0:
			c.eof = true
			l.finish(c)
			return
		case !c.ended:
			if !l.serve(c, room[:n]) {
				return
			}
		}
		if n < len(room) && !c.hangup {
			return // edge-triggered: what comes from now on has an event of its own
		}
		budget -= n
	}
	l.again(c)
}

// finish ends the answering of requests: an unfinished one will get no answer. It returns false when the conn is gone.
func (l *loop) finish(c *conn) bool {
	c.q.dropUnfinished()
	l.release(c)
	return l.push(c)
}

// serve answers the requests in chunk, which lies in l.in at streamMin. It returns false when the conn is gone.
func (l *loop) serve(c *conn, chunk []byte) bool {
	if !c.numbered {
		l.number(c)
	}
	off := c.scan.Offset()
	var got codec.Counts
	valid, n := c.scan.FeedLines(chunk, &got, l.ends)
	ends := l.ends[:n]
	var naks uint64
	direct := l.direct && len(c.q.waiting()) == 0
	begin, front := chunk[:valid], 0
	if direct {
		front = len(c.q.unfinished())
	}
	if l.answerer.echo {
		naks = l.answerer.inPlace(begin, off, ends, &c.line)
		// The room before the chunk is for the unfinished answer: both go out together.
		begin = l.in[streamMin-front : streamMin+valid]
		if front > 0 {
			copy(begin, c.q.unfinished())
		}
	} else {
		l.out = append(l.out[:0], c.q.unfinished()[:front]...)
		l.out, naks = l.answerer.compose(l.out, begin, ends, &c.line)
		begin = l.out
	}
	l.counts.Req += got.Req
	l.counts.Nak += naks
	l.counts.Ack += got.Req - naks

	ok := true
	if direct {
		done := 0
		if n > 0 {
			done = int(ends[n-1])
			if l.answerer.echo {
				done += front
			}
		}
		c.q.reset(&l.spares)
		ok = l.sendNow(c, begin, done)
	} else {
		l.enqueue(c, begin, ends)
		ok = l.push(c)
	}
	if ok && valid < len(chunk) {
		l.counts.Bad++
		ok = l.end(c)
	}
	return ok
}

// sendNow sends out, of which the first done bytes are whole answers, and keeps what cannot be sent. The queue is empty.
func (l *loop) sendNow(c *conn, out []byte, done int) bool {
	if len(out)-done > streamMin {
		done = len(out)
	}
	sent := 0
	for sent < done {
		n, errno := send(c.fd, out[sent:done])
		if errno == unix.EAGAIN {
			break
		}
		if errno != 0 {
			l.drop(c)
			return false
		}
		sent += n
	}
	if sent < len(out) {
		c.q.append(out[sent:], &l.spares)
		whole := done - sent
		c.q.ready, c.q.done, c.q.line = whole, whole, whole
	}
	return true
}

// enqueue adds answers to the queue; ends are the offsets in out just after each of them.
func (l *loop) enqueue(c *conn, out []byte, ends []int32) {
	base := c.q.append(out, &l.spares)
	switch {
	case c.window != nil:
		l.gather(c, base, ends)
	case len(ends) > 0:
		c.q.line = base + int(ends[len(ends)-1])
		l.release(c)
	}
	if len(c.q.unfinished()) > streamMin {
		l.release(c)
		c.q.line = len(c.q.buf)
		l.release(c)
		if c.window != nil {
			c.window.streaming = true
		}
	}
}

// push sends what may be sent, and what follows from that. It returns false when the conn is gone.
func (l *loop) push(c *conn) bool {
	q := &c.q
	for q.sent < q.ready {
		n, errno := send(c.fd, q.waiting())
		if errno == unix.EAGAIN {
			return true
		}
		if errno != 0 {
			l.drop(c)
			return false
		}
		q.sent += n
	}
	if q.held() == 0 {
		q.reset(&l.spares)
	}
	if c.paused && q.held() <= l.opts.MaxBuffer/2 {
		c.paused = false
		l.again(c)
	}
	return l.settle(c)
}

// end ends a connection from the server's side.
func (l *loop) end(c *conn) bool {
	if c.ended {
		return true
	}
	c.ended = true
	l.endings.add(l.clock(), deadline{slot: c.slot, gen: c.gen})
	if c.paused {
		c.paused = false
		l.again(c)
	}
	return l.finish(c)
}

// settle ends what has nothing left to send. It returns false when the conn is gone.
func (l *loop) settle(c *conn) bool {
	if c.q.held() > 0 {
		return true
	}
	if c.eof {
		l.drop(c) // with nothing unread and nothing unsent, close sends a FIN
		return false
	}
	if c.ended && !c.fin {
		c.fin = true
		_ = unix.Shutdown(int(c.fd), unix.SHUT_WR) // fails only if the client is gone, which receive will find out
	}
	return true
}
