package codec

import "bytes"

// Parse checks one line of either direction, with or without its LF, and takes
// it apart. data is what comes after the white space that follows Seq, without
// the LF; it shares line's memory. err is nil or a Violation of line 1; when
// line goes on after its LF, the Violation wants a shorter line.
func Parse(line []byte) (m Message, data []byte, err error) {
	dir := Answers
	if len(line) > 0 && line[0] == 'R' {
		dir = Requests
	}
	one := line
	if lf := bytes.IndexByte(line, '\n'); lf >= 0 {
		one = line[:lf+1]
	}
	s := NewScanner(dir, 0)
	var p pass
	at, want := s.scanLines(one, 0, &p)
	switch {
	case want != WantNone:
	case p.lines == 1 && len(one) < len(line):
		want = WantShorterLine
	case p.lines == 0 && s.state != stDigit && s.state != stData:
		want = wants[s.state] // ends too early
	}
	if want != WantNone {
		return Message{}, nil, Violation{Line: 1, Offset: uint64(at), Want: want}
	}
	var h Head
	return h.Line(line), dataOf(line), nil
}

// dataOf returns the Data of a valid line.
func dataOf(line []byte) []byte {
	b := bytes.TrimLeft(line[3:], " \t\r")
	b = bytes.TrimLeft(b, "-0123456789")
	b = bytes.TrimLeft(b, " \t\r")
	return bytes.TrimSuffix(b, []byte("\n"))
}
