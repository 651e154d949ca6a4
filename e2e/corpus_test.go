package e2e

import (
	"strings"
	"testing"
)

// typeOf is the message type that stands for "T" in the corpus.
var typeOf = map[byte]string{'c': "REQ", 's': "ACK"}

// typed puts the side's type in the place of the corpus line's leading T.
func typed(from byte, line string) string {
	if rest, isT := strings.CutPrefix(line, "T"); isT {
		return typeOf[from] + rest
	}
	return line
}

// validLines are messages without their LF; a leading T stands for the type.
var validLines = []string{
	"T 1", "T 1 ", "T  1\tHey\r", "T\t1", "T\r1\r", "T 1\r", "T \t\r 1 \t\r ", "T 1 REQ 2", "T 1  double  blanks ", "T 1 \tx",
	"T -1", "T -0", "T 0", "T 00000", "T -00012 x",
	"T 9223372036854775807", "T 9223372036854775808", "T -9223372036854775808 x", "T -9223372036854775809 x",
	"T " + strings.Repeat("1234567890", 1000), "T -" + strings.Repeat("0", 9999) + "1 x",
	"T 1 nul \x00 esc \x1b[31m cr \r del \x7f vt \v",
	"T 1 \u00e9\u20ac\U0001F600", "T 1 \u2028\u0085\u00a0", "T 1 \ufeffbom",
	"T 1 \u0080\u07ff\u0800\uffff\U00010000\U0010ffff", "T 1 \ud7ff\ue000", // the bounds of each length and of the surrogates
	"T 1 " + strings.Repeat("x", 300), "T 1 " + strings.Repeat("\U0001F600", 90), "T" + strings.Repeat(" ", 200) + "1",
}

// invalidLine is a line that is no message: line[off] is the first byte that cannot be, where want was expected. An off of
// len(line) means its LF.
type invalidLine struct {
	line string
	off  int
	want string
}

var invalidLines = []invalidLine{
	{"", 0, "type"},
	{" T 1", 0, "type"},
	{"\r", 0, "type"},
	{"\xef\xbb\xbfREQ 1", 0, "type"},
	{"\x00", 0, "type"},
	{"\xff", 0, "type"},
	{"req 1", 0, "type"},
	{"ack 1", 0, "type"},
	{"XYZ 1", 0, "type"},
	{"RXQ 1", 1, "type"},
	{"REX 1", 2, "type"},
	{"R", 1, "type"},
	{"RE", 2, "type"},
	{"T", 3, "space"},
	{"T1", 3, "space"},
	{"TQ 1", 3, "space"},
	{"T\v1", 3, "space"},
	{"T\u00a01", 3, "space"},
	{"T ", 4, "seq"},
	{"T  \t\r", 7, "seq"},
	{"T x", 4, "seq"},
	{"T +1", 4, "seq"},
	{"T -", 5, "seq"},
	{"T - 1", 5, "seq"},
	{"T --1", 5, "seq"},
	{"T .5", 4, "seq"},
	{"T \u0661", 4, "seq"}, // a digit, but not an ASCII one
	{"T 12x", 6, "seq-end"},
	{"T 12-", 6, "seq-end"},
	{"T 1.5", 5, "seq-end"},
	{"T 1\x00", 5, "seq-end"},
	{"T 0x10", 5, "seq-end"},
	{"T -7_", 6, "seq-end"},
	{"T " + strings.Repeat("7", 500) + "a", 504, "seq-end"},
	{"T 1 \xff", 6, "utf-8"},
	{"T 1 \x80", 6, "utf-8"},
	{"T 1 x\xbf", 7, "utf-8"},
	{"T 1 \xc0\x80", 6, "utf-8"}, // overlong
	{"T 1 \xc1\xbf", 6, "utf-8"},
	{"T 1 \xe0\x9f\xbf", 7, "utf-8"},
	{"T 1 \xf0\x8f\xbf\xbf", 7, "utf-8"},
	{"T 1 \xed\xa0\x80", 7, "utf-8"},     // surrogates
	{"T 1 \xf4\x90\x80\x80", 7, "utf-8"}, // beyond U+10FFFF
	{"T 1 \xf5\x80\x80\x80", 6, "utf-8"},
	{"T 1 \xc3", 7, "utf-8"}, // cut by the LF
	{"T 1 \xe2\x82", 8, "utf-8"},
	{"T 1 \xf0\x9f\x98", 9, "utf-8"},
	{"T 1 \xc3x", 7, "utf-8"},
	{"T 1 \xe2\x82x", 8, "utf-8"},
	{"T 1 \xf0\x9f\x98\xc3", 9, "utf-8"},
	{"T 1 " + strings.Repeat("y", 400) + "\xf8", 406, "utf-8"},
}

// wrongSide are lines that only the other side may send.
var wrongSide = map[byte][]invalidLine{
	'c': {{"ACK 1", 0, "type"}, {"NAK 1 no", 0, "type"}},
	's': {{"REQ 1 x", 0, "type"}, {"AXK 1", 1, "type"}, {"NCK 1", 1, "type"}, {"ANK 1", 1, "type"}, {"NAC 1", 2, "type"}, {"A", 1, "type"}},
}

// invalidFor is all the invalid lines for one side, in its own type.
func invalidFor(from byte) (rows []invalidLine) {
	for _, row := range append(invalidLines[:len(invalidLines):len(invalidLines)], wrongSide[from]...) {
		row.line = typed(from, row.line)
		if from == 's' && strings.HasPrefix(row.line, "R") {
			row.off = 0 // the answers' types begin otherwise
		}
		rows = append(rows, row)
	}
	return rows
}

// completions are ways to go on from a prefix of a message; one of them fits if any does.
func completions(from byte) (all []string) {
	for _, typ := range []string{typeOf[from], "NAK"} {
		for i := range typ {
			all = append(all, typ[i:]+" 1")
		}
	}
	return append(all, " 1", "1", "", "\x80", "\x80\x80", "\x80\x80\x80", "\xa0\x80", "\x90\x80\x80")
}

// The corpus says of itself what the independent grammar says: valid lines are; of an invalid line the prefix before off can
// still become a message, and with the byte at off no more.
func TestCorpusAgreesWithGrammar(t *testing.T) {
	for _, from := range []byte{'c', 's'} {
		can := func(prefix string) bool {
			for _, c := range completions(from) {
				if valid(from, prefix+c) {
					return true
				}
			}
			return false
		}
		for _, line := range validLines {
			if line = typed(from, line); !valid(from, line) {
				t.Errorf("%c: %q is not valid", from, line)
			}
		}
		for _, row := range invalidFor(from) {
			atLF := row.off == len(row.line)
			if !can(row.line[:row.off]) || atLF && valid(from, row.line) || !atLF && can(row.line[:row.off+1]) {
				t.Errorf("%c: %q does not break at %d", from, row.line, row.off)
			}
		}
	}
}
