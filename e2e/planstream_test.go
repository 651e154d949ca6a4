package e2e

import (
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// text is bytes that need not be UTF-8; a file has them quoted.
type text string

func (s text) MarshalText() ([]byte, error) {
	quoted := strconv.QuoteToASCII(string(s))
	return []byte(quoted[1 : len(quoted)-1]), nil
}

func (s *text) UnmarshalText(b []byte) error {
	plain, err := strconv.Unquote(`"` + string(b) + `"`)
	*s = text(plain)
	return err
}

// scriptBad is a line that is no message, where it stands in the stream, and its first byte that cannot be Foo.
type scriptBad struct {
	Side  int  `json:"side"`
	After int  `json:"after"` // messages
	Line  text `json:"line"`
	Off   int  `json:"off"`
	Pad   int  `json:"pad,omitempty"` // bytes of Data more, at its beginning
}

// dataAt is where Data begins in a line that has any and is padded.
const dataAt = len("REQ 1 ")

// line is the whole of it, and where it breaks.
func (b *scriptBad) line() (line string, off int) {
	if b.Pad == 0 {
		return string(b.Line), b.Off
	}
	return string(b.Line[:dataAt]) + strings.Repeat("x", b.Pad) + string(b.Line[dataAt:]), b.Off + b.Pad
}

// late is how the server of a connection that begins amid the faults knows whose it is.
var late = regexp.MustCompile(`late@(\d+)@`)

// opening is what a side says before its messages: what is not Foo, and in the streams of late clients the connection's number.
func (c *scriptConn) opening(conn, side int) string {
	name := fmt.Sprintf("late@%d@", conn)
	switch {
	case c.At == 0 || side == 1:
		return string(c.Raw[side])
	case c.Raw[side] == "":
		return "REQ 0 " + name + "\n"
	}
	return string(c.Raw[side]) + name
}

// stream is all that a side of connection conn has to say.
func (c *scriptConn) stream(conn, side int) io.Reader {
	typ, sizes := []string{"REQ", "ACK"}[side], c.Sizes[side]
	bad, badAt := "", -1
	if c.Bad != nil && c.Bad.Side == side {
		bad, _ = c.Bad.line()
		bad, badAt = bad+"\n", c.Bad.After
	}
	l := &lines{n: len(sizes), buf: []byte(c.opening(conn, side)), line: func(dst []byte, i int) []byte {
		if i == badAt {
			dst = append(dst, bad...)
		}
		return appendMessage(dst, typ, conn, i, sizes[i])
	}}
	if badAt >= len(sizes) {
		l.tail = bad
	}
	if c.Tail && side == 0 {
		l.tail += "REQ 99 unfinished"
	}
	return l
}

// length is about how many bytes a side sends.
func (c *scriptConn) length(side int) (n int) {
	for _, size := range c.Sizes[side] {
		n += size + 8
	}
	return n
}

// violates says whether a side of the connection breaks the grammar.
func (c *scriptConn) violates(side int) bool { return c.Bad != nil && c.Bad.Side == side }

// valid is how many bytes of the violating side's stream come before its first byte that cannot be Foo, and how many lines.
func (c *scriptConn) valid(conn int) (size int64, lines int) {
	opening := c.opening(conn, c.Bad.Side)
	if opening != "" {
		lines = 1
	}
	lines += min(c.Bad.After, len(c.Sizes[c.Bad.Side]))
	_, off := c.Bad.line()
	size = int64(len(opening) + off)
	for i, n := range c.Sizes[c.Bad.Side] {
		if i == c.Bad.After {
			break
		}
		size += int64(len("REQ ") + len(strconv.Itoa(i)) + len(" ") + n + len("\n"))
	}
	return size, lines
}

// messages is how many lines of a side's first n bytes, which hold so many LF, are messages of a Foo connection.
func (c *scriptConn) messages(conn, side int, n, lf int64) int64 {
	if !c.violates(side) {
		return lf
	}
	size, _ := c.valid(conn)
	if line, off := c.Bad.line(); n >= size-int64(off)+int64(len(line)+1) {
		lf--
	}
	return lf
}
