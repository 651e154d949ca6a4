package codec

// Message is what a line's head says, and the line's size.
type Message struct {
	Type Type
	Seq  int64  // 0 unless Fits
	Fits bool   // Seq fits int64; if not, the message can be matched to no answer
	Size uint64 // bytes with LF
}

// Head reads lines that a Scanner has found valid, whole or in parts. It is a
// small value; the zero Head is ready and stands at the start of a line.
type Head struct {
	size  uint64 // bytes of the line so far
	abs   uint64 // magnitude of Seq so far
	state uint8  // headType …
	typ   Type
	neg   bool
	over  bool // the magnitude does not fit uint64
}

const (
	headType  uint8 = iota // in Type, or in the white space after it
	headDigit              // in Seq, after its sign
	headRest               // after Seq
)

// Line takes the rest of a line, up to and including its LF, and returns the
// line's message. The Head then stands at the start of the next line.
func (h *Head) Line(b []byte) Message {
	h.take(b)
	m := Message{Type: h.typ, Size: h.size + uint64(len(b))}
	m.Seq, m.Fits = h.seq()
	*h = Head{}
	return m
}

// Partial takes a part of a line that does not hold its LF.
func (h *Head) Partial(b []byte) {
	h.take(b)
	h.size += uint64(len(b))
}

// take reads Type and Seq from b. Only the first byte of the type matters, and
// nothing after Seq does.
func (h *Head) take(b []byte) {
	i := 0
	if h.state == headType {
		if h.size == 0 && len(b) > 0 {
			h.typ = typeOf(b[0])
		}
		for i < len(b) && b[i] != '-' && !isDigit(b[i]) {
			i++
		}
		if i == len(b) {
			return
		}
		if b[i] == '-' {
			h.neg = true
			i++
		}
		h.state = headDigit
	}
	if h.state == headDigit {
		for i < len(b) && isDigit(b[i]) {
			h.digit(uint64(b[i] - '0'))
			i++
		}
		if i < len(b) {
			h.state = headRest
		}
	}
}

func (h *Head) digit(d uint64) {
	if h.abs > (1<<64-1-d)/10 {
		h.over = true
	}
	h.abs = h.abs*10 + d
}

func (h *Head) seq() (seq int64, fits bool) {
	switch {
	case h.over:
		return 0, false
	case h.neg && h.abs <= 1<<63:
		return int64(-h.abs), true
	case !h.neg && h.abs < 1<<63:
		return int64(h.abs), true
	}
	return 0, false
}

func typeOf(first byte) Type {
	switch first {
	case 'R':
		return REQ
	case 'A':
		return ACK
	}
	return NAK
}
