package e2e

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Answers are matched to requests by Seq, in any order; one that matches none is forwarded and counted as unmatched.
func TestUnmatchedAnswers(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		log := filepath.Join(t.TempDir(), "log")
		p := start(t, engine, u.addr, "--log="+log)
		k := beside(t, p, u)
		c, s := p.pair(u)
		ok(t, s.send([]byte("ACK 5 before any request\n")))
		ok(t, c.expectText("ACK 5 before any request\n"))
		ok(t, c.send([]byte("REQ 1 a\nREQ 2 b\nREQ 3 c\nREQ 4 d\n")))
		ok(t, s.expectText("REQ 1 a\nREQ 2 b\nREQ 3 c\nREQ 4 d\n"))
		const answers = "NAK 3\nACK 1\nACK 1 again\nACK 77 wrong\nNAK -4\nACK 2\n"
		ok(t, s.send([]byte(answers)))
		ok(t, c.expectText(answers))
		p.counts(stats{
			"msg_req": 4, "msg_ack": 5, "msg_nak": 2, "bad": 0, "unmatched": 4, "duplicate": 1,
			"outstanding": 1, "unanswered": 0, "latency_count": 3,
		})
		finish(t, c, s)
		p.reaches(stats{"connections": 0, "outstanding": 0, "unanswered": 1})
		k.check()
		p.stop()
		records := k.without(parseLog(t, readFile(t, log)))
		got := map[string]string{}
		for _, r := range of(records, "REQ") {
			got[r.f["seq"]] = r.f["res"]
		}
		for seq, res := range map[string]string{"1": "ACK", "2": "ACK", "3": "NAK", "4": "-"} {
			if got[seq] != res {
				t.Errorf("request %s is logged with res=%s, want %s", seq, got[seq], res)
			}
		}
		var unmatched []string
		for _, r := range of(records, "RES") {
			unmatched = append(unmatched, r.f["res"]+" "+r.f["seq"])
		}
		if list := strings.Join(unmatched, ", "); list != "ACK 5, ACK 1, ACK 77, NAK -4" {
			t.Errorf("unmatched answers are logged as %s", list)
		}
	})
}

// Without a log, answers are matched only when asked for; then the latency is what the server took.
func TestTrack(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		const slow = 50 * time.Millisecond
		for _, flags := range [][]string{nil, {"--track=off"}, {"--track=on"}} {
			p := start(t, engine, u.addr, flags...)
			c, s := p.pair(u)
			ok(t, c.send([]byte("REQ 1\nREQ 2\n")))
			ok(t, s.expectText("REQ 1\nREQ 2\n"))
			ok(t, s.send([]byte("ACK 1\n")))
			ok(t, c.expectText("ACK 1\n"))
			time.Sleep(slow) // the time that is measured
			ok(t, s.send([]byte("NAK 2\nNAK 2\n")))
			ok(t, c.expectText("NAK 2\nNAK 2\n"))
			got := p.stats()
			if _, tracked := got["latency_count"]; tracked != (len(flags) > 0 && flags[0] == "--track=on") {
				t.Errorf("%v: latency is measured: %v", flags, tracked)
			} else if tracked {
				if got["latency_count"] != 2 || got["duplicate"] != 1 {
					t.Errorf("%v latencies, %v duplicates, want 2 and 1", got["latency_count"], got["duplicate"])
				}
				if us := float64(slow.Microseconds()); got["latency_max_us"] < us || got["latency_p50_us"] >= got["latency_max_us"] {
					t.Errorf("latencies up to %v µs, half of them up to %v; one is %v", got["latency_max_us"], got["latency_p50_us"], us)
				}
			} else if got["unmatched"] != 0 {
				t.Errorf("%v: %v answers are unmatched", flags, got["unmatched"])
			}
			finish(t, c, s)
		}
	})
}

// The same Seq twice without an answer between: two requests and two answers.
func TestSameSeqTwice(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		log := filepath.Join(t.TempDir(), "log")
		p := start(t, engine, u.addr, "--log="+log)
		k := beside(t, p, u)
		c, s := p.pair(u)
		ok(t, c.send([]byte("REQ 7 a\nREQ 7 b\n")))
		ok(t, s.expectText("REQ 7 a\nREQ 7 b\n"))
		ok(t, s.send([]byte("ACK 7\nNAK 7\n")))
		ok(t, c.expectText("ACK 7\nNAK 7\n"))
		finish(t, c, s)
		p.reaches(stats{"connections": 0, "msg_req": 2, "msg_ack": 1, "msg_nak": 1, "unmatched": 0, "unanswered": 0})
		k.check()
		p.stop()
		s2 := recount(t, k.without(parseLog(t, readFile(t, log))))
		if s2["msg_req"] != 2 || s2["msg_ack"] != 1 || s2["msg_nak"] != 1 {
			t.Errorf("recounted from the log: %v", s2)
		}
	})
}

// A Seq belongs to its connection: two connections may use the same numbers at once.
func TestSeqPerConnection(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		log := filepath.Join(t.TempDir(), "log")
		p := start(t, engine, u.addr, "--log="+log)
		beside(t, p, u)
		c1, s1 := p.pair(u)
		c2, s2 := p.pair(u)
		for i, c := range []*peer{c1, c2} {
			ok(t, c.send([]byte("REQ 1\n")))
			ok(t, []*peer{s1, s2}[i].expectText("REQ 1\n"))
		}
		ok(t, s2.send([]byte("NAK 1\n")))
		ok(t, c2.expectText("NAK 1\n"))
		ok(t, s1.send([]byte("ACK 1\n")))
		ok(t, c1.expectText("ACK 1\n"))
		p.counts(stats{"unmatched": 0, "msg_req": 2})
		finish(t, c1, s1)
		finish(t, c2, s2)
	})
}

// A Seq beyond int64 is forwarded and counted, and never matched.
func TestHugeSeq(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		log := filepath.Join(t.TempDir(), "log")
		p := start(t, engine, u.addr, "--log="+log)
		k := beside(t, p, u)
		c, s := p.pair(u)
		const requests = "REQ 9223372036854775807\nREQ 9223372036854775808\nREQ -9223372036854775809\n"
		ok(t, c.send([]byte(requests)))
		ok(t, s.expectText(requests))
		answers := strings.ReplaceAll(requests, "REQ", "ACK")
		ok(t, s.send([]byte(answers)))
		ok(t, c.expectText(answers))
		p.counts(stats{"msg_req": 3, "msg_ack": 3, "bad": 0, "untracked": 4, "unmatched": 0})
		finish(t, c, s)
		p.reaches(stats{"connections": 0})
		k.check()
		p.stop()
		records := k.without(parseLog(t, readFile(t, log)))
		if n := recount(t, records); n["msg_req"] != 3 || n["msg_ack"] != 3 {
			t.Errorf("recounted from the log: %v", n)
		}
		for _, r := range of(records, "REQ") {
			if fits := r.f["seq"] == "9223372036854775807"; fits != (r.f["res"] == "ACK") {
				t.Errorf("matched wrongly: %q", r.text)
			}
		}
	})
}
