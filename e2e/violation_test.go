package e2e

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// A client that breaks the grammar: the server gets what was valid and then FIN, its answer to the valid request still comes
// back, and the client is closed.
func TestRequestViolationCloses(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		log := filepath.Join(t.TempDir(), "log")
		p := start(t, engine, u.addr, "--log="+log, "--loops=1") // one loop logs in order
		k := beside(t, p, u)
		rows := invalidFor('c')
		for i, row := range rows {
			for _, segment := range []int{1 << 20, 1} {
				c, s := p.pair(u)
				ok(t, c.send([]byte("REQ 1 valid\n")))
				if segment == 1 {
					ok(t, c.sendSegments([]byte((row.line + "\n")[:row.off+1]), 1))
				} else {
					ok(t, c.send([]byte(row.line+"\nREQ 2 never\n")))
				}
				ok(t, s.expectText("REQ 1 valid\n"+row.line[:row.off]))
				ok(t, s.ends(fin))
				ok(t, s.send([]byte("ACK 1 late\n")))
				ok(t, c.expectText("ACK 1 late\n"))
				s.Close()
				if err := c.ends(fin); err != nil {
					t.Fatalf("%q: %v", row.line, err)
				}
				c.Close()
			}
			p.reaches(stats{"bad": float64(2*i + 2), "end_violation_request": float64(2*i + 2), "connections": 0})
		}
		n := float64(2 * len(rows))
		p.counts(stats{"msg_req": n, "msg_ack": n, "msg_nak": 0})
		p.counts(badParts(rows, 2))
		k.check()
		p.stop()
		checkBad(t, readFile(t, log), "request", rows, 2)
	})
}

// A server that breaks the grammar: the client gets what was valid and then FIN, and the server is closed.
func TestResponseViolationCloses(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		log := filepath.Join(t.TempDir(), "log")
		p := start(t, engine, u.addr, "--log="+log, "--loops=1") // one loop logs in order
		k := beside(t, p, u)
		rows := invalidFor('s')
		for i, row := range rows {
			for _, segment := range []int{1 << 20, 1} {
				c, s := p.pair(u)
				ok(t, c.send([]byte("REQ 1 valid\nREQ 2 valid\n")))
				ok(t, s.expectText("REQ 1 valid\nREQ 2 valid\n"))
				ok(t, s.send([]byte("ACK 1 valid\n")))
				if segment == 1 {
					ok(t, s.sendSegments([]byte((row.line + "\n")[:row.off+1]), 1))
				} else {
					ok(t, s.send([]byte(row.line+"\nACK 2 never\n")))
				}
				ok(t, c.expectText("ACK 1 valid\n"+row.line[:row.off]))
				if err := together(func() error { return c.ends(fin) }, func() error { return s.ends(fin) }); err != nil {
					t.Fatalf("%q: %v", row.line, err)
				}
				c.Close()
				s.Close()
			}
			p.reaches(stats{"bad": float64(2*i + 2), "end_violation_response": float64(2*i + 2), "connections": 0})
		}
		n := float64(2 * len(rows))
		p.counts(stats{"msg_req": 2 * n, "msg_ack": n, "msg_nak": 0})
		p.counts(badParts(rows, 2))
		k.check()
		p.stop()
		checkBad(t, readFile(t, log), "response", rows, 2)
	})
}

// badParts is what the parts of the counter bad should be after each row so many times, by what was wanted.
func badParts(rows []invalidLine, times int) stats {
	parts := stats{"bad_type": 0, "bad_space": 0, "bad_seq": 0, "bad_seq_end": 0, "bad_utf8": 0, "bad_shorter_line": 0}
	for _, row := range rows {
		parts["bad_"+strings.ReplaceAll(strings.ReplaceAll(row.want, "utf-8", "utf8"), "-", "_")] += float64(times)
	}
	return parts
}

// checkBad wants a BAD line for each row, twice, that says whose, where and why.
func checkBad(t *testing.T, text, dir string, rows []invalidLine, line int) {
	t.Helper()
	records := parseLog(t, text)
	bad := of(records, "BAD")
	if len(bad) != 2*len(rows) {
		t.Fatalf("%d BAD lines, want %d", len(bad), 2*len(rows))
	}
	ended := map[string]bool{} // by such a violation: number and client
	for _, r := range of(records, "CONN") {
		ended[r.f["conn"]+" "+r.f["client"]] = r.f["end"] == "violation-"+dir
	}
	for i, r := range bad {
		row := rows[i/2]
		want := fmt.Sprintf("dir=%s line=%d off=%d want=%s", dir, line, row.off, row.want)
		if !strings.Contains(r.text, want) {
			t.Errorf("%q is reported as %q, want %s", row.line, r.text, want)
		}
		if !ended[r.f["conn"]+" "+r.f["client"]] {
			t.Errorf("no connection ended by %q", r.text)
		}
		got, err := strconv.Unquote(r.f["got"])
		first := (row.line + "\n")[row.off]
		if err != nil || got == "" || got[0] != first {
			t.Errorf("the excerpt of %q is %s, want it to begin with %q", row.line, r.f["got"], first)
		}
	}
}

