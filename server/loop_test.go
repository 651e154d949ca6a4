package server

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A handLoop is a loop that the test turns by hand, and one client of it.
type handLoop struct {
	*loop
	conn *conn
	peer int32
}

// newHandLoop makes a loop that has no thread, with one connection.
func newHandLoop(tb testing.TB, o Options) *handLoop {
	tb.Helper()
	o.Listen, o.Loops = "127.0.0.1:0", 1
	s, err := New(o)
	if err != nil {
		tb.Fatal(err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		tb.Fatal(err)
	}
	h := &handLoop{loop: s.loops[0], peer: int32(pair[0])}
	h.admit(int32(pair[1]))
	h.conn = h.conns[0]
	tb.Cleanup(func() {
		h.each(h.drop)
		_ = unix.Close(pair[0])
		s.Stop()
	})
	return h
}

// turn does what the loop's thread would do for the connection. The kernel's edges are not asked: everything is tried.
func (h *handLoop) turn() {
	if h.conn.fd >= 0 && h.push(h.conn) && !h.conn.paused {
		h.receive(h.conn)
	}
	h.expire()
	h.publish()
}

// give sends all of b to the loop, which works meanwhile.
func (h *handLoop) give(b []byte) {
	for len(b) > 0 {
		n, errno := send(h.peer, b)
		if errno == unix.EAGAIN {
			h.turn()
			continue
		}
		b = b[n:]
	}
}

// take receives from the loop until b is full.
func (h *handLoop) take(b []byte) {
	for len(b) > 0 {
		h.turn()
		if n, errno := recv(h.peer, b); errno == 0 {
			b = b[n:]
		}
	}
}

func TestNothingIsAllocated(t *testing.T) {
	shapes := map[string]string{
		"one":     "REQ 1 hello\n",
		"batch":   strings.Repeat("REQ 123 hello\n", 1000),
		"partial": "REQ 1 hello\nREQ 2 hel",
		"long":    "REQ 1 " + strings.Repeat("x", 100<<10) + "\n",
	}
	modes := map[string]Options{
		"echo":    {},
		"nak":     {NakShare: 0.5},
		"empty":   {Reply: ReplyEmpty},
		"text":    {Reply: "a fixed text"},
		"reorder": {Reorder: 4},
	}
	for mode, o := range modes {
		for shape, stream := range shapes {
			t.Run(mode+"/"+shape, func(t *testing.T) {
				h := newHandLoop(t, o)
				b := []byte(stream)
				trash := make([]byte, 256<<10)
				round := func() {
					if shape == "partial" && h.conn.scan.Offset() > 0 {
						h.give([]byte("\n"))
						h.turn()
					}
					h.give(b)
					h.turn()
					for {
						if _, errno := recv(h.peer, trash); errno != 0 {
							break
						}
						h.turn()
					}
				}
				for range 100 {
					round()
				}
				before := h.counts.Req
				if n := testing.AllocsPerRun(100, round); n != 0 {
					t.Errorf("%v allocations per batch", n)
				}
				if h.counts.Req == before {
					t.Error("no request was answered")
				}
			})
		}
	}
}

func TestSlowReaderStopsTheReceiving(t *testing.T) {
	for name, o := range map[string]Options{
		"echo": {}, "text": {Reply: strings.Repeat("t", 1000)}, "reorder": {Reorder: 1000}, "delay": {Delay: DelayMax},
	} {
		t.Run(name, func(t *testing.T) {
			o.MaxBuffer = maxBufferMin
			h := newHandLoop(t, o)
			requests := []byte(strings.Repeat("REQ 1 hello\n", 4000))
			for !h.conn.paused {
				rest := requests // whole lines only: what the kernel does not take now is sent before the next round
				for len(rest) > 0 && !h.conn.paused {
					n, errno := send(h.peer, rest)
					if errno == 0 {
						rest = rest[n:]
					}
					h.turn()
				}
			}
			batch := h.receiveMax / 6 * (len(h.answerer.tail) + 6)
			if held := h.conn.q.held(); held > o.MaxBuffer+batch {
				t.Errorf("%d bytes are held, the limit is %d and one batch", held, o.MaxBuffer)
			}
			received := h.counts.Req
			for range 3 {
				h.turn()
			}
			if h.counts.Req != received {
				t.Error("a paused connection is still received from")
			}
			if o.Delay == 0 {
				trash := make([]byte, 64<<10)
				for h.conn.paused {
					h.turn()
					_, _ = recv(h.peer, trash)
				}
			}
		})
	}
}

// TestEachAnswerHasItsOwnDelay makes the first one due, and only that may be sent.
func TestEachAnswerHasItsOwnDelay(t *testing.T) {
	h := newHandLoop(t, Options{Delay: DelayMax})
	for _, request := range []string{"REQ 1\nREQ 2\n", "REQ 3\n"} {
		h.give([]byte(request))
		h.turn()
	}
	h.delayed.queue[0].due = 0
	h.turn()
	got := make([]byte, 100)
	n, _ := recv(h.peer, got)
	if string(got[:max(n, 0)]) != "ACK 1\nACK 2\n" {
		t.Errorf("sent: %q", got[:max(n, 0)])
	}
}

// dial connects to the loop's own listener, which accepts nothing by itself.
func (h *handLoop) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", h.server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

// accepting is whether epoll reports a connection that waits at the listener.
func (h *handLoop) accepting() bool {
	n, _ := h.poll.call(0, true)
	for i := range h.poll.events[:n] {
		if key(&h.poll.events[i]) == listenKey {
			return true
		}
	}
	return false
}

func TestOutOfDescriptorsDoesNotSpin(t *testing.T) {
	h := newHandLoop(t, Options{})
	h.dial(t)
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	none := before
	none.Cur = 0
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	if !h.accepting() {
		t.Error("no connection waits: this test sees nothing")
	}
	h.dispatch(listenKey, unix.EPOLLIN)
	spins := h.accepting()
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	if spins || h.open != 1 {
		t.Errorf("after a failed accept the listener is reported again at once: %v; %d connections", spins, h.open)
	}
	await(t, "accepting again", func() bool {
		h.expire()
		return h.accepting()
	})
	h.dispatch(listenKey, unix.EPOLLIN)
	if h.open != 2 {
		t.Errorf("%d connections", h.open)
	}
}

func TestStopServesWhoHasConnected(t *testing.T) {
	h := newHandLoop(t, Options{})
	c := h.dial(t)
	if _, err := io.WriteString(c, "REQ 1\n"); err != nil {
		t.Fatal(err)
	}
	h.obey()
	if got, err := io.ReadAll(c); string(got) != "ACK 1\n" || err != nil {
		t.Errorf("a connection that was not accepted yet gets %q, %v", got, err)
	}
}

func TestAcceptedSocketsSendAtOnce(t *testing.T) {
	h := newHandLoop(t, Options{})
	h.dial(t)
	h.dispatch(listenKey, unix.EPOLLIN)
	if on, err := unix.GetsockoptInt(int(h.conns[1].fd), unix.IPPROTO_TCP, unix.TCP_NODELAY); on == 0 || err != nil {
		t.Errorf("TCP_NODELAY is %d, %v", on, err)
	}
}

func TestStaleEventsAreIgnored(t *testing.T) {
	h := newHandLoop(t, Options{})
	h.dial(t)
	h.dispatch(listenKey, unix.EPOLLIN)
	c := h.conns[1]
	old := c.gen
	h.drop(c)
	h.dial(t)
	h.dispatch(listenKey, unix.EPOLLIN)
	if c.fd < 0 {
		t.Fatal("the slot is not used again: this test sees nothing")
	}
	if h.at(c.slot, old) != nil || h.at(c.slot, c.gen) != c {
		t.Error("an event of a closed connection reaches the one that has its slot now")
	}
}

func TestQueueKeepsOrderOverCompaction(t *testing.T) {
	var q queue
	var spare spares
	var in, out strings.Builder
	for i := range 10_000 {
		piece := fmt.Sprintf("%d,", i)
		in.WriteString(piece)
		q.append([]byte(piece), &spare)
		q.line = len(q.buf)
		q.done, q.ready = q.line, q.line
		if i%7 == 0 {
			n := len(q.waiting()) / 2
			out.Write(q.waiting()[:n])
			q.sent += n
		}
	}
	out.Write(q.waiting())
	if out.String() != in.String() {
		t.Error("the queue's bytes are not those that were appended")
	}
	if cap(q.buf) > 256<<10 {
		t.Errorf("the buffer has grown to %d bytes", cap(q.buf))
	}
}

func TestTimersReuseTheirMemory(t *testing.T) {
	timers := timers{after: 10}
	for now := range 100_000 {
		timers.add(0, deadline{slot: uint32(now)})
		timers.queue[len(timers.queue)-1].due = 0
		if now%2 == 1 {
			for want := now - 1; want <= now; want++ {
				d, ok := timers.next(1)
				if !ok || d.slot != uint32(want) {
					t.Fatalf("got deadline %d, %v, want %d", d.slot, ok, want)
				}
			}
		}
		timers.add(1<<40, deadline{slot: uint32(now)})
		timers.queue = timers.queue[:len(timers.queue)-1]
	}
	if cap(timers.queue) > 100 {
		t.Errorf("the queue of at most 2 deadlines has room for %d", cap(timers.queue))
	}
	if d := timers.until(0); d != -1 {
		t.Errorf("an empty queue has a deadline in %v", d)
	}
}

func BenchmarkBatch(b *testing.B) {
	for _, mode := range []string{ReplyEcho, ReplyEmpty} {
		for _, messages := range []int{1, 64, 4096} {
			b.Run(fmt.Sprintf("%s/messages=%d", mode, messages), func(b *testing.B) {
				h := newHandLoop(b, Options{Reply: mode})
				requests := []byte(strings.Repeat("REQ 1 hello 3456\n", messages))
				answers := make([]byte, len(answersTo(string(requests), mode, never)))
				b.ReportAllocs()
				for b.Loop() {
					h.give(requests)
					h.take(answers)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(messages), "ns/msg")
			})
		}
	}
}
