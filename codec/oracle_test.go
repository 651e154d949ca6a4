package codec

import (
	"bytes"
	"regexp"
	"sort"
	"unicode/utf8"
)

// The oracle says what a stream means by splitting it into lines and holding
// every prefix of a line against the grammar as regular expressions. It shares
// nothing with the scanner and is slow.

// event is one thing that happens in a stream: a message ends (typ is set) or
// a line breaks the grammar (bad is set).
type event struct {
	at  int // offset in the stream: just after the LF, or of the bad byte
	typ Type
	bad Violation
}

type oracle struct {
	dir     Dir
	maxLine uint64
	seen    map[string]verdict
}

// verdict is about one line: the bytes of it that can be Foo, and what was
// wanted after them if these are not all.
type verdict struct {
	good int
	want Want
}

func newOracle(dir Dir, maxLine uint64) *oracle {
	if maxLine == 0 {
		return unlimited[dir]
	}
	return freshOracle(dir, maxLine)
}

func freshOracle(dir Dir, maxLine uint64) *oracle {
	return &oracle{dir: dir, maxLine: maxLine, seen: map[string]verdict{}}
}

// unlimited are the oracles without a limit. Most tests use them, so they
// remember their verdicts across tests.
var unlimited = map[Dir]*oracle{
	Requests: freshOracle(Requests, 0),
	Answers:  freshOracle(Answers, 0),
}

// run returns the events of stream, with every line judged by itself, and the
// number and offset of the line that is current at its end.
func (o *oracle) run(stream []byte) (events []event, line, off uint64) {
	at := 0
	for line = 1; ; line++ {
		b := stream[at:]
		lf := bytes.IndexByte(b, '\n')
		if lf >= 0 {
			b = b[:lf+1]
		}
		v := o.judge(b)
		if v.want != WantNone {
			bad := Violation{Line: line, Offset: uint64(v.good), Want: v.want}
			events = append(events, event{at: at + v.good, bad: bad})
		}
		if lf < 0 {
			return events, line, uint64(len(b))
		}
		at += len(b)
		if v.want == WantNone {
			events = append(events, event{at: at, typ: oracleTypes[string(b[:3])]})
		}
	}
}

var oracleTypes = map[string]Type{"REQ": REQ, "ACK": ACK, "NAK": NAK}

func (o *oracle) judge(line []byte) verdict {
	if v, ok := o.seen[string(line)]; ok {
		return v
	}
	// Every prefix of a prefix of Foo is one too, so a binary search finds the
	// first length that is none.
	good := sort.Search(len(line), func(n int) bool { return !o.isPrefix(line[:n+1]) })
	v := verdict{good: good}
	switch {
	case o.maxLine > 0 && uint64(good) >= o.maxLine && uint64(len(line)) > o.maxLine:
		v = verdict{int(o.maxLine), WantShorterLine}
	case good < len(line):
		v.want = o.wantAfter(line[:good])
	}
	o.seen[string(line)] = v
	return v
}

var (
	beforeType  = map[Dir]*regexp.Regexp{Requests: regexp.MustCompile(`^(R|RE|)$`), Answers: regexp.MustCompile(`^(A|AC|N|NA|)$`)}
	wholeType   = map[Dir]*regexp.Regexp{Requests: regexp.MustCompile(`^REQ$`), Answers: regexp.MustCompile(`^(ACK|NAK)$`)}
	beforeSeq   = regexp.MustCompile(`^...[ \t\r]+-?$`)
	insideSeq   = regexp.MustCompile(`^...[ \t\r]+-?[0-9]+$`)
	afterSeq    = regexp.MustCompile(`^...[ \t\r]+-?[0-9]+[ \t\r][^\n]*$`)
	wholeSimple = regexp.MustCompile(`^...[ \t\r]+-?[0-9]+\n$`)
	wholeFull   = regexp.MustCompile(`^...[ \t\r]+-?[0-9]+[ \t\r][^\n]*\n$`)
)

// isPrefix says whether b, the begin of a line, can be continued to a message
// or is one.
func (o *oracle) isPrefix(b []byte) bool {
	if len(b) <= 3 {
		return beforeType[o.dir].Match(b) || wholeType[o.dir].Match(b)
	}
	if !wholeType[o.dir].Match(b[:3]) {
		return false
	}
	// The expressions see a text where each byte is one character.
	flat := make([]byte, len(b))
	for i, c := range b {
		flat[i] = min(c, 0x7e)
	}
	skeleton := false
	for _, r := range []*regexp.Regexp{beforeSeq, insideSeq, afterSeq, wholeSimple, wholeFull} {
		skeleton = skeleton || r.Match(flat)
	}
	return skeleton && utf8Prefix(b)
}

// utf8Prefix says whether b is UTF-8, perhaps cut inside its last character.
func utf8Prefix(b []byte) bool {
	for cut := 0; cut <= 3 && cut <= len(b); cut++ {
		head, tail := b[:len(b)-cut], b[len(b)-cut:]
		if utf8.Valid(head) && (cut == 0 || !utf8.FullRune(tail)) {
			return true
		}
	}
	return false
}

func (o *oracle) wantAfter(b []byte) Want {
	switch {
	case beforeType[o.dir].Match(b):
		return WantType
	case wholeType[o.dir].Match(b):
		return WantSpace
	case beforeSeq.Match(b):
		return WantSeq
	case insideSeq.Match(b):
		return WantSeqEnd
	}
	return WantUTF8
}

// countsOf adds up the messages among events.
func countsOf(events []event) (c Counts) {
	for _, e := range events {
		switch e.typ {
		case REQ:
			c.Req++
		case ACK:
			c.Ack++
		case NAK:
			c.Nak++
		}
	}
	return c
}
