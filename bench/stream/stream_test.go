package stream

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"fooproxy/bench/load"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pump carries the stream from one side of a relayed connection to the other. A test's own spoils it.
type pump func(to, from net.Conn, fromUpstream bool)

// relay is a target in this process. It ends with the test.
type relay struct {
	network, listen, forward string
	pump                     pump
}

// copyAll is what a right target does: every byte, then the end.
func copyAll(to, from net.Conn, _ bool) {
	_, _ = io.Copy(to, from)
	_ = to.(interface{ CloseWrite() error }).CloseWrite()
}

func startRelay(t *testing.T, network string, pump pump) *relay {
	t.Helper()
	r := &relay{network: network, pump: pump}
	address := func() string {
		if network == "tcp" {
			return "127.0.0.1:0"
		}
		dir, err := os.MkdirTemp("", "fb") // t.TempDir can be longer than a socket's path may be
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		return filepath.Join(dir, "s")
	}
	listener, err := net.Listen(network, address())
	if err != nil {
		t.Fatal(err)
	}
	upstream, err := net.Listen(network, address())
	if err != nil {
		t.Fatal(err)
	}
	r.listen, r.forward = listener.Addr().String(), upstream.Addr().String()
	upstream.Close()
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { r.serve(client) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		serving.Wait()
	})
	return r
}

func (r *relay) serve(client net.Conn) {
	defer client.Close()
	upstream, err := net.Dial(r.network, r.forward)
	if err != nil {
		return
	}
	defer upstream.Close()
	var back sync.WaitGroup
	back.Go(func() { r.pump(client, upstream, true) })
	r.pump(upstream, client, false)
	back.Wait()
}

// options are those of a short run through r.
func (r *relay) options() Options {
	prefix := ""
	if r.network == "unix" {
		prefix = "unix:"
	}
	return Options{
		Target: prefix + r.listen, Respond: prefix + r.forward, Conns: 3, Duration: 30 * time.Millisecond, Core: -1, TargetCore: -1,
	}
}

// run runs o on a thread of its own, which Run locks.
func run(ctx context.Context, o Options) (r *load.Result, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		r, err = Run(ctx, o)
	}()
	<-done
	return r, err
}

func TestRightTargets(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		for _, both := range []bool{false, true} {
			var mu sync.Mutex
			carried := map[bool]int64{}
			r := startRelay(t, network, func(to, from net.Conn, fromUpstream bool) {
				n, _ := io.Copy(to, from)
				_ = to.(interface{ CloseWrite() error }).CloseWrite()
				mu.Lock()
				defer mu.Unlock()
				carried[fromUpstream] += n
			})
			o := r.options()
			o.Both, o.PID = both, os.Getpid()
			got, err := run(t.Context(), o)
			if err != nil {
				t.Fatalf("%s, both %v: %v", network, both, err)
			}
			if got.Answers != got.BytesIn/unit || got.Usage == nil || got.Elapsed < o.Duration {
				t.Errorf("%s, both %v: %+v", network, both, got)
			}
			mu.Lock()
			if carried[false] == 0 || (carried[true] > 0) != both {
				t.Errorf("%s, both %v: the target carried %v bytes", network, both, carried)
			}
			mu.Unlock()
		}
	}
}

// Turns add up to the window, and between them everything that was sent has arrived.
func TestTurns(t *testing.T) {
	o := startRelay(t, "tcp", copyAll).options()
	var seen []load.Turn
	o.Turns = func(done *load.Turn) bool {
		if done != nil {
			seen = append(seen, *done)
		}
		return len(seen) < 3
	}
	r, err := run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	var elapsed time.Duration
	for _, turn := range r.Turns {
		elapsed += turn.Elapsed
	}
	if len(seen) != 3 || len(r.Turns) != 3 || elapsed != r.Elapsed {
		t.Errorf("%d turns seen, %d in the result; %v in turns, %v in all", len(seen), len(r.Turns), elapsed, r.Elapsed)
	}
}

