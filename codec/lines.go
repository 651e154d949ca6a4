package codec

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"
)

// The line-wise scanner: whole valid lines by a straight run over their parts,
// everything else by the automaton.

// scanLines is scan line by line.
func (s *Scanner) scanLines(b []byte, at int, p *pass) (int, Want) {
	for at < len(b) {
		if s.state == stRequests || s.state == stAnswers {
			if n := s.wholeLine(b[at:]); n > 0 {
				at += n
				p.end(at, nakOf(b[at-n]))
				continue
			}
		}
		var want Want
		if at, want = s.partLine(b, at, p); want != WantNone {
			return at, want
		}
	}
	return at, WantNone
}

// nakOf is 1 if a type that is valid in its direction begins with c and is NAK.
func nakOf(c byte) uint8 {
	if c == 'N' {
		return 1
	}
	return 0
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' }
func isDigit(c byte) bool { return c-'0' < 10 }

// wholeLine returns the length with LF of the valid line that b begins with,
// or 0 if b does not begin with a whole line that is valid.
func (s *Scanner) wholeLine(b []byte) int {
	if len(b) < 6 {
		return 0
	}
	switch w := binary.LittleEndian.Uint32(b) & 0xffffff; {
	case w == 'R'|'E'<<8|'Q'<<16 && s.dir == Requests:
	case w == 'A'|'C'<<8|'K'<<16 && s.dir == Answers:
	case w == 'N'|'A'<<8|'K'<<16 && s.dir == Answers:
	default:
		return 0
	}
	i := 3
	for i < len(b) && isSpace(b[i]) {
		i++
	}
	if i == 3 {
		return 0
	}
	if i < len(b) && b[i] == '-' {
		i++
	}
	digits := i
	for i < len(b) && isDigit(b[i]) {
		i++
	}
	if i == digits || i == len(b) {
		return 0
	}
	if b[i] == '\n' {
		return i + 1
	}
	if !isSpace(b[i]) {
		return 0
	}
	if n := wholeData(b[i+1:]); n > 0 {
		return i + 1 + n
	}
	return 0
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
	// near is how far wholeData looks for the LF by itself before it hands over
	// to the library, whose calls cost more and whose loops run faster.
	near = 64
	// short is the length from which Data is worth two library calls.
	short = 16
)

// wholeData returns the length with LF of the Data that b begins with, or 0 if
// its LF is not in b or it is not UTF-8.
func wholeData(b []byte) int {
	i := 0
	for ; i+8 <= len(b) && i < near; i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		if w&highs != 0 {
			break
		}
		// All bytes are ASCII, so the lowest bit that is set marks the first LF.
		if lf := ((w ^ '\n'*ones) - ones) & highs &^ w; lf != 0 {
			for b[i] != '\n' {
				i++
			}
			return i + 1
		}
	}
	n := bytes.IndexByte(b[i:], '\n')
	if n < 0 || !utf8.Valid(b[i:i+n]) {
		return 0
	}
	return i + n + 1
}

// partLine takes the current line from b[at] on as far as it goes: to its LF,
// to the end of b, or to the first bad byte, with what was wanted there.
func (s *Scanner) partLine(b []byte, at int, p *pass) (int, Want) {
	state := s.state
	for at < len(b) {
		if state == stData && len(b)-at >= short {
			at += plainData(b[at:])
			if at == len(b) {
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

// plainData returns how many bytes at the begin of b are whole UTF-8
// characters of Data before any LF. It may return fewer than there are.
func plainData(b []byte) int {
	if n := bytes.IndexByte(b, '\n'); n >= 0 {
		b = b[:n]
	}
	whole := len(b) - cutRune(b)
	if utf8.Valid(b[:whole]) {
		return whole
	}
	i := 0
	for i < len(b) {
		if b[i] < utf8.RuneSelf {
			i++
			continue
		}
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			break
		}
		i += n
	}
	return i
}

// cutRune returns how many bytes at the end of b, 0 to 3, begin a UTF-8
// sequence that b does not complete.
func cutRune(b []byte) int {
	for n := 1; n <= 3 && n <= len(b); n++ {
		if c := b[len(b)-n]; c >= 0xc0 {
			if utf8.FullRune(b[len(b)-n:]) {
				return 0
			}
			return n
		} else if c < utf8.RuneSelf {
			return 0
		}
	}
	return 0
}
