package top

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"

	"fooproxy/admin"
)

// sample is what a busy proxy with n loops answers.
func sample(n int) *admin.Stats {
	s := &admin.Stats{
		Engine: "uring", Listen: "[::]:8001", Forward: "127.0.0.1:8000", Uptime: 3725, Version: "test",
		MsgTotal: 30, MsgReq: 16, MsgAck: 10, MsgNak: 4, RequestRate1: 73_123, RequestRate10: 72_900, ResponseRate1: 73_000, ResponseRate10: 999,
		Counters:    map[string]uint64{"unmatched": 3, "bad": 7},
		Connections: admin.Connections{Open: 17, Total: 19, Max: 9980, ByState: map[string]uint64{"open": 16, "closing": 1}, ByClass: map[string]uint64{"foo": 17}},
		Ends:        map[string]uint64{"client-fin": 1, "server-rst": 1, "idle": 0},
		Violations:  admin.Violations{Total: 7, ByReason: map[string]uint64{"seq": 5, "type": 2, "utf-8": 0}},
		Latency:     &admin.Latency{Last1: admin.Quantiles{P99: 410}, Last10: admin.Quantiles{Count: 9, Mean: 200, P50: 182.4, P90: 240, P99: 410, P999: 1234, Max: 2_300_000}},
		Buffers:     admin.Buffers{HeldBytes: 3 << 20, ReadPauses: 2},
		Log:         admin.Log{Enabled: true, Dropped: 11},
		History:     admin.History{RequestRate: []float64{0, 1, 2, 4, 8}, P99: []float64{5, 5}},
	}
	for i := range n {
		s.Loops = append(s.Loops, admin.Loop{Index: i, CPU: i, Busy1: 0.67, Connections: 8, RequestRate1: 36_500, ResponseRate1: 36_500})
	}
	return s
}

