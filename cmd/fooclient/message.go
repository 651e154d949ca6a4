package main

import (
	"bytes"
	"errors"
	"math"
	"strconv"
	"unicode/utf8"

	"fooproxy/codec"
)

// A composer makes messages of lines of text: what is Foo goes as it is, other text becomes the Data of the next request.
type composer struct {
	next int64 // Seq of the next request
}

// errText says why a line cannot be sent.
var errText = errors.New("is not UTF-8, or holds a line end")

// append adds the message that line, which has no LF, stands for; a blank line stands for none. m is that message's head; its
// Type is 0 if there is none.
func (c *composer) append(dst, line []byte) (out []byte, m codec.Message, err error) {
	if m, _, err = codec.Parse(line); err == nil {
		if m.Fits && m.Type == codec.REQ && m.Seq >= c.next && m.Seq < math.MaxInt64 {
			c.next = m.Seq + 1
		}
		dst = append(dst, line...)
		return append(dst, '\n'), m, nil
	}
	if len(bytes.TrimSpace(line)) == 0 {
		return dst, codec.Message{}, nil
	}
	if !utf8.Valid(line) || bytes.IndexByte(line, '\n') >= 0 {
		return dst, codec.Message{}, errText
	}
	m = codec.Message{Type: codec.REQ, Seq: c.next, Fits: true}
	c.next++
	dst = append(dst, "REQ "...)
	dst = strconv.AppendInt(dst, m.Seq, 10)
	dst = append(dst, ' ')
	dst = append(dst, line...)
	return append(dst, '\n'), m, nil
}
