package proxy

import "testing"

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
