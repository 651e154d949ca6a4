package accesslog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// The kinds of lines.
const (
	kindReq  = "REQ"
	kindRes  = "RES"
	kindConn = "CONN"
	kindBad  = "BAD"
	kindLog  = "LOG"
)

// record is what recounting needs of a line.
type record struct {
	kind          string
	result        Result
	big           bool // Seq does not fit int64
	class, end    string
	req, ack, nak uint64
	in, out       uint64

	sample, dropped uint64
}

// lineFields are the fields of each kind in their order. Those after "" may be missing.
var lineFields = map[string][]string{
	kindReq:  {"conn", "client", "seq", "len", "res", "rlen", "lat_us", "", "data", "rdata"},
	kindRes:  {"conn", "client", "res", "seq", "rlen", "", "rdata"},
	kindConn: {"conn", "client", "server", "class", "dur_ms", "req", "ack", "nak", "open", "in", "out", "end"},
	kindBad:  {"conn", "client", "dir", "line", "off", "want", "got"},
	kindLog:  {"", "sample", "dropped"},
}

// parse reads a line without its LF. It is strict, so that a line of which a part was lost or overwritten is not taken for
// a whole one.
func (r *record) parse(line []byte) error {
	if len(line) > 0 && line[0] == '{' {
		return r.parseJSON(line)
	}
	stamp, rest, _ := bytes.Cut(line, []byte{' '})
	if !stamped(stamp) {
		return errors.New("no time at its beginning")
	}
	kind, rest, _ := bytes.Cut(rest, []byte{' '})
	fields, known := lineFields[string(kind)]
	if !known {
		return errors.New("none of the kinds of lines")
	}
	r.kind = string(kind)
	optional := false
	for _, want := range fields {
		if want == "" {
			optional = true
			continue
		}
		value, after, ok := cutField(rest, want)
		if !ok && optional {
			continue
		}
		if !ok {
			return fmt.Errorf("no %s= where it should be", want)
		}
		if err := r.set(want, string(value)); err != nil {
			return err
		}
		rest = after
	}
	if len(rest) > 0 {
		return errors.New("more than a line's fields")
	}
	return nil
}

// stamped says whether b is a time.
func stamped(b []byte) bool {
	if len(b) != len(stampLayout) {
		return false
	}
	for i, c := range b {
		digit, want := c >= '0' && c <= '9', stampLayout[i]
		if digit != (want >= '0' && want <= '9') || !digit && c != want {
			return false
		}
	}
	return true
}

// cutField takes name=value and the blank after it off the beginning of b. A value may be quoted.
func cutField(b []byte, name string) (value, after []byte, ok bool) {
	if len(b) <= len(name) || string(b[:len(name)]) != name || b[len(name)] != '=' {
		return nil, b, false
	}
	b = b[len(name)+1:]
	n := bytes.IndexByte(b, ' ')
	if len(b) > 0 && b[0] == '"' {
		quoted, err := strconv.QuotedPrefix(string(b))
		if err != nil || len(quoted) < len(b) && b[len(quoted)] != ' ' {
			return nil, b, false
		}
		n = len(quoted)
	}
	if n < 0 || n >= len(b) {
		return b, nil, true
	}
	return b[:n], b[n+1:], true
}

// set takes a field's value, checked as far as recounting needs it.
func (r *record) set(name, value string) (err error) {
	switch name {
	case "seq":
		r.big = value == "big"
		if !r.big {
			_, err = strconv.ParseInt(value, 10, 64)
		}
	case "res":
		switch {
		case value == "ACK":
			r.result = ACK
		case value == "NAK":
			r.result = NAK
		case value != "-" || r.kind != kindReq:
			err = fmt.Errorf("res=%.10q is no result", value)
		}
	case "lat_us", "dur_ms":
		if !r.unanswered() || value != "-" {
			_, err = strconv.ParseInt(value, 10, 64)
		}
	case "rlen":
		if !r.unanswered() || value != "-" {
			_, err = strconv.ParseUint(value, 10, 64)
		}
	case "client", "server", "dir", "want", "got", "data", "rdata":
	case "class":
		r.class = value
	case "end":
		r.end = value
		if value == "" {
			err = errors.New("end= says nothing")
		}
	default:
		err = r.setNumber(name, value)
	}
	if errors.Is(err, strconv.ErrSyntax) || errors.Is(err, strconv.ErrRange) {
		return fmt.Errorf("%s=%.20q is no number", name, value)
	}
	return err
}

func (r *record) unanswered() bool { return r.kind == kindReq && r.result == None }

func (r *record) setNumber(name, value string) error {
	n, err := strconv.ParseUint(value, 10, 64)
	switch name {
	case "req":
		r.req = n
	case "ack":
		r.ack = n
	case "nak":
		r.nak = n
	case "in":
		r.in = n
	case "out":
		r.out = n
	case "sample":
		r.sample = n
	case "dropped":
		r.dropped = n
	}
	return err
}

// parseJSON reads a line of a log in JSON; null is a text log's "-".
func (r *record) parseJSON(line []byte) error {
	fields := map[string]any{}
	in := json.NewDecoder(bytes.NewReader(line))
	in.UseNumber()
	if in.Decode(&fields) != nil || in.More() {
		return errors.New("no JSON object")
	}
	text := func(name string) (string, bool) {
		switch v := fields[name].(type) {
		case string:
			return v, true
		case json.Number:
			return v.String(), true
		case nil:
			_, there := fields[name]
			return "-", there
		}
		return "", false
	}
	if stamp, _ := text("time"); !stamped([]byte(stamp)) {
		return errors.New("no time in it")
	}
	kind, _ := text("kind")
	wanted, known := lineFields[kind]
	if !known {
		return errors.New("none of the kinds of lines")
	}
	r.kind = kind
	optional, found := false, 2
	for _, want := range wanted {
		if want == "" {
			optional = true
			continue
		}
		value, ok := text(want)
		if !ok && optional {
			continue
		}
		if !ok {
			return fmt.Errorf("no %q in it", want)
		}
		found++
		if err := r.set(want, value); err != nil {
			return err
		}
	}
	if found != len(fields) {
		return errors.New("more than a line's fields")
	}
	return nil
}
