package load

import (
	"bytes"
	"fmt"

	"golang.org/x/sys/unix"

	"fooproxy/bench/sys"
)

// upstream is a connection that the built-in responder has accepted.
type upstream struct {
	fd      int32
	gen     uint32
	blocked bool // true exactly when pending is not empty and the socket has not called back yet
	hangUp  bool // an event said that the stream ends: read on until it does
	unread  bool // true exactly when input may be left in the socket
	pending []byte
	in      asked

	// Of an upstream that skims: the request that comes in, how many there were, and the bytes of its data that are missing.
	seq, count uint64
	left       int
}

// asked is the state of an unfinished request between two reads.
type asked struct {
	head   [headMax]byte
	filled int
	inData bool
}

const upstreamEvents = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET

// accept takes the connections that wait on the responder's listener.
func (l *loop) accept() error {
	for {
		fd, errno := sys.Accept(l.listen)
		switch errno {
		case 0:
		case unix.EAGAIN:
			return nil
		case unix.ECONNABORTED:
			continue
		default:
			return fmt.Errorf("built-in upstream: accept: %w%s", errno, enough(errno))
		}
		slot := l.freeUpstream()
		u := &l.ups[slot]
		*u = upstream{fd: fd, gen: u.gen + 1, pending: u.pending[:0]}
		if errno := l.poll.Add(fd, upstreamEvents, kindUpstream, slot, u.gen); errno != 0 {
			return fmt.Errorf("built-in upstream: epoll_ctl: %w", errno)
		}
	}
}

func (l *loop) freeUpstream() int32 {
	if n := len(l.upFree); n > 0 {
		slot := l.upFree[n-1]
		l.upFree = l.upFree[:n-1]
		return slot
	}
	l.ups = append(l.ups, upstream{})
	return int32(len(l.ups) - 1)
}

// upstreamEvent serves one accepted connection.
func (l *loop) upstreamEvent(slot int32, gen, events uint32) error {
	u := &l.ups[slot]
	if !sys.SameGen(u.gen, gen) || u.fd < 0 {
		return nil
	}
	u.hangUp = u.hangUp || events&hangUpEvents != 0
	u.unread = u.unread || u.hangUp || events&unix.EPOLLIN != 0
	if u.blocked && events&(unix.EPOLLOUT|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		u.blocked = false
		rest := u.pending
		u.pending = u.pending[:0]
		if !l.reply(slot, rest) {
			return nil
		}
	}
	if l.skims {
		return l.skim(slot)
	}
	for u.unread && !u.blocked {
		n, errno := sys.Read(u.fd, l.in)
		switch {
		case errno == unix.EAGAIN:
			u.unread = false
			return nil
		case errno != 0 || n == 0:
			// The end, or the target broke the connection: that is judged on the client's side, where it shows.
			l.dropUpstream(slot)
			return nil
		}
		u.unread = n == len(l.in) || u.hangUp
		l.bytesAsked += uint64(n)
		out, err := l.answer(u, l.in[:n])
		if err != nil {
			return err
		}
		if !l.reply(slot, out) {
			return nil
		}
	}
	return nil
}

// reply sends b, keeping what the socket does not take. It returns false when the connection is gone.
func (l *loop) reply(slot int32, b []byte) bool {
	u := &l.ups[slot]
	if len(b) == 0 {
		return true
	}
	n, errno := sys.Send(u.fd, b)
	if errno == unix.EAGAIN {
		n, errno = 0, 0
	}
	if errno != 0 {
		l.dropUpstream(slot)
		return false
	}
	if n < len(b) {
		// b may be the front part of pending itself; append moves it within the same array.
		u.pending = append(u.pending[:0], b[n:]...)
		u.blocked = true
	}
	return true
}

func (l *loop) dropUpstream(slot int32) {
	u := &l.ups[slot]
	sys.Close(u.fd)
	u.fd = -1
	l.upFree = append(l.upFree, slot)
}

// answer turns requests into answers: REQ becomes ACK, and without echo the data is left out. It never waits for the end
// of a line longer than a head, so that an answer with data begins while its request still arrives.
func (l *loop) answer(u *upstream, b []byte) (out []byte, err error) {
	out = l.outAnswers[:0]
	for len(b) > 0 {
		if u.in.inData {
			end := bytes.IndexByte(b, '\n') + 1
			piece := b
			if end > 0 {
				piece, u.in.inData = b[:end], false
			}
			if l.opt.Echo {
				out = append(out, piece...)
			} else if end > 0 {
				out = append(out, '\n')
			}
			b = b[len(piece):]
			continue
		}
		had := u.in.filled
		line := b
		if had > 0 {
			u.in.filled += copy(u.in.head[had:], b)
			line = u.in.head[:u.in.filled]
		}
		n, need, ok := requestHead(line)
		if !ok || need && len(line) >= headMax {
			return nil, &Failure{WrongAsked, -1, fmt.Sprintf("the upstream was sent what is no request: %s", excerpt(line))}
		}
		if need {
			if had == 0 {
				u.in.filled = copy(u.in.head[:], b)
			}
			break
		}
		out = append(out, 'A', 'C', 'K')
		out = append(out, line[3:n]...)
		u.in.filled, u.in.inData = 0, true
		b = b[n-had:]
	}
	l.outAnswers = out
	return out, nil
}

// requestHead measures "REQ 17", up to and without the byte that ends it.
func requestHead(b []byte) (n int, need, ok bool) {
	if n = min(len(b), 3); string(b[:n]) != "REQ"[:n] {
		return 0, false, false
	}
	for n < len(b) && isBlank(b[n]) {
		n++
	}
	from := n
	for n < len(b) && b[n]-'0' <= 9 {
		n++
	}
	if n == len(b) {
		return n, true, true
	}
	return n, false, from > 3 && n > from && (b[n] == '\n' || isBlank(b[n]))
}
