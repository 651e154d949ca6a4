package stats

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Every writer publishes many turns while readers take snapshots. Counters tied to each other in every turn must be tied
// in every snapshot of one core, nothing may shrink, and in the end every message is there.
func TestExactUnderConcurrentPublish(t *testing.T) {
	const cores, turns = 3, 30_000
	set := NewSet(cores)
	var writers, readers sync.WaitGroup
	stop := make(chan struct{})
	for i := range cores {
		writers.Go(func() {
			c, h := set.Core(i), set.Core(i).EnableLatency()
			var l Local
			for turn := range uint64(turns) {
				l[Req] += turn % 7
				l[Ack] += turn % 5
				l[Nak] += turn % 2
				l[BytesRequest] = 18 * l[Req]
				l[EndError] = l[Req]
				h.Record(int64(turn))
				h.Publish()
				c.Publish(&l, Now())
				c.Idle(turn%16 == 0)
				c.Idle(false)
			}
			c.Idle(true)
		})
	}
	for range 2 {
		readers.Go(func() {
			var before Snapshot
			var samples uint64
			for {
				s := set.Snapshot(Now())
				for c := range NumCounters {
					if s.Local[c] < before.Local[c] {
						t.Errorf("%v shrank from %d to %d", c, before.Local[c], s.Local[c])
						return
					}
				}
				before = s
				if n := latency(set).Count; n < samples {
					t.Errorf("latency count shrank from %d to %d", samples, n)
					return
				} else {
					samples = n
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
	var want Local
	for turn := range uint64(turns) {
		want[Req] += cores * (turn % 7)
		want[Ack] += cores * (turn % 5)
		want[Nak] += cores * (turn % 2)
	}
	want[BytesRequest], want[EndError] = 18*want[Req], want[Req]
	s := set.Snapshot(Now())
	if diff := cmp.Diff(want, s.Local); diff != "" {
		t.Errorf("final counters (-want +got):\n%s", diff)
	}
	if got := s.Total(); got != want[Req]+want[Ack]+want[Nak] {
		t.Errorf("total %d, want %d", got, want[Req]+want[Ack]+want[Nak])
	}
	if got := latency(set).Count; got != cores*turns {
		t.Errorf("%d durations, want %d", got, cores*turns)
	}
}

func latency(s *Set) *Distribution {
	d := new(Distribution)
	s.Latency(d)
	return d
}

// One turn's counters are seen together: the first and the last of the list always move by the same amount. The writer is
// far faster than any loop, so that some reads run out of tries; what they see must still be in order.
func TestSnapshotIsOfOneTurn(t *testing.T) {
	set := NewSet(1)
	c := set.Core(0)
	const turns = 200_000
	done := make(chan struct{})
	go func() {
		defer close(done)
		var l Local
		for range turns {
			l[Req]++
			l[NumCounters-1]++
			c.Publish(&l, 0)
		}
	}()
	whole := 0
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		var l Local
		ok := c.read(&l)
		if l[Req] < l[NumCounters-1] {
			t.Fatalf("the effect is ahead of its cause: %d requests, %d ends", l[Req], l[NumCounters-1])
		}
		if ok {
			whole++
			if l[Req] != l[NumCounters-1] {
				t.Fatalf("two turns are mixed: %d requests, %d ends", l[Req], l[NumCounters-1])
			}
		}
	}
	if whole == 0 {
		t.Error("no read got one turn")
	}
}

func TestReadDoesNotWaitForAnInterruptedWriter(t *testing.T) {
	set := NewSet(1)
	c := set.Core(0)
	c.Publish(&Local{Req: 5}, 0)
	c.state.Store(c.state.Load() | stateStoring)
	c.open[Req].Store(6)
	if got := set.Snapshot(0).Local[Req]; got != 6 {
		t.Errorf("read %d requests while a store is under way, want 6", got)
	}
}

func TestLevels(t *testing.T) {
	for c := range NumCounters {
		want := c == Connecting || c == Closing || c == OpenFoo || c == OpenArbitrary || c == OpenTunnel || c == Outstanding || c == Buffered
		if c.Level() != want {
			t.Errorf("%v: level %v", c, c.Level())
		}
	}
}

func TestBufferedIsALevel(t *testing.T) {
	set := NewSet(2)
	set.Core(0).Publish(&Local{Buffered: 100}, 0)
	set.Core(1).Publish(&Local{Buffered: 7}, 0)
	set.Core(0).Publish(&Local{Buffered: 1}, 0)
	if got := set.Snapshot(0).Local[Buffered]; got != 8 {
		t.Errorf("buffered %d, want 8", got)
	}
}

// The bubble's clock moves only when every goroutine sleeps, so the times below are exact.
func TestSettle(t *testing.T) {
	const limit = time.Second
	elapsed := func(s *Set) time.Duration {
		start := time.Now()
		s.Settle(limit)
		return time.Since(start)
	}
	t.Run("sleeping loops delay only for the look", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := NewSet(2)
			s.Core(0).Idle(true)
			s.Core(1).Idle(true)
			if got := elapsed(s); got != settleAwake {
				t.Errorf("waited %v, want %v", got, settleAwake)
			}
		})
	})
	t.Run("no loops", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			if got := elapsed(NewSet(0)); got != 0 {
				t.Errorf("waited %v", got)
			}
		})
	})
	t.Run("a stuck loop costs the limit", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := NewSet(1)
			if got := elapsed(s); got < limit || got > limit+settleLook {
				t.Errorf("waited %v, want %v", got, limit)
			}
		})
	})
	t.Run("a running loop ends its turn and one more", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := NewSet(1)
			var l Local
			go func() {
				for turn := range uint64(3) {
					time.Sleep(5 * time.Millisecond)
					l[Req] = turn + 1
					s.Core(0).Publish(&l, 0)
				}
			}()
			if got := elapsed(s); got < 10*time.Millisecond || got > 10*time.Millisecond+settleLook {
				t.Errorf("waited %v, want 10ms", got)
			}
			if got := s.Snapshot(0).Local[Req]; got != 2 {
				t.Errorf("%d requests counted, want 2", got)
			}
			time.Sleep(10 * time.Millisecond)
		})
	})
	t.Run("a loop that is being woken is waited for", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := NewSet(1)
			c := s.Core(0)
			c.Idle(true)
			go func() {
				time.Sleep(settleAwake / 2)
				c.Idle(false)
				time.Sleep(5 * time.Millisecond)
				c.Publish(&Local{Req: 1}, 0)
				c.Idle(true)
			}()
			s.Settle(limit)
			if got := s.Snapshot(0).Local[Req]; got != 1 {
				t.Errorf("%d requests counted, want 1", got)
			}
		})
	})
}

