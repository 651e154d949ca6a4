package proxy

import (
	"bytes"
	"testing"

	"fooproxy/ring/ringtest"
)

// A flow is in bulk once a wake-up has brought much, stays so while wake-ups that bring little are few, and leaves it after
// bulkPatience of them: ping-pong goes back to the buffer ring. So it is also where a receive fills one buffer at a time.
func TestBulkBeginsAtOnceAndEndsWithPatience(t *testing.T) {
	for _, ring := range []string{"", "without=recv-bundle"} {
		t.Run(ring, func(t *testing.T) {
			beginsAndEndsBulk(t, newLoopRig(t, EngineUring, func(cfg *Config) { cfg.RingTest = ring }))
		})
	}
}

func beginsAndEndsBulk(t *testing.T, r *loopRig) {
	p, buf := r.open(), make([]byte, 1<<20)
	s := r.only()
	bulk := func() int { return int(s.eng.bulk[client]) }
	small := []byte("REQ 1\n")
	for range 20 {
		r.move(p, client, small, buf)
		r.move(p, client, request(1, 4<<10), buf)
		if bulk() != 0 {
			t.Fatal("small messages one at a time make a flow one of bulk data")
		}
	}
	for range 2 {
		for i := 0; bulk() == 0; i++ {
			if i == 10 {
				t.Fatal("a flow of large messages is not in bulk")
			}
			r.move(p, client, request(1, 256<<10), buf)
		}
		rounds := 0
		for ; bulk() > 0 && rounds < 10*bulkPatience; rounds++ {
			r.move(p, client, small, buf)
		}
		if rounds < bulkPatience/2 || rounds > bulkPatience+2 {
			t.Errorf("the flow is in bulk for %d small messages, want about %d", rounds, bulkPatience)
		}
		for range 3 {
			if r.move(p, client, small, buf); bulk() != 0 {
				t.Error("small messages bring a flow back into bulk")
			}
		}
	}
}

// What a receive has taken that could not be cancelled, and whose completion finds the queue of completions full, goes before what a flow in
// bulk finds in its socket.
func TestBulkWaitsForCompletionsThatWaitForRoom(t *testing.T) {
	r := newLoopRig(t, EngineUring, func(cfg *Config) { cfg.RingTest = "sq=16 cq=16 without=recv-bundle" })
	p, buf := r.open(), make([]byte, 1<<20)
	s, e := r.only(), r.loop.(*uringEngine)
	var others []pair
	for range 30 {
		others = append(others, r.open())
	}
	e.ring.SetHook(ringtest.New(1, ringtest.Rates{LateCancel: 1}))
	t.Cleanup(func() { e.ring.SetHook(nil) })
	r.move(p, client, request(1, 40<<10), buf) // in five pieces: it leaves buffers, so that the receive does not end for want of them
	if s.eng.bulk[client] == 0 || !s.eng.armed[client] || s.eng.polled[client] {
		t.Fatalf("no flow in bulk whose receive is armed: %s", r.state())
	}
	for _, o := range others { // whose completions come first
		some(send, o[client], []byte("REQ 1\n"))
	}
	data := longLines("REQ", 512<<10, 64<<10)
	sent, overflowed := some(send, p[client], data), false
	var got []byte
	r.until("all the data", func() bool {
		overflowed = overflowed || e.ring.Overflowed()
		sent += some(send, p[client], data[sent:])
		n, errno := recv(p[server], buf)
		got = append(got, buf[:max(n, 0)]...)
		return len(got) == len(data) || n == 0 && errno == 0
	})
	if !bytes.Equal(got, data) {
		t.Errorf("%d bytes arrive of %d, or others", len(got), len(data))
	}
	if !overflowed {
		t.Error("no completion had to wait")
	}
}
