package server

// A queue holds a connection's answers that are not sent. Its marks cut it as doc.go draws:
// 0 ≤ sent ≤ ready ≤ done ≤ line ≤ len(buf). The zero queue is empty.
type queue struct {
	buf   []byte
	sent  int // where the bytes not yet sent begin
	ready int // where the bytes begin that must still be delayed
	done  int // where the window to be shuffled begins
	line  int // where the answer to an unfinished request begins
}

// held is how many bytes the queue keeps.
func (q *queue) held() int { return len(q.buf) - q.sent }

// waiting are the bytes that may be sent.
func (q *queue) waiting() []byte { return q.buf[q.sent:q.ready] }

// unfinished is the answer to an unfinished request.
func (q *queue) unfinished() []byte { return q.buf[q.line:] }

// append adds b behind all else and returns where it begins.
func (q *queue) append(b []byte, spare *spares) (base int) {
	if q.buf == nil {
		q.buf = spare.take()
	}
	if len(q.buf)+len(b) > cap(q.buf) && q.sent > 0 {
		q.compact()
	}
	base = len(q.buf)
	q.buf = append(q.buf, b...)
	return base
}

// compact moves the bytes held to the buffer's beginning.
func (q *queue) compact() {
	n := copy(q.buf, q.buf[q.sent:])
	q.buf = q.buf[:n]
	q.ready -= q.sent
	q.done -= q.sent
	q.line -= q.sent
	q.sent = 0
}

// dropUnfinished forgets the answer to an unfinished request, which will never be finished.
func (q *queue) dropUnfinished() { q.buf = q.buf[:q.line] }

// reset empties the queue and gives its buffer back.
func (q *queue) reset(spare *spares) {
	if q.buf != nil {
		spare.put(q.buf)
		*q = queue{}
	}
}

const (
	sparesMax    = 16 << 20 // bytes
	spareSizeMin = 512      // bytes
)

// spares are buffers that no queue uses. A loop keeps some, so that a client that is slow again and again allocates
// nothing; what is over sparesMax goes back to Go's heap.
type spares struct {
	bufs [][]byte
	size int // bytes in bufs
}

func (s *spares) take() []byte {
	last := len(s.bufs) - 1
	if last < 0 {
		return make([]byte, 0, spareSizeMin)
	}
	b := s.bufs[last]
	s.bufs[last] = nil
	s.bufs = s.bufs[:last]
	s.size -= cap(b)
	return b
}

func (s *spares) put(b []byte) {
	if s.size+cap(b) <= sparesMax {
		s.bufs = append(s.bufs, b[:0])
		s.size += cap(b)
	}
}
