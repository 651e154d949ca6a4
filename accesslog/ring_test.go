package accesslog

import (
	"bytes"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// quietLog is a log without a writer; the test is the consumer.
func quietLog(t interface{ Helper() }, shape *shape, size int) (*Log, *Ring) {
	t.Helper()
	l := &Log{wake: make(chan struct{}, 1)}
	r := newRing(l, shape, size, make([]byte, size+lineMax))
	l.rings = []*Ring{r}
	return l, r
}

// A plain byte slice is the oracle: what was committed and not yet consumed.
func TestRingAgainstByteSlice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const size = 4 * lineMax
		_, r := quietLog(t, &textShape, size)
		start := rapid.Uint64Range(0, 2*size).Draw(t, "start")
		r.head.Store(start)
		r.tail.Store(start)
		r.next, r.tailSeen = start, start
		var held []byte
		var dropped uint64
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			if rapid.IntRange(0, 2).Draw(t, "step") > 0 {
				full := len(held) > size-lineMax
				b := r.reserve()
				if full != (b == nil) {
					t.Fatalf("room is %v with %d bytes held", b != nil, len(held))
				}
				if b == nil {
					dropped++
					continue
				}
				n := rapid.IntRange(0, lineMax-1).Draw(t, "length")
				line := append(bytes.Repeat([]byte{byte('a' + n%26)}, n), '\n')
				r.commit(append(b, line...))
				r.Flush()
				held = append(held, line...)
			} else if len(held) > 0 {
				tail := r.tail.Load()
				n := uint64(rapid.IntRange(0, len(held)).Draw(t, "consumed"))
				s := r.segments(tail, tail+n)
				if got := append(append([]byte{}, s[0]...), s[1]...); !bytes.Equal(got, held[:n]) {
					t.Fatalf("at %d: got %q, want %q", tail, got, held[:n])
				}
				end := r.lineEnd(tail, tail+n)
				if want := uint64(bytes.LastIndexByte(held[:n], '\n') + 1); end-tail != want {
					t.Fatalf("the last line ends at %d, want %d", end-tail, want)
				}
				held = held[end-tail:]
				r.tail.Store(end)
			}
			if got := r.Dropped(); got != dropped {
				t.Fatalf("%d dropped, want %d", got, dropped)
			}
		}
		r.log.finished.Store(true)
		if got, want := r.Dropped(), dropped+uint64(bytes.Count(held, []byte{'\n'})); got != want {
			t.Fatalf("%d dropped after closing, want %d", got, want)
		}
	})
}

func TestLineEndAcrossTheRingsEnd(t *testing.T) {
	_, r := quietLog(t, &textShape, ringBytesMin)
	for after := range uint64(3) {
		clear(r.buf)
		end := ringBytesMin + after
		r.buf[(end-1)%ringBytesMin] = '\n'
		if got := r.lineEnd(ringBytesMin-5, ringBytesMin+4); got != end {
			t.Errorf("the line ends at %d, want %d", got, end)
		}
	}
	clear(r.buf)
	if got := r.lineEnd(ringBytesMin-5, ringBytesMin+4); got != ringBytesMin-5 {
		t.Errorf("a line ends at %d where none does", got)
	}
}

// Lines that came just before the writer made its state visible have woken nobody: it must see them by itself.
func TestWriterLooksOnceMoreBeforeItRests(t *testing.T) {
	l, r := quietLog(t, &textShape, ringBytesMin)
	w := writer{log: l, timer: time.NewTimer(time.Hour)}
	r.Request(&Request{Client: client})
	r.Flush()
	w.rest(asleep, 0)
	for r.head.Load() <= ringBytesMin/2 {
		r.Request(&Request{Client: client})
		r.Flush()
	}
	w.rest(gathering, time.Hour)
	if len(l.wake) != 0 {
		t.Error("a busy writer was woken")
	}
}

func TestProducerWakesTheWriterOnlyWhenItMust(t *testing.T) {
	l, r := quietLog(t, &textShape, ringBytesMin)
	line := &Request{Client: client}
	woken := func() bool {
		select {
		case <-l.wake:
			return true
		default:
			return false
		}
	}
	r.Request(line)
	r.Flush()
	if woken() {
		t.Error("a busy writer was woken")
	}
	l.state.Store(gathering)
	for r.head.Load() <= ringBytesMin/2 {
		if woken() {
			t.Fatalf("a gathering writer was woken at %d bytes", r.head.Load())
		}
		r.Request(line)
		r.Flush()
	}
	if !woken() || l.state.Load() != busy {
		t.Error("a gathering writer was not woken by a half-full ring")
	}
	r.tail.Store(r.head.Load())
	l.state.Store(gathering)
	r.Request(line)
	r.Flush()
	if woken() {
		t.Error("a gathering writer was woken by a ring that it had emptied")
	}
	l.state.Store(asleep)
	r.Request(line)
	r.Flush()
	if !woken() || l.state.Load() != busy {
		t.Error("a sleeping writer was not woken")
	}
	r.Request(line)
	r.Flush()
	if woken() {
		t.Error("the writer was woken twice")
	}
}

func TestLinesAllocateNothing(t *testing.T) {
	for name, shape := range map[string]*shape{Text: &textShape, JSON: &jsonShape} {
		_, r := quietLog(t, shape, 64<<10)
		q := Request{Client: client, Fits: true, Result: ACK}
		got := bytes.Repeat([]byte{0xff, '"', 'x'}, 100)
		if n := testing.AllocsPerRun(2000, func() {
			q.Time += 700_001
			q.Conn++
			q.Seq--
			r.Request(&q)
			r.Answer(&Answer{Time: q.Time, Client: server})
			r.Conn(&Conn{Time: q.Time, Client: client, Server: server, Class: "foo", End: "client-fin"})
			r.Bad(&Bad{Time: q.Time, Dir: "request", Want: "seq", Got: got})
			r.Flush()
			r.tail.Store(r.head.Load())
		}); n != 0 {
			t.Errorf("%s: %v allocations for four lines", name, n)
		}
		if n := r.Dropped(); n != 0 {
			t.Errorf("%s: %d lines dropped", name, n)
		}
	}
}

func BenchmarkRequest(b *testing.B) {
	for name, shape := range map[string]*shape{Text: &textShape, JSON: &jsonShape} {
		run := func(kind string, next func(q *Request)) {
			b.Run(name+"/"+kind, func(b *testing.B) {
				_, r := quietLog(b, shape, ringBytesDefault)
				q := Request{Time: 1_767_323_045_123_456, Conn: 42, Client: client, Fits: true, Size: 18, Result: ACK, AnswerSize: 9, Latency: 184}
				for b.Loop() {
					next(&q)
					r.Request(&q)
					if q.Seq&63 == 0 {
						r.Flush()
						r.tail.Store(r.head.Load())
					}
				}
			})
		}
		run("pipelined", func(q *Request) { q.Seq++ })
		run("pingpong", func(q *Request) {
			q.Seq++
			q.Time += 12
			q.Conn = 42 + uint64(q.Seq)&15
		})
	}
}
