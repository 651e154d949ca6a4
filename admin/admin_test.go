package admin

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"fooproxy/proxy"
	"fooproxy/stats"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a proxy that shows the same every time, unless it is alive.
type fake struct {
	mu       sync.Mutex
	alive    atomic.Bool // more requests are answered at every look
	draining bool
	set      *stats.Set
	conns    []proxy.Connection
	broken   []proxy.Violation
}

// hostile is what a peer may send to an operator's screen.
const hostile = "\x1b[2J<script>document.title='owned'</script>\"'\n\xff"

// newFake has two loops with different values in all counters.
func newFake() *fake {
	f := &fake{set: stats.NewSet(2)}
	for i := range 2 {
		f.answer(i)
		var l stats.Local
		for c := range stats.NumCounters {
			l[c] = uint64(c) + 1
		}
		l[stats.Accepted], l[stats.Ended] = 1000, 400
		f.set.Core(i).Publish(&l, stats.Now())
	}
	from := netip.MustParseAddrPort("192.0.2.1:4711")
	f.conns = []proxy.Connection{{ID: 7, Client: from, Class: "foo", State: "open", End: "-", Age: time.Minute, WaitsFor: "answer"}}
	f.broken = []proxy.Violation{{Time: time.Unix(1, 0), Conn: 8, Client: from, Dir: "request", Line: 2, Offset: 3, Want: "seq", Got: []byte(hostile)}}
	return f
}

func (f *fake) Info() proxy.Info {
	return proxy.Info{Engine: "epoll", Fallback: "io_uring_setup: \"EPERM\" <1>", Loops: 2, Listen: "127.0.0.1:1", Start: time.Now()}
}

// answer has a loop answer a thousand requests.
func (f *fake) answer(loop int) {
	h := f.set.Core(loop).EnableLatency()
	for ns := range int64(1000) {
		h.Record(ns * ns)
	}
	h.Publish()
}

func (f *fake) View(v *proxy.View) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.alive.Load() {
		f.answer(0)
	}
	now := stats.Now()
	v.Total, v.Loops, v.Latency = f.set.Snapshot(now), v.Loops[:0], stats.Distribution{}
	for i := range 2 {
		v.Loops = append(v.Loops, proxy.LoopView{Snapshot: f.set.Loop(i, now), CPU: i, Busy: time.Duration(now)})
	}
	f.set.Latency(&v.Latency)
}

func (f *fake) Tracking() bool                                      { return true }
func (f *fake) Draining() bool                                      { return f.draining }
func (f *fake) Connections(context.Context, int) []proxy.Connection { return f.conns }
func (f *fake) Violations(context.Context) []proxy.Violation        { return f.broken }

type fixture struct {
	t      *testing.T
	server *Server
	fake   *fake
	level  slog.LevelVar
	drains int
	client *http.Client
}

