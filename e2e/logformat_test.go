package e2e

import (
	"encoding/json"
	"io"
	"path/filepath"
	"strings"
	"testing"
)

// With --log-format=json every line is one object, and recounts to the same totals.
func TestLogJSON(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		log := filepath.Join(t.TempDir(), "log")
		p := start(t, engine, u.addr, "--log="+log, "--log-format=json", "--on-violation=forward")
		c, s := p.pair(u)
		const req, res = "REQ 1 x\n\x1b\"\\\xff\nREQ 2\n", "NAK 2\nACK 3\n"
		ok(t, c.send([]byte(req)))
		ok(t, s.expectText(req))
		ok(t, s.send([]byte(res)))
		ok(t, c.expectText(res))
		finish(t, c, s)
		p.reaches(stats{"connections": 0, "msg_total": 4, "bad": 1})
		p.stop()
		kinds, results := map[string]int{}, map[string]int{}
		for line := range strings.Lines(readFile(t, log)) {
			var l struct {
				Time, Kind string
				Res        *string
				Got        string
			}
			if err := json.Unmarshal([]byte(line), &l); err != nil || l.Time == "" || strings.Contains(line, `data":`) {
				t.Errorf("%q: %v", line, err)
			}
			kinds[l.Kind]++
			if l.Res != nil {
				results[*l.Res]++
			}
			if l.Kind == "BAD" && !strings.HasPrefix(l.Got, "\x1b") && !strings.HasPrefix(l.Got, `\x1b`) {
				t.Errorf("the excerpt in %q does not begin with the bad byte", line)
			}
		}
		if kinds["REQ"] != 2 || kinds["RES"] != 1 || kinds["BAD"] != 1 || kinds["CONN"] != 1 || results["ACK"] != 1 || results["NAK"] != 1 {
			t.Errorf("lines %v with results %v in\n%s", kinds, results, readFile(t, log))
		}
	})
}

// With --log-overflow=block a reader of the log that is slower than the traffic slows the traffic, and no line is lost.
func TestLogBlocks(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		u.serve(echo)
		r, w := pipe(t)
		p := startWith(t, engine, u.addr, []string{"--log=/dev/fd/3", "--log-overflow=block"}, withFile(w))
		ok(t, w.Close()) // the child has its own
		const conns, rounds, batch = 4, 10, 500
		read := make(chan string, 1)
		go func() {
			var text strings.Builder
			_, _ = io.CopyBuffer(&text, struct{ io.Reader }{r}, make([]byte, 1000)) // many small reads, to the child's end
			read <- text.String()
		}()
		ok(t, forAll(conns, func(i int) error { return rally(p.addr, i, rounds, batch) }))
		p.reaches(stats{"connections": 0, "log_dropped": 0})
		p.stop()
		const total = conns * rounds * batch
		if n := recount(t, parseLog(t, <-read)); n["msg_req"] != total || n["msg_ack"] != total {
			t.Errorf("the log holds %v requests and %v answers of %d", n["msg_req"], n["msg_ack"], total)
		}
	})
}

// With --log-data the log has the beginning of what each message carries, escaped and cut, also where a line came in pieces;
// without it never.
func TestLogData(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		for _, format := range []string{"text", "json"} {
			u := newUpstream(t)
			log := filepath.Join(t.TempDir(), "log")
			p := start(t, engine, u.addr, "--log="+log, "--log-data=8", "--log-format="+format)
			c, s := p.pair(u)
			const req = "REQ 1 hello world\nREQ 2\nREQ   3 \t\x1b[\"\\\u00e9\x00\r\nREQ 4 never answered\n"
			for at, next := 0, 4; at < len(req); at, next = next, next+1 { // "REQ ", then byte by byte
				ok(t, c.send([]byte(req[at:next])))
				ok(t, s.expectText(req[at:next]))
			}
			const res = "NAK 3 no, thanks\nACK 2\nACK 77 who asked?\nACK 1 \r\n"
			ok(t, s.send([]byte(res)))
			ok(t, c.expectText(res))
			finish(t, c, s)
			p.reaches(stats{"connections": 0})
			p.stop()
			text := readFile(t, log)
			wants := []string{
				` data="hello wo" rdata=""`, ` data="" rdata=""`, ` data="\x1b[\"\\\u00e9\x00\r" rdata="no, than"`,
				` data="never an"` + "\n", ` rdata="who aske"` + "\n",
			}
			if format == "json" {
				wants = []string{
					`,"data":"hello wo","rdata":""}`, `,"data":"","rdata":""}`,
					`,"data":"\\x1b[\\\"\\\\\\u00e9\\x00\\r","rdata":"no, than"}`,
					`,"data":"never an"}`, `,"rdata":"who aske"}`,
				}
			}
			for _, want := range wants {
				if strings.Count(text, want) != 1 {
					t.Errorf("%s: not once in the log: %s\n%s", format, want, text)
				}
			}
			totals, said, code := recounted(t, log)
			if code != 0 || totals["msg_req"] != 4 || totals["msg_total"] != 8 || totals["unmatched"] != 1 {
				t.Errorf("%s: recounted with code %d as %v\n%s", format, code, totals, said)
			}
		}
	})
}
