package proxy

import (
	"context"
	"testing"
)

// asked has the rig's loop turn until a question from another goroutine is answered.
func asked[T any](r *loopRig, ask func() T) (answer T) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		answer = ask()
	}()
	r.until("answer to a question", func() bool {
		select {
		case <-done:
			return true
		default:
			return false
		}
	})
	return answer
}

func TestConnectionsShowWhatTheyWaitFor(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		r := newLoopRig(t, engine, nil)
		p := r.open()
		buf := make([]byte, 1024)
		for _, step := range []struct {
			from     side
			data     string
			waitsFor string
			pending  uint64
		}{
			{client, "", "first-bytes", 0},
			{client, "REQ 1\n", "answer", 1},
			{client, "REQ 2", "rest-of-request", 1},
			{client, "\n", "answer", 2},
			{server, "ACK 2\nNAK 1\n", "request", 0},
		} {
			r.move(p, step.from, []byte(step.data), buf)
			list := asked(r, func() []Connection { return r.proxy.Connections(t.Context(), 10) })
			if len(list) != 1 {
				t.Fatalf("after %q: %d connections", step.data, len(list))
			}
			if c := list[0]; c.WaitsFor != step.waitsFor || c.Outstanding != step.pending || c.State != "open" || c.End != "-" {
				t.Errorf("after %q: %+v, want it to wait for %s", step.data, c, step.waitsFor)
			}
		}
		r.open()
		if list := asked(r, func() []Connection { return r.proxy.Connections(t.Context(), 1) }); len(list) != 1 {
			t.Errorf("%d connections for a limit of 1", len(list))
		}
	})
}

// The latest violations are kept, the last one first, and no more than asked for.
func TestViolationsKeepTheLatest(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		const kept = 3
		r := newLoopRig(t, engine, func(cfg *Config) { cfg.Violations, cfg.OnViolation = kept, Forward })
		p := r.open()
		buf := make([]byte, 1024)
		for line := range kept + 2 {
			r.move(p, client, []byte("REQ 1\nREQ x"[:6+5*min(line, 1)]), buf)
			if line > 0 {
				r.move(p, client, []byte("\n"), buf)
			}
		}
		list := asked(r, func() []Violation { return r.proxy.Violations(t.Context()) })
		if len(list) != kept {
			t.Fatalf("%d violations, want %d", len(list), kept)
		}
		seen := map[uint64]bool{}
		for _, v := range list {
			seen[v.Line] = true
			if v.Want != "seq" || v.Offset != 4 || v.Dir != "request" || v.Got[0] != 'x' {
				t.Errorf("violation %+v", v)
			}
		}
		if !seen[5] || !seen[7] || !seen[9] {
			t.Errorf("lines %v, want the latest three", seen)
		}
	})
}

// A question that nobody waits for any more harms neither the loop nor the next one.
func TestQuestionGivenUp(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		r := newLoopRig(t, engine, nil)
		r.open()
		over, cancel := context.WithCancel(t.Context())
		cancel()
		if list := r.proxy.Connections(over, 10); len(list) != 0 {
			t.Errorf("a loop that does not turn has shown %d connections", len(list))
		}
		if list := asked(r, func() []Connection { return r.proxy.Connections(t.Context(), 10) }); len(list) != 1 {
			t.Errorf("%d connections afterwards", len(list))
		}
	})
}

func TestAnswerAllocatesNothing(t *testing.T) {
	c := newTestCore(t, Config{Violations: 8}, 4, 0)
	c.notes = make([]violationNote, 8)
	for range 3 * chunkSlots {
		c.begin(-1, testClient)
	}
	q := question{conns: make([]Connection, 0, sessionsPerAsk), notes: make([]violationNote, 0, 8)}
	if n := testing.AllocsPerRun(100, func() {
		q.slot, q.conns, q.notes = 0, q.conns[:0], q.notes[:0]
		c.answer(&q)
	}); n != 0 {
		t.Errorf("%v allocations per answer", n)
	}
	if len(q.conns) != 3*chunkSlots || q.slot != -1 {
		t.Errorf("%d of %d connections are shown, next is slot %d", len(q.conns), 3*chunkSlots, q.slot)
	}
}
