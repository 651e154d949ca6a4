package proxy

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

// naive is what a stream means to somebody who splits it into lines and reads PROTOCOL's grammar from left to right. It shares
// nothing with the scanner.
type naive struct {
	firstBad int // offset of the first byte that cannot be Foo, -1 = none
	bad      int // lines that break the grammar
	all      naiveCounts
	before   naiveCounts // of the lines that end before firstBad
}

// naiveCounts are valid lines by type.
type naiveCounts struct{ req, ack, nak int }

// readNaively reads the stream of one side; maxLine is in bytes with the LF, 0 = no limit.
func readNaively(d side, stream []byte, maxLine int) naive {
	n := naive{firstBad: -1}
	for at := 0; at < len(stream); {
		line := stream[at:]
		if lf := bytes.IndexByte(line, '\n'); lf >= 0 {
			line = line[:lf+1]
		}
		bad := naiveLine(d, line)
		if maxLine > 0 && len(line) > maxLine && (bad < 0 || bad > maxLine) {
			bad = maxLine
		}
		switch {
		case bad >= 0:
			n.bad++
			if n.firstBad < 0 {
				n.firstBad = at + bad
			}
		case line[len(line)-1] == '\n':
			n.all.count(line[0])
			if n.firstBad < 0 {
				n.before.count(line[0])
			}
		}
		at += len(line)
	}
	return n
}

func (c *naiveCounts) count(letter byte) {
	switch letter {
	case 'R':
		c.req++
	case 'A':
		c.ack++
	default:
		c.nak++
	}
}

// naiveLine returns the offset of the first byte of a line, finished or not, that cannot be Foo, or -1.
func naiveLine(d side, line []byte) int {
	at := 0
	peek := func() int { // the byte at at, or -1 at the end of an unfinished line
		if at == len(line) {
			return -1
		}
		return int(line[at])
	}
	types := [2][]string{{"REQ"}, {"ACK", "NAK"}}[d]
	for ; at < 3; at++ {
		if peek() < 0 {
			return -1
		}
		possible := false
		for _, t := range types {
			possible = possible || strings.HasPrefix(t, string(line[:at+1]))
		}
		if !possible {
			return at
		}
	}
	blank := func() bool { return peek() == ' ' || peek() == '\t' || peek() == '\r' }
	digit := func() bool { return peek() >= '0' && peek() <= '9' }
	many := func(is func() bool) int { // what follows at least one of them: -2 = they are missing, else as peek
		if !is() {
			if peek() < 0 {
				return -1
			}
			return -2
		}
		for is() {
			at++
		}
		return peek()
	}
	switch many(blank) {
	case -1:
		return -1
	case -2:
		return at
	}
	if peek() == '-' {
		at++
	}
	switch many(digit) {
	case -1:
		return -1
	case -2:
		return at
	case '\n':
		return -1
	}
	if !blank() {
		return at
	}
	for at < len(line) {
		rest := line[at:]
		size := 1
		for ; size < len(rest) && !utf8.FullRune(rest[:size]); size++ {
		}
		if !utf8.FullRune(rest[:size]) {
			return -1 // cut within a character
		}
		if r, _ := utf8.DecodeRune(rest[:size]); r == utf8.RuneError && string(rest[:size]) != string(utf8.RuneError) {
			return at + size - 1
		}
		at += size
	}
	return -1
}

// The oracle itself, on lines whose faults are known by hand.
func TestNaiveOracle(t *testing.T) {
	for _, good := range []string{"REQ 1\n", "REQ \t\r-0012 \n", "REQ 1 \xe2\x82\xac\xef\xbf\xbd\x00\n", "", "R", "RE", "REQ", "REQ ", "REQ -", "REQ 1", "REQ 1 \xe2\x82"} {
		if at := naiveLine(client, []byte(good)); at != -1 {
			t.Errorf("%q: bad at %d", good, at)
		}
	}
	for _, b := range badLines {
		if at := naiveLine(client, []byte(b.text)); at != b.at {
			t.Errorf("%q: bad at %d, want %d", b.text, at, b.at)
		}
	}
	got := readNaively(server, []byte("ACK 1\nNAK 2\nREQ 3\nACK 4 too long\nACK 5\n"), 10)
	want := naive{firstBad: 12, bad: 2, all: naiveCounts{0, 2, 1}, before: naiveCounts{0, 1, 1}}
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