func TestAppendText(t *testing.T) {
	set := NewSet(2)
	set.Core(0).Publish(&Local{Req: 10, Ack: 5, Nak: 1, Accepted: 4, Ended: 1, EndClientFIN: 1, Bad: 2}, 0)
	set.Core(1).Publish(&Local{Req: 3}, 0)
	text := string(set.Snapshot(0).AppendText([]byte("before\n")))
	const head = "before\n" +
		"msg_total 19\nmsg_req 13\nmsg_ack 5\nmsg_nak 1\n" +
		"request_rate_1s 13\nrequest_rate_10s 1.3\nresponse_rate_1s 6\nresponse_rate_10s 0.6\n" +
		"bad 2\nbad_type 0\n"
	if !strings.HasPrefix(text, head) {
		t.Errorf("text begins\n%s\nwant\n%s", text, head)
	}
	for _, line := range []string{"end_client_fin 1", "connections 3\nconnections_total 4\nclass_foo 0"} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("no %q in\n%s", line, text)
		}
	}
	seen := map[string]bool{}
	for line := range strings.Lines(text) {
		name, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if seen[name] {
			t.Errorf("%q stands there twice", name)
		}
		seen[name] = true
	}
	if got, want := len(seen), 1+1+4+int(NumCounters); got != want {
		t.Errorf("%d different lines, want %d", got, want)
	}
}

func TestCounterNames(t *testing.T) {
	seen := map[string]Counter{}
	for c := range NumCounters {
		if c.String() == "" {
			t.Errorf("counter %d has no name", c)
		}
		if other, ok := seen[c.String()]; ok {
			t.Errorf("counters %d and %d are both called %s", c, other, c)
		}
		seen[c.String()] = c
		if got := c.Reason() != ""; got != (c >= EndFirst) {
			t.Errorf("%v: reason %q", c, c.Reason())
		}
	}
	if got := EndHalfCloseTimeout.Reason(); got != "half-close-timeout" {
		t.Errorf("reason %q", got)
	}
	if Counter(-1).String() != "counter_unknown" || NumCounters.Reason() != "" {
		t.Error("a counter outside the list has a name")
	}
}

func TestPublishAllocatesNothing(t *testing.T) {
	set := NewSet(1)
	c := set.Core(0)
	h := c.EnableLatency()
	var l Local
	now := int64(0)
	if n := testing.AllocsPerRun(1000, func() {
		now += 3 * ms
		l[Req] += 3
		l[Ack]++
		h.Record(now)
		h.Publish()
		c.Publish(&l, now)
		c.Idle(true)
		c.Idle(false)
	}); n != 0 {
		t.Errorf("%v allocations per turn", n)
	}
	text := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() { text = set.Snapshot(now).AppendText(text[:0]) }); n != 0 {
		t.Errorf("%v allocations per snapshot", n)
	}
}

func BenchmarkPublish(b *testing.B) {
	b.Run("traffic", func(b *testing.B) {
		c := NewSet(1).Core(0)
		var l Local
		for now := int64(0); b.Loop(); now += 10_000 {
			l[Req]++
			l[Ack]++
			l[BytesRequest] += 18
			l[BytesResponse] += 9
			c.Publish(&l, now)
		}
	})
	b.Run("nothing new", func(b *testing.B) {
		c := NewSet(1).Core(0)
		l := Local{Req: 1}
		for b.Loop() {
			c.Publish(&l, 0)
		}
	})
}

func BenchmarkSnapshot(b *testing.B) {
	set := NewSet(2)
	for i := range 2 {
		var l Local
		for now := int64(0); now < 10_000*ms; now += 10 * ms {
			l[Req]++
			set.Core(i).Publish(&l, now)
		}
	}
	for b.Loop() {
		set.Snapshot(9_999 * ms)
	}
}
