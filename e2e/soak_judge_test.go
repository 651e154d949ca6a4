package e2e

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// soakLog reads the proxy's log piece by piece: each rotation takes the file away, and the proxy makes another.
type soakLog struct {
	path    string
	pieces  int
	old     string // the piece that the proxy may still be ending
	seen    int
	conns   int   // CONN lines
	lines   stats // counted again from REQ, RES and BAD lines
	perConn stats // the same from CONN lines

	strangers []*record // CONN lines without an address

	exact, bounded    int // talks judged
	badLeast, badMost int // bad lines by what the ends did
}

// rotate moves the log away, makes the proxy open another, and reads the piece before: nothing is written to that any more.
func (l *soakLog) rotate(s *soak) {
	s.t.Helper()
	if l.lines == nil {
		l.lines = stats{"msg_req": 0, "msg_ack": 0, "msg_nak": 0, "bad": 0}
		l.perConn = stats{"msg_req": 0, "msg_ack": 0, "msg_nak": 0}
	}
	l.pieces++
	piece := fmt.Sprintf("%s.%d", l.path, l.pieces)
	ok(s.t, os.Rename(l.path, piece))
	s.p.signal(syscall.SIGHUP)
	eventually(s.t, "the proxy has opened a new log", func() bool {
		_, err := os.Stat(l.path)
		return err == nil
	})
	if l.old != "" {
		text := readFile(s.t, l.old)
		ok(s.t, os.Remove(l.old))
		l.read(s, text)
		s.judge(false)
	}
	l.old = piece
}

// read counts one piece of the log, which holds whole lines.
func (l *soakLog) read(s *soak, text string) {
	if text != "" && !strings.HasSuffix(text, "\n") {
		s.note(fmt.Errorf("a piece of the log ends with %q", text[strings.LastIndexByte(text, '\n')+1:]))
	}
	for line := range strings.Lines(text) {
		kind, rest, _ := strings.Cut(line[min(len("2026-01-02T03:04:05.123456Z "), len(line)-1):], " ")
		l.seen++
		known := strings.Replace(line[:len(line)-1], " class=- ", " class=none ", 1) // too few bytes came to tell
		if shape := shapes[kind]; shape == nil || (kind != "REQ" || l.seen%50 == 0) && !shape.MatchString(known) {
			s.note(fmt.Errorf("log line out of shape: %q", line))
			continue
		}
		switch {
		case strings.Contains(rest, " res=ACK "):
			l.lines["msg_ack"]++
		case strings.Contains(rest, " res=NAK "):
			l.lines["msg_nak"]++
		}
		switch kind {
		case "REQ":
			l.lines["msg_req"]++
		case "BAD":
			l.lines["bad"]++
		case "CONN":
			l.conns++
			l.connection(s, &record{kind, fields(rest), line})
		}
	}
}

// fields splits the words of a line whose values hold no blanks.
func fields(rest string) map[string]string {
	f := map[string]string{}
	for word := range strings.FieldsSeq(rest) {
		name, value, _ := strings.Cut(word, "=")
		f[name] = value
	}
	return f
}

// connection gives a CONN line to the talk that it is about.
func (l *soakLog) connection(s *soak, r *record) {
	l.perConn["msg_req"] += r.number(s.t, "req")
	l.perConn["msg_ack"] += r.number(s.t, "ack")
	l.perConn["msg_nak"] += r.number(s.t, "nak")
	if strings.HasPrefix(r.f["client"], "127.0.") { // the canary's
		return
	}
	if !strings.HasPrefix(r.f["client"], "127.") { // io_uring's accept tells no address, and a socket that was reset has none
		l.strangers = append(l.strangers, r)
		return
	}
	var b [3]int
	_, err := fmt.Sscanf(r.f["client"], "127.%d.%d.%d:", &b[0], &b[1], &b[2])
	s.mu.Lock()
	t := s.talks[(b[0]-1)<<16|b[1]<<8|b[2]]
	s.mu.Unlock()
	if err != nil || t == nil || t.logged != nil {
		s.note(fmt.Errorf("no client knows of %q", r.text))
		return
	}
	t.logged = r
}

// judge looks at the talks that are over on all sides; in the end at all of them.
func (s *soak) judge(final bool) {
	var over []*talk
	s.mu.Lock()
	for id, t := range s.talks {
		if final || t.atClient.done && t.atServer.done && t.logged != nil {
			over = append(over, t)
			delete(s.talks, id)
		}
	}
	s.mu.Unlock()
	var unnamed []*talk
	for _, t := range over {
		if t.logged == nil {
			unnamed = append(unnamed, t)
			continue
		}
		s.wrap(t, errors.Join(t.judgeBytes(), t.judgeEnds(), t.judgeCounts()))
		if t.quits() || t.atServer.did && t.server == serverReset {
			s.log.bounded++
		} else {
			s.log.exact++
		}
		if t.client == clientBad || t.atServer.did && t.server == serverBad {
			s.log.badMost++
			if !t.quits() {
				s.log.badLeast++
			}
		}
	}
	if final {
		s.judgeStrangers(unnamed)
	}
}

