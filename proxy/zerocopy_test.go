package proxy

import (
	"bytes"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"fooproxy/stats"
)

// newLendingRig is a loop on io_uring that sends large data without a copy.
func newLendingRig(t *testing.T, way string, change func(*Config)) (*loopRig, *uringEngine) {
	t.Helper()
	r := newLoopRig(t, EngineUring, func(cfg *Config) {
		cfg.ZeroCopy, cfg.RingTest = way, "lend=1"
		if change != nil {
			change(cfg)
		}
	})
	e := r.worker.engine.(*uringEngine)
	return r, e
}

func (e *uringEngine) onLoan() int { return len(e.lender.loans) - len(e.lender.free) }

// request is a message with so much data of its own.
func request(seq, size int) []byte {
	data := bytes.Repeat([]byte(fmt.Sprintf("%07d ", seq)), size/8)
	return append(fmt.Appendf(nil, "REQ %d ", seq), append(data, '\n')...)
}

// lent opens a connection whose server does not read and sends a request into it until nothing moves any more and the kernel has
// segments of it on loan. It returns the request and how much of it the client could send. What a stalled socket holds may by
// chance all have been copied, so several connections are tried.
func (r *loopRig) lent(e *uringEngine, seq int) (p pair, data []byte, sent int) {
	r.t.Helper()
	data = request(seq, 4<<20)
	for range 20 {
		p, sent = r.open(), 0
		r.limit(unix.SO_RCVBUF, p[server])
		for still := 0; still < 100; still++ {
			if n := some(send, p[client], data[sent:min(len(data), sent+256<<10)]); n > 0 {
				sent += n
				still = 0
			}
			r.turn()
		}
		if e.onLoan() > 0 {
			return p, data, sent
		}
		r.hangUp(p[client], true)
		r.hangUp(p[server], true)
		r.gone()
	}
	r.t.Fatalf("nothing is on loan, so this test shows nothing: %v sends without a copy", r.core.local[stats.ZeroCopySends])
	return p, data, sent
}

// What is on loan keeps its bytes, whatever else passes through the loop's memory until the kernel lets go of it.
func TestLoanedMemoryStaysAsItIs(t *testing.T) {
	for _, bent := range []string{"", "sq=4 cq=8 buffers=8", "faults=3"} {
		t.Run(bent, func(t *testing.T) {
			r, e := newLendingRig(t, ZeroCopyOn, func(cfg *Config) { cfg.RingTest += " " + bent })
			p, data, sent := r.lent(e, 1)
			other, buf := r.open(), make([]byte, 2<<20)
			for i := range 6 {
				r.move(other, client, request(i, 1<<20), buf)
			}
			got := make([]byte, 0, len(data))
			r.until("whole request", func() bool {
				sent += some(send, p[client], data[sent:])
				n := some(recv, p[server], buf)
				got = append(got, buf[:n]...)
				return len(got) == len(data)
			})
			if !bytes.Equal(got, data) {
				t.Error("the request arrives changed")
			}
			r.until("return of all loans", func() bool { return e.onLoan() == 0 })
			if r.core.local[stats.ZeroCopySends] == 0 {
				t.Error("nothing was sent without a copy")
			}
		})
	}
}

// A connection that is reset, at either end, gives back what is on loan to it, and only when the kernel has.
func TestResetReturnsLoans(t *testing.T) {
	for _, first := range []side{client, server} {
		t.Run(name(first), func(t *testing.T) {
			r, e := newLendingRig(t, ZeroCopyOn, nil)
			for i := range 5 {
				p, _, _ := r.lent(e, i)
				r.hangUp(p[first], true)
				r.turn()
				r.hangUp(p[first^1], true)
				r.gone()
				r.until("return of all loans", func() bool { return e.onLoan() == 0 })
				for id := range r.core.slab.segs {
					if g := &r.core.slab.segs[id]; g.lent != 0 || g.owner == ownLoan || g.owner == ownFlow {
						t.Fatalf("segment %d is left with owner %d, on loan %d times", id, g.owner, g.lent)
					}
				}
			}
		})
	}
}

// On loopback the kernel copies in the end and says so: on takes that for an answer, auto knows it, off asks nothing.
func TestZeroCopyHeedsTheKernel(t *testing.T) {
	for _, way := range []string{ZeroCopyOff, ZeroCopyAuto, ZeroCopyOn} {
		t.Run(way, func(t *testing.T) {
			r, e := newLendingRig(t, way, func(cfg *Config) { cfg.RingTest = "" })
			p, buf := r.open(), make([]byte, 2<<20)
			for i := range 10 {
				r.move(p, client, request(i, 1<<20), buf)
			}
			r.until("return of all loans", func() bool { return e.onLoan() == 0 })
			sends, copied := r.core.local[stats.ZeroCopySends], r.core.local[stats.ZeroCopyCopied]
			right := map[string]bool{
				ZeroCopyOff:  sends == 0,
				ZeroCopyAuto: sends == 0,
				ZeroCopyOn:   copied > 0 && sends <= uint64(len(e.lender.loans)), // those in flight when the first was reported
			}
			if !right[way] {
				t.Errorf("%d sends without a copy, %d of them copied, at most %d at once", sends, copied, len(e.lender.loans))
			}
			r.expect(map[stats.Counter]uint64{stats.ZeroCopyDenied: 0, stats.Req: 10})
		})
	}
}

// A socket that cannot send without a copy is sent to with one, and no byte is lost on that.
func TestUnixSocketsAreCopied(t *testing.T) {
	path := "unix:" + t.TempDir() + "/proxy"
	r, _ := newLendingRig(t, ZeroCopyOn, func(cfg *Config) { cfg.Listen = path })
	p, buf := r.open(), make([]byte, 2<<20)
	r.move(p, client, request(1, 8), buf)
	answer := append([]byte("ACK 1 "), request(1, 1<<20)...)
	r.move(p, server, answer, buf)
	if denied := r.core.local[stats.ZeroCopyDenied]; denied != 1 {
		t.Errorf("denied %d times, want once for the connection", denied)
	}
}
