package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	pprof "github.com/google/pprof/profile"
)

var adminAt = regexp.MustCompile(`msg=admin url=(\S+)`)

// fetch is one answer of the admin address, which must be there soon.
func (p *proxy) fetch(method, path string) (code int, body string) {
	p.t.Helper()
	url := adminAt.FindStringSubmatch(p.errors())
	if url == nil {
		p.t.Fatalf("no admin address in\n%s", p.errors())
	}
	request, err := http.NewRequest(method, url[1]+path, nil)
	ok(p.t, err)
	client := &http.Client{Timeout: limit, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(request)
	ok(p.t, err)
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	ok(p.t, err)
	return answer.StatusCode, string(b)
}

// fetchInto reads an answer of the admin address as JSON.
func (p *proxy) fetchInto(path string, into any) {
	p.t.Helper()
	code, body := p.fetch(http.MethodGet, path)
	if code != http.StatusOK {
		p.t.Fatalf("%s: %d %s", path, code, body)
	}
	ok(p.t, json.Unmarshal([]byte(body), into))
}

var sample = regexp.MustCompile(`(?m)^fooproxy_(\w+)(?:\{(.*)\})? (\S+)$`)

// metrics is what /metrics says of the proxy, by name and labels as they stand there.
func (p *proxy) metrics() map[string]float64 {
	p.t.Helper()
	code, body := p.fetch(http.MethodGet, "metrics")
	if code != http.StatusOK {
		p.t.Fatalf("metrics: %d %s", code, body)
	}
	all := map[string]float64{}
	for _, m := range sample.FindAllStringSubmatch(body, -1) {
		v, err := strconv.ParseFloat(m[3], 64)
		ok(p.t, err)
		all[strings.TrimSuffix(m[1]+" "+m[2], " ")] = v
	}
	return all
}

// metricOf is where /metrics has a figure of SIGUSR1 that it shows unchanged.
func metricOf(figure string) string {
	for _, f := range [...]struct{ begin, metric, label string }{
		{"end_", "connections_closed_total", "reason"},
		{"bad_", "protocol_violations_total", "reason"},
		{"class_", "connections_classified_total", "class"},
		{"open_", "connections_by_class", "class"},
		{"bytes_", "bytes_total", "direction"},
	} {
		if rest, found := strings.CutPrefix(figure, f.begin); found {
			return fmt.Sprintf("%s %s=%q", f.metric, f.label, strings.ReplaceAll(strings.ReplaceAll(rest, "_", "-"), "utf8", "utf-8"))
		}
	}
	return map[string]string{
		"msg_req": `messages_total type="REQ"`, "msg_ack": `messages_total type="ACK"`, "msg_nak": `messages_total type="NAK"`,
		"connections_total": "connections_accepted_total", "connecting": `connections state="connecting"`,
		"closing": `connections state="closing"`, "outstanding": "requests_outstanding", "unmatched": "responses_unmatched_total",
		"duplicate": "responses_duplicate_total", "unanswered": "requests_unanswered_total", "untracked": "messages_untracked_total",
		"buffered_bytes": "buffered_bytes", "spliced_bytes": "spliced_bytes_total", "read_pauses": "read_pauses_total", "log_dropped": "log_dropped_total",
		"latency_count": "request_duration_seconds_count",
	}[figure]
}

// SIGUSR1, /stats and /metrics say the same, and what the peers have counted, while connections of several kinds are open.
func TestAdminAgrees(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr, "--admin=127.0.0.1:0", "--loops=2")
		const conns = 20
		want := stats{"unmatched": 0, "duplicate": 0, "outstanding": 0, "bad": 0, "connections": 0, "unanswered": 0}
		for i := range conns {
			c, s := p.pair(u)
			req, ack := requests(i, 30, 10+i).bytes(), reversed(acks(i, 25, 10).bytes(), i%3)
			ok(t, c.send(req))
			ok(t, s.expectBytes(req))
			ok(t, s.send(ack))
			ok(t, c.expectBytes(ack))
			twice := ack[:strings.IndexByte(string(ack), '\n')+1] // matched long before the connection's latest answers
			last := ack[strings.LastIndexByte(string(ack[:len(ack)-1]), '\n')+1:]
			ok(t, s.send(append(append([]byte("ACK 987654321987\n"), twice...), last...)))
			_, _, err := c.next(len("ACK 987654321987\n") + len(twice) + len(last))
			ok(t, err)
			for name, n := range tally(req, ack, []byte("ACK 987654321987\n"), twice, last) {
				want[name] += n
			}
			want["unmatched"] += 3
			want["duplicate"]++
			if i%2 == 0 { // stays open
				want["connections"]++
				want["outstanding"] += 5
				continue
			}
			endSomehow(t, c, s, i/2)
			want["unanswered"] += 5
			if i/2%5 == 4 {
				want["bad"]++
			}
		}
		p.reaches(want)
		usr1 := p.stats()
		var shown struct {
			MsgTotal    float64 `json:"msg_total"`
			MsgReq      float64 `json:"msg_req"`
			MsgAck      float64 `json:"msg_ack"`
			MsgNak      float64 `json:"msg_nak"`
			Counters    stats   `json:"counters"`
			Connections struct{ Open float64 }
			Latency     struct {
				Total struct {
					Count float64
					P99   float64 `json:"p99_us"`
				}
			}
			Loops []struct {
				Accepted, Connections float64
				MsgTotal              float64 `json:"msg_total"`
			}
		}
		p.fetchInto("stats", &shown)
		exposed := p.metrics()
		figures := shown.Counters
		figures["msg_total"], figures["msg_req"], figures["msg_ack"], figures["msg_nak"] = shown.MsgTotal, shown.MsgReq, shown.MsgAck, shown.MsgNak
		figures["connections"], figures["latency_count"], figures["latency_p99_us"] = shown.Connections.Open, shown.Latency.Total.Count, shown.Latency.Total.P99
		compared := 0
		for name, n := range usr1 {
			if v, known := figures[name]; known {
				compared++
				if v != n {
					t.Errorf("%s is %v by SIGUSR1, %v by /stats", name, n, v)
				}
			}
			if at := metricOf(name); at != "" {
				compared++
				if v, known := exposed[at]; !known || v != n {
					t.Errorf("%s is %v by SIGUSR1, %v (known: %v) by /metrics as %s", name, n, v, known, at)
				}
			}
		}
		if compared < 80 {
			t.Errorf("only %d figures were compared", compared)
		}
		if n := want["msg_ack"] + want["msg_nak"] - want["unmatched"]; usr1["latency_count"] != n {
			t.Errorf("%v latencies, %v answers matched", usr1["latency_count"], n)
		}
		sum := stats{}
		for _, l := range shown.Loops {
			sum["accepted"] += l.Accepted
			sum["open"] += l.Connections
			sum["messages"] += l.MsgTotal
		}
		if sum["accepted"] != conns || sum["open"] != want["connections"] || sum["messages"] != want["msg_total"] || len(shown.Loops) != 2 {
			t.Errorf("the loops together: %v", sum)
		}
		p.looksLive(t, int(want["connections"]), int(want["bad"]))
	})
}

