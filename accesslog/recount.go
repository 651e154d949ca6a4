package accesslog

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// Totals is what a log adds up to, over all that was read into it.
type Totals struct {
	Lines         uint64
	Req, Ack, Nak uint64 // by REQ and RES lines
	Unanswered    uint64 // REQ lines without an answer
	Unmatched     uint64 // RES lines whose Seq fits int64: answers whose request was not known
	Untracked     uint64 // RES lines whose Seq does not
	Bad           uint64 // BAD lines
	Malformed     uint64 // lines that are no log's, and a last line without its end
	Dropped       uint64 // lines that the log says it has dropped
	Sample        uint64 // the log says that it has one in so many requests; 0 = all

	Ended   Ended            // sums of the CONN lines
	Classes map[string]Ended // the same by class
	Reasons map[string]uint64
}

// Ended sums connections that have ended.
type Ended struct {
	Connections   uint64
	Req, Ack, Nak uint64
	In, Out       uint64 // bytes
}

func (e *Ended) add(r *record) {
	e.Connections++
	e.Req += r.req
	e.Ack += r.ack
	e.Nak += r.nak
	e.In += r.in
	e.Out += r.out
}

// Messages returns msg_req, msg_ack and msg_nak of the statistics. A sampled log tells them by its CONN lines, which it has
// all of; then those of connections still open are missing.
func (t *Totals) Messages() (req, ack, nak uint64) {
	if t.Sample > 1 {
		return t.Ended.Req, t.Ended.Ack, t.Ended.Nak
	}
	return t.Req, t.Ack, t.Nak
}

// lineLimit bounds a line of any log, whatever its excerpts.
const lineLimit = 64 << 10

// Read adds up one file of a log, text or JSON or lines of both. A REQ line counts one request and, with res=ACK or res=NAK,
// one answer; a RES line counts one answer. Lines that are no log's go to malformed, which may be nil, with their number
// from 1 and what is wrong; the slice is valid during the call. The error is the reader's.
func (t *Totals) Read(r io.Reader, malformed func(number uint64, line []byte, why error)) error {
	in := bufio.NewReaderSize(r, lineLimit)
	for number := uint64(1); ; number++ {
		line, err := in.ReadSlice('\n')
		wrong := error(nil)
		switch {
		case err == nil:
			wrong = t.count(line[:len(line)-1])
		case errors.Is(err, bufio.ErrBufferFull):
			wrong = fmt.Errorf("longer than %d bytes", lineLimit)
		case len(line) > 0:
			wrong = errors.New("its end is missing")
		}
		if err == nil || len(line) > 0 {
			t.Lines++
		}
		if wrong != nil {
			t.Malformed++
			if malformed != nil {
				malformed(number, line, wrong)
			}
		}
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = in.ReadSlice('\n')
		}
		switch err {
		case nil:
		case io.EOF:
			return nil
		default:
			return err
		}
	}
}

func (t *Totals) count(line []byte) error {
	var r record
	if err := r.parse(line); err != nil {
		return err
	}
	switch r.kind {
	case kindConn:
		t.countConn(&r)
		return nil
	case kindBad:
		t.Bad++
		return nil
	case kindLog:
		t.Dropped += r.dropped
		t.Sample = max(t.Sample, r.sample)
		return nil
	case kindReq:
		t.Req++
	case kindRes:
		if r.big {
			t.Untracked++
		} else {
			t.Unmatched++
		}
	}
	switch r.result {
	case ACK:
		t.Ack++
	case NAK:
		t.Nak++
	default:
		t.Unanswered++
	}
	return nil
}

func (t *Totals) countConn(r *record) {
	if t.Classes == nil {
		t.Classes, t.Reasons = map[string]Ended{}, map[string]uint64{}
	}
	t.Ended.add(r)
	class := t.Classes[r.class]
	class.add(r)
	t.Classes[r.class] = class
	t.Reasons[r.end]++
}

// Missing says why these totals need not be those of the proxy that wrote the log, a reason a line; nothing for a complete
// log of a proxy that has ended.
func (t *Totals) Missing() (why []string) {
	say := func(format string, args ...any) { why = append(why, fmt.Sprintf(format, args...)) }
	if t.Malformed > 0 {
		say("%d of %d lines are no log's", t.Malformed, t.Lines)
	}
	if t.Dropped > 0 {
		say("%d lines were dropped, the log was too slow", t.Dropped)
	}
	if t.Sample > 1 {
		say("the log is sampled, one in %d requests: msg_* are those of the %d connections that have ended", t.Sample, t.Ended.Connections)
		return why
	}
	switch e := &t.Ended; {
	case t.Req < e.Req || t.Ack < e.Ack || t.Nak < e.Nak:
		say("lines are missing: the connections had %d requests and %d answers, the log has %d and %d; is it the whole log, with the files moved away?",
			e.Req, e.Ack+e.Nak, t.Req, t.Ack+t.Nak)
	case t.Req > e.Req || t.Ack > e.Ack || t.Nak > e.Nak:
		say("connections had not ended: requests without an answer are in the log once their connection has ended")
	}
	return why
}
