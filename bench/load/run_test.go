package load

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func unixAddr(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "fb") // t.TempDir can be longer than a socket's path may be
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return "unix:" + filepath.Join(dir, "s")
}

// self is a run whose upstream is the generator itself, without anything between.
func self(t *testing.T) Options {
	t.Helper()
	addr := unixAddr(t)
	return Options{Target: addr, Respond: addr, Conns: 4, Depth: 8, Messages: 5000, Mix: mix(t, "64"), Alone: -1, Timeout: 20 * time.Second}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Every answer of a right target is counted exactly once, whatever the shape of the load.
func TestCountsExactly(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(o *Options)
	}{
		{"plain", func(*Options) {}},
		{"tcp", func(o *Options) { o.Target = freePort(t); o.Respond = o.Target }},
		{"one at a time", func(o *Options) { o.Depth, o.Conns = 1, 1 }},
		{"deep", func(o *Options) { o.Depth = 3000 }},
		{"smallest", func(o *Options) { o.Mix = mix(t, "1") }},
		{"mixed sizes, echoed and compared", func(o *Options) {
			o.Mix, o.Echo, o.Verify = mix(t, "16:5,100:3,4096,4097,70000:0.3"), true, true
		}},
		{"large", func(o *Options) { o.Mix, o.Messages = mix(t, "1048576"), 64 }},
		{"large, echoed and compared", func(o *Options) {
			o.Mix, o.Messages, o.Depth, o.Echo, o.Verify = mix(t, "1048576"), 64, 2, true, true
		}},
		{"threads", func(o *Options) {
			o.Target = freePort(t)
			o.Respond, o.Threads, o.Conns = o.Target, 3, 7
		}},
		{"split", func(o *Options) { o.Split, o.Depth, o.Messages = 20*time.Microsecond, 1, 500 }},
		{"among still ones", func(o *Options) { o.Still = 200 }},
		{"spin", func(o *Options) { o.Spin = true }},
		{"open loop", func(o *Options) { o.Rate, o.Depth, o.Messages = 50000, 0, 2000 }},
		{"open loop, poisson, with a depth", func(o *Options) { o.Rate, o.Poisson, o.Messages = 50000, true, 2000 }},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := self(t)
			test.change(&o)
			r := mustRun(t, o)
			if r.Answers != o.Messages {
				t.Fatalf("%d answers, want %d", r.Answers, o.Messages)
			}
			h := r.Latency()
			if h.Count != int64(o.Messages) || h.Min > h.P50 || h.P50 > h.P99 || h.P99 > h.Max || h.Max == 0 {
				t.Fatalf("%d times of %d answers, or not in order: %v %v %v %v", h.Count, o.Messages, h.Min, h.P50, h.P99, h.Max)
			}
			if r.Unended != 0 {
				t.Fatalf("%d connections were not ended", r.Unended)
			}
			smallest := uint64(len("REQ 0\n"))
			if r.BytesOut < smallest*o.Messages || r.BytesIn < smallest*o.Messages {
				t.Fatalf("%d bytes out, %d in, for %d messages", r.BytesOut, r.BytesIn, o.Messages)
			}
		})
	}
}

func TestChurnMakesAndEndsConnections(t *testing.T) {
	o := self(t)
	o.Target = freePort(t)
	o.Respond, o.Churn, o.Depth, o.Messages = o.Target, 3, 2, 999
	r := mustRun(t, o)
	if r.Answers != 999 {
		t.Fatalf("%d answers", r.Answers)
	}
	// The connections of the last requests may still be ending when the window closes.
	if want := 999/3 - uint64(o.Conns); r.Closed < want {
		t.Fatalf("%d connections were made, used and closed, want at least %d", r.Closed, want)
	}
}

func TestWindowByTime(t *testing.T) {
	o := self(t)
	o.Messages, o.Duration, o.Warmup = 0, 50*time.Millisecond, 10*time.Millisecond
	o.PIDs = []int{os.Getpid()}
	r := mustRun(t, o)
	if r.Elapsed < o.Duration || r.Answers == 0 || r.Service.Count != int64(r.Answers) {
		t.Fatalf("%v, %d answers, %d times", r.Elapsed, r.Answers, r.Service.Count)
	}
	if u := r.Usage; u == nil || u.CPU <= 0 || u.CPUPerMsg <= 0 || u.Resident == 0 || u.Threads == 0 {
		t.Fatalf("usage %+v", u)
	}
}

