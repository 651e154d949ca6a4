package e2e

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// Every valid line between long ones, some of whose characters a receive cuts, cut in pieces of all sizes.
func TestLongLinesAmongOthers(t *testing.T) {
	eachWay(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr)
		beside(t, p, u)
		for _, from := range []byte{'c', 's'} {
			var text strings.Builder
			for i, line := range validLines {
				fmt.Fprintf(&text, "%s\n%s %d %s\n", typed(from, line), typeOf[from], i, strings.Repeat("x\u00e9\u20ac\U0001F600"[:1+i%10], 20_000))
			}
			stream := strings.ToValidUTF8(text.String(), "-")
			for _, segment := range []int{1 << 20, 100_003, 40_000} {
				c, s := p.pair(u)
				ok(t, c.send([]byte("REQ 0\n")))
				ok(t, s.expectText("REQ 0\n"))
				w, r := sides(from, c, s)
				before := p.stats()
				ok(t, together(
					func() error { return w.sendSegments([]byte(stream), segment) },
					func() error { return r.expectText(stream) },
				))
				p.counts(plus(before, tally([]byte(stream))))
				finish(t, c, s)
			}
		}
		p.counts(stats{"bad": 0})
	})
}

// badAt is a line that goes on for so many bytes before it breaks the grammar.
type badAt struct {
	bytes int
	want  string
}

const longest = 5 << 18 // --max-line of the following tests

var longBad = []badAt{
	{100, "utf-8"},
	{64<<10 - 1, "utf-8"},
	{64 << 10, "utf-8"},
	{256<<10 - 1, "utf-8"},
	{256 << 10, "utf-8"},
	{longest - 1, "utf-8"},
	{longest, "shorter-line"},
}

// line is such a line from a side, and where it breaks.
func (b badAt) line(from byte) (line string, off int) {
	line = typeOf[from] + " 7 "
	line += strings.Repeat("x", b.bytes-len(line))
	if b.want == "utf-8" {
		line += "\xff"
	}
	return line + strings.Repeat("y", 70_000) + "\n", b.bytes
}

// A side breaks the grammar in the middle of long Data: what was valid arrives, to the byte, and then the end; the answer to a
// request before it still comes back, and the violation is told with its place.
func TestViolationInLongData(t *testing.T) {
	eachWay(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		log := filepath.Join(t.TempDir(), "log")
		p := start(t, engine, u.addr, fmt.Sprint("--max-line=", longest), "--log="+log, oneLoop)
		k := beside(t, p, u)
		var told []string
		for i, from := range []byte{'c', 's'} {
			for _, row := range longBad {
				violates(t, p, u, from, row)
				told = append(told, fmt.Sprintf("%s %d %s", []string{"request", "response"}[i], row.bytes, row.want))
			}
		}
		n := float64(len(longBad))
		p.reaches(stats{
			"bad_utf8": 2*n - 2, "bad_shorter_line": 2, "end_violation_request": n, "end_violation_response": n, "connections": 0, "buffered_bytes": 0,
		})
		k.check()
		p.check()
		var logged []string
		for _, r := range of(parseLog(t, readFile(t, log)), "BAD") {
			logged = append(logged, r.f["dir"]+" "+r.f["off"]+" "+r.f["want"])
		}
		if !slices.Equal(logged, told) {
			t.Errorf("the log has %q, want %q", logged, told)
		}
	})
}

// violates has one side of a new connection break the grammar in the middle of long Data.
func violates(t *testing.T, p *proxy, u *upstream, from byte, row badAt) {
	t.Helper()
	c, s := p.longPair(u)
	ok(t, c.send([]byte("REQ 5\n")))
	ok(t, s.expectText("REQ 5\n"))
	line, off := row.line(from)
	w, r := sides(from, c, s)
	err := together(
		func() error { return w.send([]byte(line)) },
		func() error { return errors.Join(r.expectText(line[:off]), r.ends(fin)) },
	)
	if err == nil && from == 'c' {
		err = errors.Join(s.send([]byte("ACK 5 late\n")), c.expectText("ACK 5 late\n"))
	}
	if err == nil {
		err = w.ends(fin)
	}
	if err != nil {
		t.Fatalf("%c, %d bytes into a line: %v", from, row.bytes, err)
	}
	c.Close()
	s.Close()
}