func TestRenderSaysEverything(t *testing.T) {
	text := ansi.Strip(Render(sample(2), "q quits", 80, 24))
	for _, want := range []string{
		"fooproxy uring  [::]:8001 → 127.0.0.1:8000  up 1h2m5s",
		"requests/s   73.1k    10 s 72.9k", "▁▂▃▅█", "responses/s  73.0k    10 s 999",
		"latency 10 s p50 182 µs  p90 240 µs  p99 410 µs  p999 1.2 ms  max 2.3 s",
		"messages     30  req 16  ack 10  nak 4  unmatched 3",
		"connections  17 of 9980  open 16  closing 1", "foo 17  total 19", "ended        client-fin 1  server-rst 1\n",
		"violations   7  seq 5  type 2\n", "3.0 MiB held  2 read pauses", "11 dropped",
		"   0    0  █████████████░░░░░░░   67 %       8     36.5k     36.5k       0 B", "   1    1  ", "q quits",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	narrow := ansi.Strip(Render(sample(2), "", 46, 24))
	for _, want := range []string{"latency 10 s p50 182 µs p90 240 µs\n", "p99 410 µs p999 1.2 ms max 2.3 s\n"} {
		if !strings.Contains(narrow, want) {
			t.Errorf("no %q in\n%s", want, narrow)
		}
	}
	s := sample(1)
	s.Latency, s.Log.Enabled, s.Draining, s.Fallback = nil, false, true, "io_uring_setup: EPERM"
	text = ansi.Strip(Render(s, "", 120, 24))
	for _, want := range []string{"not measured", "request log  off", "draining", "no io_uring: io_uring_setup: EPERM"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// Whatever the size, nothing goes over an edge, the note stays, and nothing panics.
func TestRenderFitsEverySize(t *testing.T) {
	for _, n := range []int{0, 1, 2, 64} {
		for _, s := range []*admin.Stats{sample(n), {Latency: &admin.Latency{}}, {}} {
			for width := 0; width < 130; width += 1 + width/20 {
				for height := 0; height < 40; height += 1 + height/10 {
					text := Render(s, "the note", width, height)
					lines := strings.Split(text, "\n")
					if height > 0 && len(lines) > height {
						t.Fatalf("%d×%d: %d lines", width, height, len(lines))
					}
					for _, l := range lines {
						if w := lipgloss.Width(l); w > width {
							t.Fatalf("%d×%d: %d cells in %q", width, height, w, l)
						}
					}
					if width > 10 && height > 0 && !strings.HasSuffix(text, "the note") {
						t.Fatalf("%d×%d: the note is not last in\n%s", width, height, text)
					}
				}
			}
		}
	}
	if text := ansi.Strip(Render(sample(64), "", 80, 24)); !strings.Contains(text, "more loops") {
		t.Errorf("loops are left out and nothing says so:\n%s", text)
	}
}

func TestSparkline(t *testing.T) {
	for _, c := range []struct {
		values []float64
		n      int
		want   string
	}{
		{nil, 5, ""}, {[]float64{0, 0}, 5, "▁▁"}, {[]float64{1, 2, 3, 4}, 2, "▆█"}, {[]float64{1}, -3, ""}, {[]float64{-1, 7}, 2, "▁█"},
	} {
		if got := sparkline(c.values, c.n); got != c.want {
			t.Errorf("sparkline(%v, %d) is %q, want %q", c.values, c.n, got, c.want)
		}
	}
}

func TestAppendOnce(t *testing.T) {
	lines := strings.Split(string(AppendOnce(nil, sample(2))), "\n")
	first := []string{
		"msg_total 30", "msg_req 16", "msg_ack 10", "msg_nak 4",
		"request_rate_1s 73123", "request_rate_10s 72900", "response_rate_1s 73000", "response_rate_10s 999",
	}
	for i, want := range first {
		if lines[i] != want {
			t.Errorf("line %d is %q, want %q", i+1, lines[i], want)
		}
	}
	seen := map[string]bool{}
	for _, l := range lines[:len(lines)-1] {
		name, value, ok := strings.Cut(l, " ")
		if !ok || value == "" || seen[name] {
			t.Errorf("line %q", l)
		}
		seen[name] = true
	}
	for _, name := range []string{"bad", "unmatched", "latency_p99_us_10s", "loop_1_busy_1s", "connections"} {
		if !seen[name] {
			t.Errorf("no %s", name)
		}
	}
}

func serve(t *testing.T, network, address string, handler http.HandlerFunc) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.Server{Listener: l, Config: &http.Server{Handler: handler}}
	server.Start()
	t.Cleanup(server.Close)
	return l
}

func TestSource(t *testing.T) {
	good := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/stats" {
			http.NotFound(w, r)
		}
		_ = json.NewEncoder(w).Encode(sample(2))
	}
	path := filepath.Join(t.TempDir(), "admin")
	serve(t, "unix", path, good)
	tcp := serve(t, "tcp", "127.0.0.1:0", good).Addr().String()
	for _, addr := range []string{tcp, "unix:" + path} {
		if s, err := NewSource(addr).Stats(); err != nil || s.MsgReq != 16 || len(s.Loops) != 2 {
			t.Errorf("%s: %+v, %v", addr, s, err)
		}
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for addr, want := range map[string]string{
		closed.Addr().String(): "nothing listens on 127.0.0.1:",
		"unix:/nowhere/at/all": "nothing listens on unix:/nowhere/at/all",
		serve(t, "tcp", "127.0.0.1:0", http.NotFound).Addr().String(): "is no admin address of fooproxy: it answers 404",
		serve(t, "tcp", "127.0.0.1:0", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "hello")
		}).Addr().String(): "its answer has no figures",
	} {
		if _, err := NewSource(addr).Stats(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want one line with %q", addr, err, want)
		}
	}
}

// screen collects what is drawn.
type screen struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *screen) has(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(ansi.Strip(s.b.String()), text)
}

// The screen follows the proxy, says so when it no longer answers, comes back with it, and ends by q.
func TestLive(t *testing.T) {
	var asked atomic.Int64
	var down atomic.Bool
	l := serve(t, "tcp", "127.0.0.1:0", func(w http.ResponseWriter, _ *http.Request) {
		if down.Load() {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		s := sample(1)
		s.Forward = fmt.Sprintf("round-%d-", asked.Add(1))
		_ = json.NewEncoder(w).Encode(s)
	})
	keys, press := io.Pipe()
	out := new(screen)
	ended := make(chan error, 1)
	go func() {
		ended <- Live(NewSource(l.Addr().String()), 5*time.Millisecond, tea.WithInput(keys), tea.WithOutput(out),
			tea.WithWindowSize(80, 24), tea.WithEnvironment([]string{"TERM=xterm"}))
	}()
	await := func(what string, cond func() bool) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); !cond(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("waited in vain: %s", what)
			}
		}
	}
	await("the first figures", func() bool { return out.has("round-") })
	await("later figures", func() bool { return asked.Load() > 3 })
	down.Store(true)
	await("the failure is shown", func() bool { return out.has("no answer for") })
	down.Store(false)
	before := asked.Load()
	await("it goes on", func() bool { return asked.Load() > before })
	_, _ = press.Write([]byte("q"))
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("q does not quit")
	}
	if err := Live(NewSource("unix:/nowhere"), time.Second); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("no proxy at the start: %v", err)
	}
}