// judgeStrangers compares the CONN lines without an address with the talks that have none, all together: which belongs to which
// is not known. They are of clients that reset their connection at once.
func (s *soak) judgeStrangers(talks []*talk) {
	if len(talks) != len(s.log.strangers) {
		s.note(fmt.Errorf("%d CONN lines without an address, %d talks without a CONN line", len(s.log.strangers), len(talks)))
	}
	for _, name := range []string{"req", "ack", "nak", "in"} {
		var sum, least, most int64
		for _, t := range talks {
			if !t.quits() {
				s.wrap(t, errors.New("has no CONN line in the log"))
			}
			b := t.bounds()[name]
			least, most = least+b.least, most+b.most
		}
		for _, r := range s.log.strangers {
			sum += int64(r.number(s.t, name))
		}
		if sum < least || sum > most {
			s.note(fmt.Errorf("%d CONN lines without an address have %s=%d in all, the ends %d to %d", len(s.log.strangers), name, sum, least, most))
		}
	}
}

// judgeBytes wants streams that nobody cut to be whole. That they are not wrong was seen as they came.
func (t *talk) judgeBytes() (err error) {
	if t.client == clientArbitrary {
		if n := t.atClient.in + t.atServer.in; n > 0 {
			err = fmt.Errorf("%d bytes passed", n)
		}
		return err
	}
	if t.quits() {
		return nil
	}
	if want := length(t.arrives()); t.server != serverReset && t.server != serverBad && t.atServer.in != want {
		err = fmt.Errorf("the server got %d bytes of %d", t.atServer.in, want)
	}
	if want := length(t.returns()); t.server != serverReset && t.atClient.in != want {
		err = errors.Join(err, fmt.Errorf("the client got %d bytes of %d", t.atClient.in, want))
	}
	return err
}

func length(r io.Reader) int64 {
	n, _ := io.Copy(io.Discard, r)
	return n
}

// judgeEnds wants FIN to have been relayed as FIN and RST as RST, and the log to know why the talk ended.
func (t *talk) judgeEnds() (err error) {
	c, v := &t.atClient, &t.atServer
	reset := v.did && t.server == serverReset
	switch {
	case t.quits():
	case reset && c.end != rst && !c.broken:
		err = fmt.Errorf("the server's RST came to the client as %s", c.end)
	case !reset && c.end != fin && t.client != clientBad && t.client != clientArbitrary:
		err = fmt.Errorf("the client's stream ended with %s", c.end)
	}
	undisturbed := v.done && (t.server == serverAnswer || t.server == serverStall)
	switch {
	case !undisturbed:
	case (t.client == clientReset || t.client == clientStallReset) && v.end != rst && !v.broken:
		err = errors.Join(err, fmt.Errorf("the client's RST came to the server as %s", v.end))
	case !t.quits() && v.end != fin:
		err = errors.Join(err, fmt.Errorf("the server's stream ended with %s", v.end))
	}
	if cause := t.logged.f["end"]; !t.mayEnd(cause) {
		err = errors.Join(err, fmt.Errorf("the log says that it ended with %s", cause))
	}
	return err
}

// bounds is what the proxy may have counted.
type bounds struct{ least, most int64 }

// bounds says what the log may have of t. What an end has read to the end is what was counted; only an end that left early may
// have missed some of that, which the other has sent.
func (t *talk) bounds() map[string]bounds {
	c, v := &t.atClient, &t.atServer
	req, in := bounds{int64(v.linesIn), int64(v.linesIn)}, bounds{v.in, v.in}
	switch {
	case v.did && t.server == serverReset:
		req.most, in.most = int64(min(c.linesOut, t.n)), c.out
	case !v.done: // it came to less than what names a talk
		in.most = int64(len("REQ 0 c.") + len(strconv.Itoa(t.id)) - 1)
	}
	answersMost, outMost := c.linesIn, c.in
	if t.quits() {
		answersMost, outMost = v.linesOut, v.out+int64(len(t.badLine.line))
	}
	acks, naks := t.split(c.linesIn)
	acksMost, naksMost := t.split(answersMost)
	if t.tunnel {
		req, acks, naks, acksMost, naksMost = bounds{}, 0, 0, 0, 0
	}
	return map[string]bounds{
		"req": req, "in": in, "out": {c.in, outMost},
		"ack": {int64(acks), int64(acksMost)}, "nak": {int64(naks), int64(naksMost)},
	}
}

func (t *talk) judgeCounts() (err error) {
	for name, b := range t.bounds() {
		n, perr := strconv.ParseInt(t.logged.f[name], 10, 64)
		if perr != nil || n < b.least || n > b.most {
			err = errors.Join(err, fmt.Errorf("the log has %s=%d, the ends %d to %d: %s", name, n, b.least, b.most, t.logged.text))
		}
	}
	return err
}