// spoil is a pump that carries the first MiB from the client as it is and hands the next piece to do, which returns what
// the upstream gets instead.
func spoil(do func(piece []byte) []byte) pump {
	return func(to, from net.Conn, fromUpstream bool) {
		if fromUpstream {
			copyAll(to, from, true)
			return
		}
		_, _ = io.CopyN(to, from, unit)
		piece := make([]byte, 1000)
		_, _ = io.ReadFull(from, piece)
		_, _ = to.Write(do(piece))
		copyAll(to, from, false)
	}
}

func TestBrokenTargetsAreFound(t *testing.T) {
	defer func(was time.Duration) { patience = was }(patience)
	patience = 200 * time.Millisecond
	var first sync.Once
	var held chan struct{} // until a test is over
	for name, test := range map[string]struct {
		pump pump
		want string
	}{
		"a flipped bit":     {spoil(func(b []byte) []byte { b[500] ^= 1; return b }), "wrong bytes"},
		"a lost byte":       {spoil(func(b []byte) []byte { return append(b[:500], b[501:]...) }), "wrong bytes"},
		"a doubled piece":   {spoil(func(b []byte) []byte { return append(b, b...) }), "wrong bytes"},
		"two pieces change": {spoil(func(b []byte) []byte { return append(b[500:], b[:500]...) }), "wrong bytes"},
		"another's stream": {func(to, from net.Conn, fromUpstream bool) {
			name := make([]byte, headerSize)
			if _, err := io.ReadFull(from, name); err == nil && !fromUpstream {
				first.Do(func() { name[3] ^= 1 })
				_, _ = to.Write(name)
			}
			copyAll(to, from, fromUpstream)
		}, "wrong bytes"},
		"what is no stream": {func(to, from net.Conn, fromUpstream bool) {
			if !fromUpstream {
				_, _ = to.Write([]byte("REQ 1\n"))
			}
			_, _ = io.Copy(io.Discard, from)
		}, "begins with"},
		"a stall": {func(to, from net.Conn, fromUpstream bool) {
			if !fromUpstream {
				_, _ = io.CopyN(to, from, unit)
			}
			<-held
		}, "no byte has moved"},
		"a broken connection": {func(to, from net.Conn, _ bool) {
			_, _ = io.CopyN(to, from, unit)
			_ = from.(*net.TCPConn).SetLinger(0)
			from.Close()
		}, "broke after"},
		"a swallowed end": {func(to, from net.Conn, _ bool) {
			_, _ = io.Copy(to, from)
			<-held
		}, "still open"},
	} {
		t.Run(name, func(t *testing.T) {
			held = make(chan struct{})
			o := startRelay(t, "tcp", test.pump).options()
			r, err := run(t.Context(), o)
			close(held)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("result %+v, error %v, want %q", r, err, test.want)
			}
		})
	}
}

// closedPort is an address where nothing listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestWhatCannotRun(t *testing.T) {
	good := Options{
		Target: closedPort(t), Respond: closedPort(t), Conns: 1, Duration: time.Millisecond, Core: -1, TargetCore: -1,
	}
	for name, test := range map[string]struct {
		change func(o *Options)
		want   string
	}{
		"nobody listens":    {func(*Options) {}, "refused"},
		"no connections":    {func(o *Options) { o.Conns = 0 }, "connections"},
		"no time":           {func(o *Options) { o.Duration = 0 }, "time"},
		"no upstream":       {func(o *Options) { o.Respond = "" }, "upstream"},
		"a foolish address": {func(o *Options) { o.Target = "unix:" }, "address"},
	} {
		o := good
		test.change(&o)
		if r, err := run(t.Context(), o); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: result %+v, error %v, want %q", name, r, err, test.want)
		}
	}
}

func TestInterrupted(t *testing.T) {
	o := startRelay(t, "tcp", copyAll).options()
	o.Duration = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r, err := run(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("result %+v, error %v", r, err)
	}
}

// A process that is gone cannot be measured.
func TestMeasuredProcessGone(t *testing.T) {
	o := startRelay(t, "tcp", copyAll).options()
	o.PID = 1 << 30
	if r, err := run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "gone") {
		t.Errorf("result %+v, error %v", r, err)
	}
}
