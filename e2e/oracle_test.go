package e2e

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// The oracle of the wire format, as plainly as can be: the grammar of PROTOCOL.md as a regular expression over one line.
var grammar = map[byte]*regexp.Regexp{
	'c': regexp.MustCompile(`^REQ[ \t\r]+-?[0-9]+([ \t\r](?s:.*))?$`),
	's': regexp.MustCompile(`^(ACK|NAK)[ \t\r]+-?[0-9]+([ \t\r](?s:.*))?$`),
}

// valid reports whether line, without its LF, is a message that the client ('c') or the server ('s') may send.
func valid(from byte, line string) bool {
	return utf8.ValidString(line) && grammar[from].MatchString(line)
}

// tally counts the complete lines of valid streams by their first three bytes, as the counters should stand.
func tally(streams ...[]byte) stats {
	s := stats{"msg_total": 0, "msg_req": 0, "msg_ack": 0, "msg_nak": 0}
	for _, b := range streams {
		lines := bytes.Split(b, []byte("\n"))
		for _, line := range lines[:len(lines)-1] {
			s["msg_total"]++
			s["msg_"+strings.ToLower(string(line[:3]))]++
		}
	}
	return s
}

// record is one line of the proxy's log.
type record struct {
	kind string
	f    map[string]string
	text string
}

// shapes of PROTOCOL.md's log lines, to their ends: nothing of a message's Data is in them.
const (
	stamp  = `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z `
	client = ` conn=\d+ client=(\S+:\d+|unix)`
)

var (
	shapes = map[string]*regexp.Regexp{
		"REQ": regexp.MustCompile(stamp + `REQ` + client + ` seq=(-?\d+|big) len=\d+ (res=(ACK|NAK) rlen=\d+ lat_us=\d+|res=- rlen=- lat_us=-)$`),
		"RES": regexp.MustCompile(stamp + `RES` + client + ` res=(ACK|NAK) seq=(-?\d+|big) rlen=\d+$`),
		"CONN": regexp.MustCompile(stamp + `CONN` + client + ` server=\S+ class=[a-z]+ dur_ms=\d+ req=\d+ ack=\d+ nak=\d+ open=\d+` +
			` in=\d+ out=\d+ end=[a-z-]+$`),
		"BAD": regexp.MustCompile(stamp + `BAD` + client + ` dir=(request|response) line=\d+ off=\d+ want=[a-z0-9-]+ got="([^"\\]|\\.)*"$`),
	}
	field = regexp.MustCompile(`([a-z_]+)=("(?:[^"\\]|\\.)*"|\S*)`)
)

// parseLog reads a log and wants every line in shape.
func parseLog(t testing.TB, text string) (records []record) {
	t.Helper()
	if text != "" && !strings.HasSuffix(text, "\n") {
		t.Errorf("the log's last line is cut: %q", text[strings.LastIndexByte(text, '\n')+1:])
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		words := strings.SplitN(line, " ", 3)
		if len(words) < 3 || shapes[words[1]] == nil || !shapes[words[1]].MatchString(line) {
			t.Errorf("log line out of shape: %q", line)
			continue
		}
		r := record{words[1], map[string]string{}, line}
		for _, m := range field.FindAllStringSubmatch(words[2], -1) {
			if _, twice := r.f[m[1]]; !twice {
				r.f[m[1]] = m[2]
			}
		}
		records = append(records, r)
	}
	return records
}

// recount derives the counters from a complete log: once from its REQ and RES lines, once from its CONN lines, which must
// agree.
func recount(t testing.TB, records []record) stats {
	t.Helper()
	s := stats{"msg_total": 0, "msg_req": 0, "msg_ack": 0, "msg_nak": 0, "bad": 0}
	perConn := stats{"msg_req": 0, "msg_ack": 0, "msg_nak": 0}
	for _, r := range records {
		switch r.kind {
		case "REQ":
			s["msg_req"]++
		case "BAD":
			s["bad"]++
		case "CONN":
			perConn["msg_req"] += r.number(t, "req")
			perConn["msg_ack"] += r.number(t, "ack")
			perConn["msg_nak"] += r.number(t, "nak")
		}
		switch r.f["res"] {
		case "ACK":
			s["msg_ack"]++
		case "NAK":
			s["msg_nak"]++
		}
	}
	s["msg_total"] = s["msg_req"] + s["msg_ack"] + s["msg_nak"]
	for name, n := range perConn {
		if n != s[name] {
			t.Errorf("%s: %v by the CONN lines of the log, %v by its other lines", name, n, s[name])
		}
	}
	return s
}

func (r record) number(t testing.TB, name string) float64 {
	t.Helper()
	n, err := strconv.ParseFloat(r.f[name], 64)
	if err != nil {
		t.Errorf("%s in %q: %v", name, r.text, err)
	}
	return n
}

// of is the records of one kind.
func of(records []record, kind string) (some []record) {
	for _, r := range records {
		if r.kind == kind {
			some = append(some, r)
		}
	}
	return some
}