// The connection's first line breaks behind its first four bytes: a violation, not an arbitrary client.
func TestFirstLineViolation(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr)
		for _, row := range []struct{ sent, arrives string }{
			{"REQ x\n", "REQ "}, {"REQ 1x\n", "REQ 1"}, {"REQ\t\n", "REQ\t"}, {"REQ 1 \xff\n", "REQ 1 "},
		} {
			c, s := p.pair(u)
			ok(t, c.send([]byte(row.sent)))
			ok(t, s.expectText(row.arrives))
			ok(t, s.ends(fin))
			s.Close()
			ok(t, c.ends(fin))
			c.Close()
		}
		p.reaches(stats{"bad": 4, "end_violation_request": 4, "end_arbitrary": 0, "msg_total": 0, "class_arbitrary": 0})
	})
}

// Behind its violation the client keeps sending MiBs that nobody wants, while a long answer is still on its way to it.
func TestAnswersOutliveViolation(t *testing.T) {
	eachWay(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr)
		beside(t, p, u)
		c, s := p.pair(u)
		ok(t, c.send([]byte("REQ 1\nREQ 2\nbad\n")))
		ok(t, s.expectText("REQ 1\nREQ 2\n"))
		ok(t, s.ends(fin))
		long := &messages{typ: "NAK", conn: 1, first: 1, n: 2, size: 1 << 20}
		want := *long
		garbage := make(chan struct{})
		go func() {
			defer close(garbage)
			_ = c.sendAll(bytes.NewReader(make([]byte, 8<<20))) // fails once the proxy has closed
		}()
		ok(t, together(
			func() error { return s.sendAll(long) },
			func() error { return c.expect(&want) },
		))
		s.Close()
		ok(t, c.ends(fin, rst))
		c.Close()
		<-garbage
		p.reaches(stats{"msg_req": 2, "msg_nak": 2, "end_violation_request": 1, "connections": 0})
	})
}

// With --on-violation=forward every line passes as it is; the bad ones are counted apart, and the good ones go on counting.
func TestViolationForwarded(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		log := filepath.Join(t.TempDir(), "log")
		p := start(t, engine, u.addr, "--on-violation=forward", "--log="+log)
		k := beside(t, p, u)
		bad := 0
		for _, from := range []byte{'c', 's'} {
			for _, segment := range []int{1 << 20, 1} {
				c, s := p.pair(u)
				ok(t, c.send([]byte("REQ 0\n")))
				ok(t, s.expectText("REQ 0\n"))
				before := p.stats()
				var text, good strings.Builder
				for i, row := range invalidFor(from) {
					line := fmt.Sprintf("%s %d between\n", typeOf[from], i)
					text.WriteString(row.line + "\n" + line)
					good.WriteString(line)
					bad++
				}
				w, r := sides(from, c, s)
				ok(t, together(
					func() error { return w.sendSegments([]byte(text.String()), segment) },
					func() error { return r.expectText(text.String()) },
				))
				want := plus(before, tally([]byte(good.String())))
				want["bad"] = float64(bad)
				p.counts(want)
				finish(t, c, s)
			}
		}
		p.reaches(stats{"end_client_fin": 4, "connections": 0})
		k.check()
		p.stop()
		if n := len(of(parseLog(t, readFile(t, log)), "BAD")); n != bad {
			t.Errorf("%d BAD lines, want %d", n, bad)
		}
	})
}

// --max-line holds to the byte, in both directions.
func TestMaxLine(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr, "--max-line=1000")
		line := func(from byte, size int) string {
			head := typeOf[from] + " 1 "
			return head + strings.Repeat("x", size-len(head)-1) + "\n"
		}
		for _, from := range []byte{'c', 's'} {
			c, s := p.pair(u)
			ok(t, c.send([]byte("REQ 0\n")))
			ok(t, s.expectText("REQ 0\n"))
			w, r := sides(from, c, s)
			ok(t, w.send([]byte(line(from, 1000))))
			ok(t, r.expectText(line(from, 1000)))
			ok(t, w.send([]byte(line(from, 1001))))
			ok(t, r.expectText(line(from, 1001)[:1000]))
			ok(t, r.ends(fin))
			if from == 'c' { // it waits for its answers as long as its server may give some
				s.Close()
			}
			ok(t, w.ends(fin))
			c.Close()
			s.Close()
		}
		p.reaches(stats{"bad": 2, "bad_shorter_line": 2, "end_violation_request": 1, "end_violation_response": 1, "msg_req": 3, "msg_ack": 1})
	})
}
