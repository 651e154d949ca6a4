package load

import (
	"bytes"
	"fmt"

	"golang.org/x/sys/unix"

	"fooproxy/bench/sys"
)

// wholeEach is which of the requests of a connection, when the upstream skims, are read whole and compared with what was sent.
const wholeEach = 64

// skim serves an accepted connection when all requests come from the script of this thread: their size is known, so only the
// heads need to be read. The kernel drops the data, since to copy it would cost the generator as much as everything
// else about a request. A request must end where its size says, and every one of wholeEach is read and compared.
func (l *loop) skim(slot int32) error {
	u := &l.ups[slot]
	out := l.outAnswers[:0]
	gone := false
	for u.unread && !u.blocked && !gone {
		n, errno := 0, unix.Errno(0)
		asked := headMax - u.in.filled
		dropping := u.left > 0 && u.count%wholeEach != 0
		switch {
		case dropping:
			asked = u.left
			n, errno = sys.Discard(u.fd, asked)
		case u.left > 0:
			asked = min(u.left, len(l.in))
			n, errno = sys.Read(u.fd, l.in[:asked])
		default:
			if u.in.inData {
				asked++ // the LF of the last one
			}
			n, errno = sys.Read(u.fd, l.in[:asked])
		}
		if errno == unix.EAGAIN {
			u.unread = false
			break
		}
		gone = errno != 0 || n == 0
		u.unread = n == asked || u.hangUp
		l.bytesAsked += uint64(n)
		if dropping {
			u.left -= n
			continue
		}
		var err error
		if out, err = l.skimmed(u, l.in[:n], out); err != nil {
			return err
		}
	}
	l.outAnswers = out
	if l.reply(slot, out) && gone {
		l.dropUpstream(slot)
	}
	return nil
}

// skimmed takes bytes that were read: data to compare, or the LF of a request and the head of the next one, to which it
// appends the answer.
func (l *loop) skimmed(u *upstream, b, out []byte) ([]byte, error) {
	if u.left > 0 {
		return out, l.compare(u, b)
	}
	if u.in.inData && len(b) > 0 {
		if b[0] != '\n' {
			return out, &Failure{WrongAsked, -1, fmt.Sprintf("the upstream was sent %q where request %d should end, after %d bytes",
				b[0], u.seq, l.script.size-1)}
		}
		u.in.inData = false
		b = b[1:]
	}
	u.in.filled += copy(u.in.head[u.in.filled:], b)
	line := u.in.head[:u.in.filled]
	n, need, ok := requestHead(line)
	if !ok || need && len(line) == headMax || bytes.IndexByte(line, '\n') >= 0 {
		return out, &Failure{WrongAsked, -1, fmt.Sprintf("the upstream was sent what is none of the generator's requests: %s", excerpt(line))}
	}
	if need {
		return out, nil
	}
	u.seq = 0
	for _, c := range line[4:n] {
		u.seq = u.seq*10 + uint64(c-'0')
	}
	u.in.filled, u.in.inData = 0, true
	u.count++
	u.left = l.script.size - 1 - n
	if err := l.compare(u, line[n:]); err != nil {
		return out, err
	}
	out = append(out, 'A', 'C', 'K')
	return append(append(out, line[3:n]...), '\n'), nil
}

// compare holds what came of a request's data against what was sent.
func (l *loop) compare(u *upstream, b []byte) error {
	slot, n := u.seq&(1<<l.shift-1), u.seq>>l.shift
	if slot >= uint64(l.active) {
		return &Failure{WrongAsked, -1, fmt.Sprintf("the upstream was sent request %d, which nobody made", u.seq)}
	}
	at := l.script.size - 1 - u.left
	if want := l.script.request(int32(slot), n)[at:][:len(b)]; !bytes.Equal(b, want) {
		return &Failure{WrongAsked, -1, fmt.Sprintf("the upstream was sent request %d with other data than it was made with, at byte %d: %s",
			u.seq, at, excerpt(b))}
	}
	u.left -= len(b)
	return nil
}