// What comes behind a violation is thrown away, also when nothing follows it: the answer to a client that reads late is still on its
// way when the proxy has closed, and closing with bytes unread would take it back.
func TestViolationInLongDataTakesNoAnswerBack(t *testing.T) {
	eachWay(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr, oneLoop)
		beside(t, p, u)
		c, s := dial(t, p.addr, 4096), u.accept()
		for range 3 {
			ok(t, together(
				func() error { return c.sendAll(requests(1, 1, 1<<20)) },
				func() error { return s.expect(requests(1, 1, 1<<20)) },
			))
		}
		ok(t, s.sendAll(acks(1, 2, 0)))
		ok(t, c.expect(acks(1, 2, 0)))
		line := "REQ 7 " + strings.Repeat("x", 50_000)
		p.signal(syscall.SIGSTOP) // all of it comes at once
		ok(t, c.send([]byte(line+"\xff"+strings.Repeat("y", 50_000))))
		p.signal(syscall.SIGCONT)
		ok(t, s.expectText(line))
		ok(t, s.ends(fin))
		answer := (&messages{typ: "ACK", first: 5, n: 1, size: 100_000}).bytes()
		ok(t, s.send(answer))
		p.reaches(stats{"connections": 0, "end_violation_request": 1})
		ok(t, c.widen())
		ok(t, c.expectBytes(answer))
		ok(t, c.ends(fin))
	})
}

// With --on-violation=forward the line passes as it is, and those behind it are counted.
func TestViolationInLongDataForwarded(t *testing.T) {
	eachWay(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr, "--on-violation=forward", fmt.Sprint("--max-line=", longest))
		beside(t, p, u)
		bad := 0.0
		for _, from := range []byte{'c', 's'} {
			c, s := p.pair(u)
			ok(t, c.send([]byte("REQ 0\n")))
			ok(t, s.expectText("REQ 0\n"))
			before := p.stats()
			var good, text strings.Builder
			for i, row := range longBad {
				line, _ := row.line(from)
				long := fmt.Sprintf("%s %d %s\n", typeOf[from], i, strings.Repeat("z", 300_000))
				fmt.Fprint(&text, long, line, long)
				fmt.Fprint(&good, long, long)
				bad++
			}
			w, r := sides(from, c, s)
			ok(t, together(
				func() error { return w.send([]byte(text.String())) },
				func() error { return r.expectText(text.String()) },
			))
			want := plus(before, tally([]byte(good.String())))
			want["bad"] = bad
			p.counts(want)
			finish(t, c, s)
		}
	})
}

// Requests and answers of all sizes, most of them long, are counted, matched and logged to the byte.
func TestLongLinesAreLogged(t *testing.T) {
	eachWay(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		log := filepath.Join(t.TempDir(), "log")
		p := start(t, engine, u.addr, "--log="+log, "--log-overflow=block", "--track=on")
		const conns, n, size = 4, 30, 400_000
		clients, servers := make([]*peer, conns), make([]*peer, conns)
		for i := range conns {
			clients[i], servers[i] = p.pair(u)
		}
		answers := func(conn int) string { // the later ones first
			all := ""
			for i := range n {
				m := messages{typ: "NAK", conn: conn, first: n - 1 - i, n: 1, size: size, spread: true}
				all += string(m.bytes())
			}
			return all
		}
		var in, out int
		ok(t, forAll(conns, func(i int) error {
			m := func() *messages { return &messages{typ: "REQ", conn: i, n: n, size: size, spread: true} }
			return errors.Join(together(
				func() error { return clients[i].sendAll(m()) },
				func() error { return servers[i].expect(m()) },
			), together(
				func() error { return servers[i].send([]byte(answers(i))) },
				func() error { return clients[i].expectText(answers(i)) },
			))
		}))
		lengths := map[string]int{} // of requests, by connection and Seq
		for i := range conns {
			out += len(answers(i))
			for seq := range n {
				m := messages{typ: "REQ", conn: i, first: seq, n: 1, size: size, spread: true}
				size := len(m.bytes())
				lengths[fmt.Sprint(clients[i].LocalAddr(), " ", seq)] = size
				in += size
			}
			finish(t, clients[i], servers[i])
		}
		p.reaches(stats{
			"msg_req": conns * n, "msg_nak": conns * n, "msg_ack": 0, "latency_count": conns * n, "unmatched": 0, "outstanding": 0,
			"bytes_request": float64(in), "bytes_response": float64(out), "connections": 0,
		})
		counted := p.stats()
		p.check()
		for _, r := range of(parseLog(t, readFile(t, log)), "REQ") {
			want := lengths[r.f["client"]+" "+r.f["seq"]]
			if r.number(t, "len") != float64(want) || r.number(t, "rlen") != float64(want) || r.f["res"] != "NAK" {
				t.Errorf("%q is about a request and an answer of %d bytes", r.text, want)
			}
			delete(lengths, r.f["client"]+" "+r.f["seq"])
		}
		if len(lengths) > 0 {
			t.Errorf("%d requests are not in the log", len(lengths))
		}
		logged, said, code := recounted(t, log)
		agree(t, logged, counted)
		if said != "" || code != 0 {
			t.Errorf("exit code %d:\n%s", code, said)
		}
	})
}
