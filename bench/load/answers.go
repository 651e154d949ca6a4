package load

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// headMax bounds the part of an answer before its data: type, white space and a Seq of up to 19 digits. A target that
// pads with more white space than this leaves is not one the generator can judge.
const headMax = 64

// head is what an answer says before its data.
type head struct {
	seq uint64
	nak bool
}

var (
	ackWord = binary.LittleEndian.Uint32([]byte("ACK "))
	nakWord = binary.LittleEndian.Uint32([]byte("NAK "))
)

// parseHead reads "ACK 17" or "NAK 17" and the byte that ends it, an LF or white space. It returns the bytes up to and
// without that byte; ok is false when b cannot be an answer, need is true when b ends too early to tell.
func parseHead(b []byte) (h head, n int, need, ok bool) {
	kind := "ACK"
	if len(b) > 0 && b[0] == 'N' {
		kind = "NAK"
	}
	if n = min(len(b), len(kind)); string(b[:n]) != kind[:n] {
		return h, 0, false, false
	}
	for n < len(b) && isBlank(b[n]) {
		n++
	}
	digits := n
	for n < len(b) && b[n]-'0' <= 9 {
		h.seq = h.seq*10 + uint64(b[n]-'0')
		n++
	}
	if n >= len(b) {
		return h, n, true, n-digits <= 19
	}
	h.nak = b[0] == 'N'
	ok = digits > len(kind) && n > digits && n-digits <= 19 && (b[n] == '\n' || isBlank(b[n]))
	return h, n, false, ok
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' }

// answers takes bytes that arrived on c at time now. The common answer, whole and with one blank, is read in place; what
// is cut by the end of the buffer goes through c.in.
func (l *loop) answers(c *conn, b []byte, now int64) error {
	for len(b) > 0 {
		if c.in.inData {
			rest, err := l.answerData(c, b, now)
			if err != nil {
				return err
			}
			b = rest
			continue
		}
		if c.in.filled == 0 && len(b) >= 6 {
			if word := binary.LittleEndian.Uint32(b); word == ackWord || word == nakWord {
				seq, i := uint64(0), 4
				for i < len(b) && b[i]-'0' <= 9 {
					seq = seq*10 + uint64(b[i]-'0')
					i++
				}
				if i < len(b) && b[i] == '\n' && i > 4 && i <= 4+19 && !l.verify {
					if err := l.settle(c, head{seq, word == nakWord}, now); err != nil {
						return err
					}
					b = b[i+1:]
					continue
				}
			}
		}
		rest, err := l.answerHead(c, b)
		if err != nil {
			return err
		}
		b = rest
	}
	return nil
}

// answerHead reads the head of an answer, keeping it when it is not whole yet.
func (l *loop) answerHead(c *conn, b []byte) (rest []byte, err error) {
	in := &c.in
	had := in.filled
	in.filled += copy(in.head[in.filled:], b)
	h, n, need, ok := parseHead(in.head[:in.filled])
	if !ok || need && in.filled == headMax {
		return nil, &Failure{Malformed, int(c.slot), fmt.Sprintf("not an answer: %s", excerpt(in.head[:in.filled]))}
	}
	if need {
		return b[in.filled-had:], nil
	}
	in.filled, in.inData, in.answer, in.pos = 0, true, h, 0
	return b[n-had:], nil
}

// answerData reads data up to the LF, which completes the answer. The first byte is the one that ended the head.
func (l *loop) answerData(c *conn, b []byte, now int64) (rest []byte, err error) {
	end := bytes.IndexByte(b, '\n')
	data := b
	if end >= 0 {
		data = b[:end]
	}
	if l.verify {
		if err := l.verifyData(c, data, end >= 0); err != nil {
			return nil, err
		}
	}
	if end < 0 {
		return nil, nil
	}
	c.in.inData = false
	return b[end+1:], l.settle(c, c.in.answer, now)
}

// verifyData compares a piece of an answer's data with what its request carried. The piece begins with the white space
// that followed Seq.
func (l *loop) verifyData(c *conn, piece []byte, last bool) error {
	seq := c.in.answer.seq
	want := l.dataOf(c, seq)
	at := c.in.pos
	c.in.pos += len(piece)
	if c.in.pos > len(want) || !bytes.Equal(want[at:c.in.pos], piece) || last && c.in.pos != len(want) {
		return &Failure{WrongData, int(c.slot), fmt.Sprintf("the answer to seq %d carries other data than the request, "+
			"at byte %d of %d: %s", seq, at, len(want), excerpt(piece))}
	}
	return nil
}

// settle matches an answer with its request.
func (l *loop) settle(c *conn, h head, now int64) error {
	n := h.seq >> l.shift
	if int32(h.seq&(1<<l.shift-1)) != c.slot {
		return l.stray(c, h.seq)
	}
	if n-c.oldest >= c.sent-c.oldest {
		return l.unexpected(c, n, h.seq)
	}
	r := c.at(n)
	if r.sent == 0 {
		return l.unexpected(c, n, h.seq)
	}
	if r.due != 0 {
		l.recordOpen(r, now)
	} else if took := now - r.sent; took == l.sameTook {
		l.sameCount++
	} else {
		l.recordSame()
		l.sameTook, l.sameCount = took, 1
	}
	r.sent = 0
	c.done++
	l.answered++
	if h.nak {
		l.naks++
	}
	if n == c.oldest {
		c.advance()
	}
	return nil
}

// stray describes an answer whose Seq belongs to another connection, or to none.
func (l *loop) stray(c *conn, seq uint64) error {
	if owner := int(seq & (1<<l.shift - 1)); owner < len(l.conns) {
		if n := seq >> l.shift; n < l.conns[owner].sent {
			return &Failure{WrongConn, int(c.slot), fmt.Sprintf("answer to seq %d, which connection %d asked", seq, owner)}
		}
	}
	return &Failure{Unknown, int(c.slot), fmt.Sprintf("answer to seq %d, which was never sent", seq)}
}

// unexpected describes an answer to a request of this connection that is not outstanding.
func (l *loop) unexpected(c *conn, n, seq uint64) error {
	if n < c.sent {
		return &Failure{Doubled, int(c.slot), fmt.Sprintf("a second answer to seq %d", seq)}
	}
	if n == c.sent && c.rest > 0 {
		return &Failure{Unknown, int(c.slot), fmt.Sprintf("answer to seq %d before the request was sent whole", seq)}
	}
	return &Failure{Unknown, int(c.slot), fmt.Sprintf("answer to seq %d, which was not sent yet", seq)}
}