// looksLive wants so many connections, each with five requests open, and so many violations, all of one kind.
func (p *proxy) looksLive(t *testing.T, open, bad int) {
	t.Helper()
	var live []struct {
		Outstanding int
		Class       string
		WaitsFor    string `json:"waits_for"`
	}
	p.fetchInto("connections", &live)
	if len(live) != open {
		t.Errorf("%d connections are shown, %d are open", len(live), open)
	}
	for _, c := range live {
		if c.Class != "foo" || c.WaitsFor != "answer" {
			t.Errorf("an open connection is %+v", c)
		}
	}
	var violations []struct {
		Want, Got, Dir string
		Line, Offset   int
	}
	p.fetchInto("violations", &violations)
	if len(violations) != bad {
		t.Errorf("%d violations are shown, %d were made", len(violations), bad)
	}
	for _, v := range violations {
		if v.Want != "type" || v.Dir != "request" || v.Offset != 0 || v.Line != 31 || v.Got != `"\n"` {
			t.Errorf("an empty line is shown as %+v", v)
		}
	}
}

// Every endpoint answers while both loops have all they can do, profiles do not stop the traffic, and their samples say which
// loop they are of.
func TestAdminUnderLoad(t *testing.T) {
	eachEngineAlone(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		u.serve(echo)
		p := start(t, engine, u.addr, "--admin=127.0.0.1:0", "--loops=2")
		const conns = 8
		var stop atomic.Bool
		loads := make(chan error, 1)
		clients := make([]*peer, conns)
		for i := range clients {
			clients[i] = p.dial()
		}
		go func() {
			loads <- forAll(conns, func(i int) error {
				for r := 0; !stop.Load(); r++ {
					m := requests(i+r, 200, 20).bytes()
					if err := clients[i].send(m); err != nil {
						return err
					}
					if err := clients[i].expect(answersTo(m)); err != nil {
						return err
					}
				}
				return clients[i].shutAndClose()
			})
		}()
		for _, path := range []string{
			"", "metrics", "stats", "connections", "violations", "healthz", "readyz", "debug/pprof/heap", "debug/pprof/goroutine", "debug/pprof/mutex",
		} {
			before := p.stats()["msg_total"]
			if code, body := p.fetch(http.MethodGet, path); code != http.StatusOK || body == "" {
				t.Errorf("/%s: %d %.200s", path, code, body)
			}
			eventually(t, "the traffic goes on after "+path, func() bool { return p.stats()["msg_total"] > before })
		}
		code, raw := p.fetch(http.MethodGet, "debug/pprof/profile?seconds=1")
		if code != http.StatusOK {
			t.Fatalf("profile: %d %.200s", code, raw)
		}
		samples, err := pprof.ParseData([]byte(raw))
		ok(t, err)
		seen := map[string]bool{}
		engine = engineOf(engine)
		for _, s := range samples.Sample {
			if len(s.Label["engine"]) == 1 && s.Label["engine"][0] == engine {
				seen[s.Label["loop"][0]] = true
			}
		}
		if !seen["0"] && !seen["1"] {
			t.Errorf("no sample is labelled with engine %s and a loop", engine)
		}
		stop.Store(true)
		ok(t, <-loads)
	})
}

// A drain over HTTP: not ready, no new connections, what is open goes on, and the process ends with it.
func TestAdminDrain(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr, "--admin=127.0.0.1:0")
		c, s := p.pair(u)
		if code, _ := p.fetch(http.MethodGet, "readyz"); code != http.StatusOK {
			t.Errorf("ready: %d", code)
		}
		for range 2 {
			if code, _ := p.fetch(http.MethodPost, "drain"); code != http.StatusAccepted {
				t.Errorf("drain: %d", code)
			}
		}
		eventually(t, "it is not ready", func() bool {
			code, _ := p.fetch(http.MethodGet, "readyz")
			return code == http.StatusServiceUnavailable
		})
		ok(t, c.send([]byte("REQ 1\n")))
		ok(t, s.expectText("REQ 1\n"))
		finish(t, c, s)
		if code := p.exit(); code != 0 {
			t.Errorf("exit code %d", code)
		}
	})
}
