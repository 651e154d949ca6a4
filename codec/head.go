package codec

import (
	"encoding/binary"
	"math"
	"math/bits"
)

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
	if h.state == headType && h.size == 0 {
		if seq, ok := shortSeq(b); ok {
			return Message{Type: typeOf(b[0]), Seq: seq, Fits: true, Size: uint64(len(b))}
		}
	}
	h.take(b)
	m := Message{Type: h.typ, Size: h.size + uint64(len(b))}
	m.Seq, m.Fits = h.seq()
	*h = Head{}
	return m
}

// shortSeq reads Seq from a whole line in the form that most have: one byte of
// white space, up to seven digits, no sign. It takes eight bytes as one word,
// in which the first that is no digit marks the end, and adds neighbours up:
// digits to pairs, pairs to Seq.
func shortSeq(b []byte) (seq int64, ok bool) {
	const at, word = 4, 8
	var w uint64
	switch {
	case len(b) >= at+word:
		w = binary.LittleEndian.Uint64(b[at:])
	case len(b) >= word:
		w = binary.LittleEndian.Uint64(b[len(b)-word:]) >> (8 * (at + word - len(b)) & 63)
	default:
		return 0, false
	}
	w ^= 0x3030303030303030
	// In a byte above 9 the addition, or what it began with, has the highest bit. It carries into no digit before that.
	end := bits.TrailingZeros64((w + 0x7676767676767676 | w) & 0x8080808080808080)
	if end == 7 || end == 64 {
		return 0, false
	}
	w <<= 71 - end // the last digit to the highest byte, zeros before the first
	w = w*10 + w>>8
	const pairs = 0x000000ff_000000ff
	w = (w&pairs*(100+1000000<<32) + w>>16&pairs*(1+10000<<32)) >> 32
	return int64(w), true
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
	if h.abs >= math.MaxUint64/10 && h.abs > (math.MaxUint64-d)/10 { // the first costs no division
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