func TestIdleHoldsConnections(t *testing.T) {
	o := self(t)
	o.Messages, o.Duration, o.Idle, o.Conns, o.Depth = 0, 20*time.Millisecond, true, 100, 1
	r := mustRun(t, o)
	if r.Answers != 0 {
		t.Fatalf("%d answers while the connections should be still", r.Answers)
	}
}

// A server may answer in any order, with NAK, with any white space, in any pieces.
func TestUnusualButRightAnswers(t *testing.T) {
	for _, test := range []struct {
		name   string
		naks   bool
		handle func(p *peer, request []byte)
	}{
		{"nak", true, func(p *peer, request []byte) { p.put("NAK " + string(seqText(request)) + "\n") }},
		{"white space", false, func(p *peer, request []byte) { p.put("ACK \t " + string(seqText(request)) + " \r\n") }},
		{"data", false, func(p *peer, request []byte) {
			p.put("ACK " + string(seqText(request)) + " ACK 12 " + strings.Repeat("é", 300) + "\n")
		}},
		{"byte by byte", false, func(p *peer, request []byte) {
			for _, b := range fmt.Appendf(nil, "ACK %s %s\n", seqText(request), "x\ty") {
				_, _ = p.Write([]byte{b})
			}
		}},
		{"backwards", false, func() func(p *peer, request []byte) {
			held := map[*peer][][]byte{}
			return func(p *peer, request []byte) {
				held[p] = append(held[p], bytes.Clone(request))
				if len(held[p]) == 4 {
					for i := range held[p] {
						p.ack(held[p][3-i])
					}
					delete(held, p)
				}
			}
		}()},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := plain(t, startFake(t, test.handle).addr())
			if test.name == "backwards" {
				o.Conns = 1 // one goroutine of the fake server, so that its map needs no lock
			}
			r := mustRun(t, o)
			if r.Answers != o.Messages || (r.Naks > 0) != test.naks {
				t.Fatalf("%d answers, %d of them NAK", r.Answers, r.Naks)
			}
		})
	}
}

// A stopped run is measured up to there.
func TestStopEndsTheWindow(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var served atomic.Int64
	f := startFake(t, func(p *peer, request []byte) {
		p.ack(request)
		if served.Add(1) == 500 {
			cancel()
		}
	})
	o := plain(t, f.addr())
	o.Messages, o.Duration = 0, time.Hour
	r, err := Run(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Answers == 0 || r.Elapsed >= time.Hour {
		t.Fatalf("%d answers in %v", r.Answers, r.Elapsed)
	}
}

func TestProgressIsReported(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o := self(t)
	o.Messages, o.Duration = 0, time.Hour
	var got Progress
	o.Progress = func(p Progress) {
		if p.Answers > 0 {
			got = p
			cancel()
		}
	}
	if _, err := Run(ctx, o); err != nil {
		t.Fatal(err)
	}
	if got.Phase != "measuring" || got.PerSec <= 0 {
		t.Fatalf("%+v", got)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	good := self(t)
	for name, change := range map[string]func(o *Options){
		"no target":       func(o *Options) { o.Target = "" },
		"no connections":  func(o *Options) { o.Conns = 0 },
		"too many":        func(o *Options) { o.Conns = connsMax + 1 },
		"no depth":        func(o *Options) { o.Depth = 0 },
		"no end":          func(o *Options) { o.Messages = 0 },
		"negative rate":   func(o *Options) { o.Rate = -1 },
		"negative churn":  func(o *Options) { o.Churn = -1 },
		"open and churn":  func(o *Options) { o.Rate, o.Churn = 1, 1 },
		"idle with rate":  func(o *Options) { o.Idle, o.Messages, o.Duration, o.Rate = true, 0, 1, 1 },
		"split and deep":  func(o *Options) { o.Split = 1 },
		"less than none":  func(o *Options) { o.Still = -1 },
		"no sizes":        func(o *Options) { o.Mix = Mix{} },
		"verify, no echo": func(o *Options) { o.Verify = true },
		"threads":         func(o *Options) { o.Threads = 5 },
		"time":            func(o *Options) { o.Warmup = -1 },
	} {
		o := good
		change(&o)
		if _, err := Run(t.Context(), o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
}