// serve runs a Server over a fake until the test's end.
func serve(t *testing.T, addr string) *fixture {
	t.Helper()
	x := &fixture{t: t, fake: newFake(), client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	var err error
	x.server, err = Listen(Options{
		Addr: addr, Version: "v1", Forward: "127.0.0.1:2", MaxConn: 5000, Drain: func() { x.drains++ },
		Level: &x.level, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	x.server.Serve(x.fake)
	t.Cleanup(x.server.Close)
	return x
}

func (x *fixture) do(method, path string, change func(*http.Request)) (code int, body string) {
	x.t.Helper()
	request, err := http.NewRequest(method, x.server.URL()+path, nil)
	if err != nil {
		x.t.Fatal(err)
	}
	if change != nil {
		change(request)
	}
	answer, err := x.client.Do(request)
	if err != nil {
		x.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		x.t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

func (x *fixture) get(path string) string {
	x.t.Helper()
	code, body := x.do(http.MethodGet, path, nil)
	if code != http.StatusOK {
		x.t.Fatalf("%s: %d %s", path, code, body)
	}
	return body
}

func TestMetricsPassTheLinter(t *testing.T) {
	x := serve(t, "127.0.0.1:0")
	problems, err := testutil.GatherAndLint(x.server.registry())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	text := x.get("metrics")
	for _, series := range []string{
		`fooproxy_messages_total{type="REQ"} 2`, `fooproxy_connections{state="connecting"} `,
		`fooproxy_connections_closed_total{reason="client-fin"} `, `fooproxy_protocol_violations_total{reason="seq-end"} `,
		`fooproxy_bytes_total{direction="request"} `, "fooproxy_buffered_bytes ", "fooproxy_read_pauses_total ",
		`fooproxy_engine_info{engine="epoll",fallback_reason="`, `fooproxy_loop_busy_ratio{loop="1"} `,
		"fooproxy_log_dropped_total ", "go_goroutines ", "process_open_fds ", "go_build_info{", "fooproxy_build_info{",
		`fooproxy_request_duration_seconds_bucket{le="+Inf"} 2000`, "fooproxy_request_duration_seconds_count 2000",
	} {
		if !strings.Contains(text, "\n"+series) {
			t.Errorf("no %s in\n%s", series, text)
		}
	}
}

// Whoever adds a counter adds its metric: here are those that are shown as something else.
func TestEveryCounterIsAMetric(t *testing.T) {
	shown := map[stats.Counter]bool{
		stats.Bad: true, stats.Ended: true, stats.Connecting: true, stats.Closing: true, // sums of others, and connections
		stats.OpenFoo: true, stats.OpenArbitrary: true, stats.OpenTunnel: true, // connections_by_class
	}
	for _, f := range families {
		for _, s := range f.series {
			if shown[s.counter] {
				t.Errorf("%v is shown twice", s.counter)
			}
			shown[s.counter] = true
		}
	}
	for c := range stats.NumCounters {
		if !shown[c] {
			t.Errorf("%v is no metric", c)
		}
	}
}

// What /stats says are the figures of SIGUSR1, each under its own name.
func TestStatsHasEveryFigure(t *testing.T) {
	x := serve(t, "127.0.0.1:0")
	var flat map[string]json.RawMessage
	var s Stats
	body := x.get("stats")
	for _, into := range []any{&flat, &s} {
		if err := json.Unmarshal([]byte(body), into); err != nil {
			t.Fatal(err)
		}
	}
	snap := x.fake.set.Snapshot(stats.Now())
	for line := range strings.Lines(string(snap.AppendText(nil))) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		got, known := flat[name]
		if !known {
			n, inCounters := s.Counters[name]
			got, known = json.RawMessage(jsonNumber(n)), inCounters
		}
		if name == "connections" {
			got, known = json.RawMessage(jsonNumber(s.Connections.Open)), true
		}
		if !known || !strings.Contains(name, "rate") && string(got) != value {
			t.Errorf("%s is %s (known: %v), SIGUSR1 says %s", name, got, known, value)
		}
	}
	if s.Latency == nil || s.Latency.Total.Count != 2000 || s.Latency.Total.P50 < 240 || s.Latency.Total.P50 > 260 {
		t.Errorf("latency %+v", s.Latency)
	}
	if len(s.Loops) != 2 || s.Loops[0].Connections != 600 || s.Connections.Open != 1200 {
		t.Errorf("loops %+v, connections %+v", s.Loops, s.Connections)
	}
}

func jsonNumber(n uint64) string {
	b, _ := json.Marshal(n)
	return string(b)
}

// Nothing that a peer sent reaches a client as it is.
func TestPeersTextIsEscaped(t *testing.T) {
	x := serve(t, "127.0.0.1:0")
	for _, path := range []string{"violations", "stats", "connections"} {
		body := x.get(path)
		for i, b := range []byte(strings.TrimSuffix(body, "\n")) {
			if b < ' ' || b > '~' || b == '<' {
				t.Fatalf("%s: byte %#02x at %d of %s", path, b, i, body)
			}
		}
	}
	var list []Violation
	if err := json.Unmarshal([]byte(x.get("violations")), &list); err != nil {
		t.Fatal(err)
	}
	if v := list[0]; v.Got != `"\x1b[2J<script>document.title='owned'</script>\"'\n\xff"` || v.Line != 2 || v.Offset != 3 || v.Want != "seq" {
		t.Errorf("violation %+v", v)
	}
}

func TestReadyUntilDraining(t *testing.T) {
	x := serve(t, "127.0.0.1:0")
	if code, _ := x.do(http.MethodGet, "readyz", nil); code != http.StatusOK {
		t.Errorf("ready: %d", code)
	}
	x.fake.draining = true
	if code, _ := x.do(http.MethodGet, "readyz", nil); code != http.StatusServiceUnavailable {
		t.Errorf("draining: %d", code)
	}
	if code, _ := x.do(http.MethodGet, "healthz", nil); code != http.StatusOK {
		t.Errorf("a draining process is not healthy: %d", code)
	}
}

// Only POST changes anything, and only from no page or from this server's own.
func TestControlIsPosted(t *testing.T) {
	x := serve(t, "127.0.0.1:0")
	foreign := func(r *http.Request) { r.Header.Set("Origin", "http://evil.example") }
	for _, c := range []struct {
		method, path string
		change       func(*http.Request)
		code, drains int
		level        slog.Level
	}{
		{http.MethodGet, "drain", nil, http.StatusMethodNotAllowed, 0, slog.LevelInfo},
		{http.MethodGet, "loglevel?level=debug", nil, http.StatusMethodNotAllowed, 0, slog.LevelInfo},
		{http.MethodPost, "drain", foreign, http.StatusForbidden, 0, slog.LevelInfo},
		{http.MethodPost, "loglevel?level=loud", nil, http.StatusBadRequest, 0, slog.LevelInfo},
		{http.MethodPost, "loglevel?level=debug", nil, http.StatusOK, 0, slog.LevelDebug},
		{http.MethodPost, "drain", nil, http.StatusAccepted, 1, slog.LevelDebug},
		{http.MethodPost, "stats", nil, http.StatusMethodNotAllowed, 1, slog.LevelDebug},
	} {
		if code, body := x.do(c.method, c.path, c.change); code != c.code || x.drains != c.drains || x.level.Level() != c.level {
			t.Errorf("%s %s: %d %q, %d drains, level %v", c.method, c.path, code, body, x.drains, x.level.Level())
		}
	}
}

// A page whose name an attacker's resolver points to this address sees nothing.
func TestForeignHostIsRefused(t *testing.T) {
	x := serve(t, "127.0.0.1:0")
	own, _ := os.Hostname()
	for host, want := range map[string]int{
		"evil.example": http.StatusMisdirectedRequest, "evil.example:8002": http.StatusMisdirectedRequest,
		"127.0.0.1.evil.example": http.StatusMisdirectedRequest,
		"127.0.0.1:8002":         http.StatusOK, "[::1]:8002": http.StatusOK, "localhost": http.StatusOK, "LOCALHOST:8002": http.StatusOK,
		own: http.StatusOK,
	} {
		if code, _ := x.do(http.MethodGet, "stats", func(r *http.Request) { r.Host = host }); code != want {
			t.Errorf("Host %q: %d, want %d", host, code, want)
		}
	}
}

func TestUnixSocketIsPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin")
	dead, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	dead.(*net.UnixListener).SetUnlinkOnClose(false)
	dead.Close()
	t.Run("serves", func(t *testing.T) {
		x := serve(t, "unix:"+path)
		if _, err := Listen(Options{Addr: "unix:" + path}); err == nil || !strings.Contains(err.Error(), "somebody listens") {
			t.Errorf("a second one opens: %v", err)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
		client := &http.Client{Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", path)
			},
		}}
		answer, err := client.Get("http://anything/healthz")
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Fatalf("%v, %v", answer, err)
		}
		answer.Body.Close()
		_ = x
	})
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the socket stays: %v", err)
	}
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(Options{Addr: "unix:" + path}); err == nil {
		t.Error("a file was taken for a dead socket")
	}
}

// More clients than are served at once, all of them silent, do not keep the server from ending.
func TestSilentClientsDoNotHoldTheEnd(t *testing.T) {
	x := serve(t, "127.0.0.1:0")
	for range MaxClients + 5 {
		c, err := net.Dial("tcp", x.server.listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
	}
}
