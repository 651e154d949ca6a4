package codec

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// The line-wise scanner: a straight run over the parts of a line whose LF is
// in the chunk, the automaton for lines that are cut.

// scanLines checks b from offset at on line by line and returns the offset
// where it stopped: len(b), or that of the first byte that cannot be Foo, with
// what was wanted there.
func (s *Scanner) scanLines(b []byte, at int, p *pass) (int, Want) {
	near := nearMost
	for at < len(b) {
		if s.state != stRequests && s.state != stAnswers {
			var want Want
			if at, want = s.partLine(b, at, p); want != WantNone {
				return at, want
			}
			continue
		}
		n, state := line(s.dir, b[at:], near)
		switch {
		case state == stEnd:
			nak := nakOf(b[at])
			at += n
			p.end(at, nak)
			// The next line is likely to be as long as this one.
			near = nearMost
			if n > nearMost+16 {
				near = 0
			}
		case state != stBad:
			if n > 0 {
				s.nak = nakOf(b[at])
			}
			s.state = state
			return at + n, wants[state]
		default: // b ends in this line
			return s.partLine(b, at, p)
		}
	}
	return at, WantNone
}

// nakOf is 1 if a type begins with c and is NAK: of A, N and R only N has bit 2
// set.
func nakOf(c byte) uint8 { return c >> 2 & 1 }

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' }
func isDigit(c byte) bool { return c-'0' < 10 }

// typeWords are the types of each direction as little-endian words.
var typeWords = [2][2]uint64{
	Requests: {'R' | 'E'<<8 | 'Q'<<16, 'R' | 'E'<<8 | 'Q'<<16},
	Answers:  {'A' | 'C'<<8 | 'K'<<16, 'N' | 'A'<<8 | 'K'<<16},
}

// line judges the line that b begins with. It returns stEnd and the line's
// length with LF; or the offset of the first bad byte and the state before it;
// or stBad if b ends before either. near is for data.
func line(dir Dir, b []byte, near int) (n int, state uint8) {
	if len(b) < least {
		return 0, stBad
	}
	w := uint64(binary.LittleEndian.Uint32(b) & 0xffffff)
	// No branch between ACK and NAK, which come in no order.
	if t := &typeWords[dir&1]; (w^t[0])*(w^t[1]) != 0 {
		return badType(dir, b)
	}
	i := 5
	if b[3] != ' ' || !isDigit(b[4]) {
		if i, state = firstDigit(b); state != stDigit {
			return i, state
		}
	}
	for i < len(b) && isDigit(b[i]) {
		i++
	}
	switch {
	case i == len(b):
		return 0, stBad
	case b[i] == '\n':
		return i + 1, stEnd
	case !isSpace(b[i]):
		return i, stDigit
	}
	i++
	n, state = data(b[i:], near)
	return i + n, state
}

// firstDigit goes from the end of the type to just after Seq's first digit, and
// returns stDigit; or what line returns.
func firstDigit(b []byte) (n int, state uint8) {
	n, state = 3, stType
	for n < len(b) && isSpace(b[n]) {
		n, state = n+1, stSpace
	}
	if n < len(b) && n > 3 && b[n] == '-' {
		n, state = n+1, stMinus
	}
	switch {
	case n == len(b):
		return 0, stBad
	case n == 3 || !isDigit(b[n]):
		return n, state
	}
	return n + 1, stDigit
}

// badType returns the offset of the first byte of b that does not continue a
// type, and the state before it. b has at least three bytes.
func badType(dir Dir, b []byte) (n int, state uint8) {
	for state = startOf(dir); next[state][b[n]] != stBad; n++ {
		state = next[state][b[n]]
	}
	return n, state
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
	// least is the length of the shortest message, "REQ 1" and LF.
	least = 6
	// nearMost is how far data looks for the LF by itself before it hands over
	// to the library, whose call costs more and whose loop runs faster.
	nearMost = 24
	// short is the length from which the rest of a line is worth more than the
	// automaton.
	short = 12
)

// data judges the Data that b begins with, as line does. It looks for the LF in
// the first near bytes by itself.
func data(b []byte, near int) (n int, state uint8) {
	var seen uint64 // the bytes before at, or'ed
	at, lf := 0, 0
	for {
		if at >= near || at+8 > len(b) {
			if lf = bytes.IndexByte(b[at:], '\n'); lf < 0 {
				return 0, stBad
			}
			lf += at
			break
		}
		w := load(b[at:])
		if found := zeros(w ^ '\n'*ones); found != 0 {
			lf = at + bits.TrailingZeros64(found)/8
			w &= found&-found>>7 - 1 // the bytes before the LF
			if (seen|w)&highs == 0 || at == 0 && mixed(w) == 8 {
				return lf + 1, stEnd
			}
			break
		}
		seen |= w
		at += 8
		if w&highs != 0 {
			near = 0 // text looks at these words again
		}
	}
	if seen&highs != 0 || at > lf {
		at = 0
	}
	if at += text(b[at:], lf-at); at == lf {
		return lf + 1, stEnd
	}
	for state = stData; next[state][b[at]] != stBad; at++ {
		state = next[state][b[at]]
	}
	return at, state
}

// lineFeed returns the offset of the first LF in b, or -1. It saves the library
// call if that LF is near.
func lineFeed(b []byte) int {
	if len(b) >= 8 {
		if found := zeros(load(b) ^ '\n'*ones); found != 0 {
			return bits.TrailingZeros64(found) / 8
		}
	}
	return bytes.IndexByte(b, '\n')
}

// zeros has the top bit of each byte of x that is zero, and no other bit.
func zeros(x uint64) uint64 { return ^(x&^highs + ^uint64(highs) | x) & highs }

// partLine takes the current line from b[at] on as far as it goes: to its LF,
// to the end of b, or to the first bad byte, with what was wanted there.
func (s *Scanner) partLine(b []byte, at int, p *pass) (int, Want) {
	state := s.state
	for at < len(b) {
		if state == stData && len(b)-at >= short {
			n := bytes.IndexByte(b[at:], '\n')
			if n < 0 {
				n = len(b) - at
			}
			if at += text(b[at:], n); at == len(b) {
				break
			}
		}
		c := b[at]
		to := next[state][c]
		switch {
		case to == stBad:
			s.state = state
			return at, wants[state]
		case to == stEnd:
			at++
			p.end(at, s.nak)
			s.state = s.start()
			return at, WantNone
		case state == stAnswers:
			s.nak = nakOf(c)
		}
		state = to
		at++
	}
	s.state = state
	return at, WantNone
}
