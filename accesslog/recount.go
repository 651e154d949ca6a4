package accesslog

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

// Totals is what a log adds up to. Req, Ack and Nak are msg_req, msg_ack and msg_nak of the statistics.
type Totals struct {
	Req, Ack, Nak uint64
	Unanswered    uint64 // REQ lines without an answer
	Unmatched     uint64 // RES lines: answers whose request was not known
	Bad           uint64 // BAD lines
	Connections   uint64 // CONN lines: connections that have ended
	Skipped       uint64 // lines that are none of these, and a last line without its end
}

// Total returns all messages, msg_total of the statistics.
func (t *Totals) Total() uint64 { return t.Req + t.Ack + t.Nak }

// Recount adds up a log, text or JSON or lines of both. A REQ line counts one request and, with res=ACK or res=NAK, one
// answer; a RES line counts one answer. Lines that are not a log's are counted as Skipped; the error is the reader's.
func Recount(r io.Reader) (Totals, error) {
	var t Totals
	in := bufio.NewReaderSize(r, 64<<10)
	for {
		line, err := in.ReadSlice('\n')
		switch {
		case err == nil:
			t.count(line[:len(line)-1])
			continue
		case errors.Is(err, bufio.ErrBufferFull):
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = in.ReadSlice('\n')
			}
			t.Skipped++
		case len(line) > 0:
			t.Skipped++
		}
		if err == io.EOF {
			return t, nil
		}
		if err != nil {
			return t, err
		}
	}
}

func (t *Totals) count(line []byte) {
	var kind, res []byte
	if len(line) > 0 && line[0] == '{' {
		kind, res = jsonFields(line)
	} else {
		kind, res = textFields(line)
	}
	switch string(kind) {
	case "CONN":
		t.Connections++
		return
	case "BAD":
		t.Bad++
		return
	case "REQ", "RES":
	default:
		t.Skipped++
		return
	}
	switch request := kind[2] == 'Q'; string(res) {
	case "ACK":
		t.Ack++
	case "NAK":
		t.Nak++
	case "-":
		if request {
			t.Unanswered++
			break
		}
		fallthrough
	default:
		t.Skipped++
		return
	}
	if kind[2] == 'Q' {
		t.Req++
	} else {
		t.Unmatched++
	}
}

// textFields returns the second word of a line that begins with a time, and the value of its res= field, if any.
func textFields(line []byte) (kind, res []byte) {
	stamp, rest, ok := bytes.Cut(line, []byte{' '})
	if !ok || len(stamp) < len("2006-01-02T15:04:05.000000Z") || stamp[len(stamp)-1] != 'Z' {
		return nil, nil
	}
	kind, rest, _ = bytes.Cut(rest, []byte{' '})
	for len(rest) > 0 {
		var field []byte
		field, rest, _ = bytes.Cut(rest, []byte{' '})
		if value, ok := bytes.CutPrefix(field, []byte("res=")); ok {
			return kind, value
		}
	}
	return kind, nil
}

func jsonFields(line []byte) (kind, res []byte) {
	var fields struct {
		Kind string  `json:"kind"`
		Res  *string `json:"res"`
	}
	if json.Unmarshal(line, &fields) != nil {
		return nil, nil
	}
	if fields.Res == nil {
		return []byte(fields.Kind), []byte{'-'}
	}
	return []byte(fields.Kind), []byte(*fields.Res)
}
