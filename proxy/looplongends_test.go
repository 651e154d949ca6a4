package proxy

import (
	"bytes"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"fooproxy/ring"
	"fooproxy/stats"
)

// inLongData opens a connection whose server's socket holds little, and brings its client into the middle of long Data.
func (r *loopRig) inLongData(k *watchedKernel) pair {
	r.t.Helper()
	p := r.open()
	r.limit(unix.SO_RCVBUF, p[server]) // later it would have a window that is slow to close
	r.inLongDataOf(p, k)
	return p
}

func (r *loopRig) inLongDataOf(p pair, k *watchedKernel) {
	r.t.Helper()
	buf := make([]byte, 1<<20)
	for i := 0; k.looks == 0; i++ {
		if i == 10 {
			r.t.Fatal("never in the middle of long Data")
		}
		r.move(p, client, longLines("REQ", 1<<20, 1<<20), buf)
	}
}

// pump has a client send data and the server hear it, until it has n bytes or its stream ends. It returns what was heard and the end:
// nil is FIN, EAGAIN none.
func (r *loopRig) pump(p pair, data []byte, n int) (got []byte, end error) {
	r.t.Helper()
	buf := make([]byte, 1<<20)
	r.until("all the data, or an end", func() bool {
		data = data[some(send, p[client], data):]
		heard, errno := recv(p[server], buf)
		got = append(got, buf[:max(heard, 0)]...)
		if end = nil; errno != 0 {
			end = errno
		}
		return len(got) >= n || heard == 0 || errno != 0 && errno != unix.EAGAIN
	})
	return got, end
}

// A destination that stands still holds up its own source within bounds, with a pipe that holds what it has not taken, and goes on
// without loss.
func TestLoopSplicingHoldsBackAFastSide(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		r, k := newLongRig(t, engine, nil)
		p := r.inLongData(k)
		s, other := r.only(), r.open()
		data := longLines("REQ", 16<<20, 1<<20)
		before := r.core.local
		var got []byte
		buf, sent := make([]byte, 300<<10), 0
		for range 5 {
			for still := 0; still < 50; still++ { // until nothing moves any more
				if n := some(send, p[client], data[sent:]); n > 0 {
					sent, still = sent+n, 0
				}
				r.turn()
				if held := (len(r.core.slab.segs) - r.core.slab.free) * segSize; held > 4*r.core.cfg.MaxBuffer {
					t.Fatalf("%d bytes of memory are held", held)
				}
			}
			if s.flow[client].pipe == nil {
				t.Fatalf("no pipe holds anything: %s", r.state())
			}
			before[stats.BytesRequest] += 6
			before[stats.Req]++
			r.move(other, client, []byte("REQ 1\n"), buf) // nobody else is held up
			part, _ := r.pump(p, nil, 100<<10)
			got = append(got, part...)
		}
		rest, _ := r.pump(p, data[sent:], len(data)-len(got))
		if got = append(got, rest...); !bytes.Equal(got, data) {
			t.Errorf("%d bytes arrive of %d, or others", len(got), len(data))
		}
		if n := r.core.local[stats.BytesSpliced] - before[stats.BytesSpliced]; n < 12<<20 || n > 16<<20 {
			t.Errorf("%d bytes are spliced", n)
		}
		if n := r.core.local[stats.ReadPauses] - before[stats.ReadPauses]; n < 2 {
			t.Errorf("%d pauses are counted", n)
		}
		r.expect(map[stats.Counter]uint64{stats.Req: before[stats.Req] + 16, stats.BytesRequest: before[stats.BytesRequest] + 16<<20})
		r.hangUp(other[client], false)
		r.hangUp(other[server], false)
		r.endAll(p)
	})
}

// jam has the client of a connection send long Data until nothing moves any more, because the server does not read, and a pipe holds
// some of it. It returns what was sent.
func (r *loopRig) jam(p pair) []byte {
	r.t.Helper()
	s := r.only()
	data, sent := longLines("REQ", 16<<20, 1<<20), 0
	for still := 0; still < 50; still++ {
		if n := some(send, p[client], data[sent:]); n > 0 {
			sent, still = sent+n, 0
		}
		r.turn()
	}
	if s.flow[client].pipe == nil {
		r.t.Fatalf("no pipe holds anything: %s", r.state())
	}
	return data[:sent]
}

// What is in a pipe when its destination resets goes with it, the pipe too.
func TestLoopSplicingLosesNoPipeToAReset(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		r, k := newLongRig(t, engine, nil)
		p := r.inLongData(k)
		r.jam(p)
		r.hangUp(p[server], true)
		r.until("reset at the client", func() bool {
			_, errno := recv(p[client], make([]byte, 1))
			if errno == 0 {
				t.Error("the reset is relayed as FIN")
			}
			return errno != unix.EAGAIN
		})
		r.hangUp(p[client], false)
		r.gone()
		if l := r.core.pipes; l.made != l.spare {
			t.Errorf("%d pipes are left behind", l.made-l.spare)
		}
		r.expect(map[stats.Counter]uint64{stats.EndServerRST: 1, stats.Ended: 1})
	})
}

// An end that comes right behind long Data, of which a pipe holds some, comes after all of it.
func TestLoopSplicesWhatCameBeforeTheEnd(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		for _, reset := range []bool{false, true} {
			t.Run(fmt.Sprint("reset ", reset), func(t *testing.T) {
				r, k := newLongRig(t, engine, nil)
				p := r.inLongData(k)
				data, held := longLines("REQ", 2<<20, 256<<10), false
				var got []byte
				buf := make([]byte, 20000)
				for sent := 0; sent < len(data) || undelivered(p[client], unix.AF_INET) > 0; r.turn() {
					sent += some(send, p[client], data[sent:])
					got = append(got, buf[:some(recv, p[server], buf)]...)
				}
				held = r.only().flow[client].pipe != nil
				if reset {
					r.hangUp(p[client], true)
				} else {
					shutdownWrite(p[client])
				}
				for range 20 { // more than it takes to see it
					r.turn()
				}
				rest, end := r.pump(p, nil, 1<<30)
				if got = append(got, rest...); !bytes.Equal(got, data) {
					t.Errorf("the server has %d of the %d bytes that came before the end", len(got), len(data))
				}
				if (end == unix.ECONNRESET) != reset || !held {
					t.Errorf("the end is %v, a pipe held something: %v", end, held)
				}
				r.hangUp(p[server], false)
				if !reset {
					r.hangUp(p[client], false)
				}
				r.gone()
				why := causeClientFIN
				if reset {
					why = causeClientRST
				}
				r.expect(map[stats.Counter]uint64{why.counter(): 1})
			})
		}
	})
}

// Whatever comes between the look at long Data and its splice: the splice takes what was looked at, and nothing else.
func TestLoopSplicesOnlyWhatItLookedAt(t *testing.T) {
	type scene struct {
		*loopRig
		p     pair
		data  []byte // what the client sends
		sent  int
		extra []byte // and what comes between
	}
	for name, c := range map[string]struct {
		act func(s *scene)
		end error
		why cause
	}{
		"bad bytes": {func(s *scene) {
			s.extra = []byte("\xff and the rest")
			if n := some(send, s.p[client], s.extra); n != len(s.extra) {
				s.t.Fatal("the client's socket is full")
			}
		}, nil, causeViolationRequest},
		"FIN":          {func(s *scene) { shutdownWrite(s.p[client]) }, nil, causeClientFIN},
		"RST":          {func(s *scene) { s.hangUp(s.p[client], true) }, unix.ECONNRESET, causeClientRST},
		"the server's": {func(s *scene) { s.hangUp(s.p[server], true) }, nil, causeServerRST},
	} {
		t.Run(name, func(t *testing.T) {
			eachEngine(t, func(t *testing.T, engine string) {
				r, k := newLongRig(t, engine, nil)
				s := &scene{loopRig: r, p: r.inLongData(k)}
				s.data = append([]byte("REQ 7 "), text(600<<10, 3)...)
				looked := 0
				k.looks = 0
				k.seen = func(_ int32, b []byte) {
					if looked += len(b); k.looks == 2 {
						k.seen = nil
						c.act(s)
					}
				}
				var got []byte
				buf := make([]byte, 1<<20)
				for k.seen != nil { // little by little, so that all of it has come when it is looked at
					if s.sent < len(s.data) {
						s.sent += some(send, s.p[client], s.data[s.sent:min(len(s.data), s.sent+100<<10)])
					}
					r.turn()
					if k.seen != nil {
						got = append(got, buf[:some(recv, s.p[server], buf)]...)
					}
				}
				if c.why == causeServerRST {
					r.until("reset at the client", func() bool {
						_, errno := recv(s.p[client], buf)
						return errno == unix.ECONNRESET
					})
					r.hangUp(s.p[client], false)
				} else {
					rest, end := r.pump(s.p, nil, 1<<30)
					got = append(got, rest...)
					if want := s.data[:s.sent]; !bytes.Equal(got, want) || len(got) < looked {
						t.Errorf("%d bytes arrive of %d, or others; %d were looked at", len(got), len(want), looked)
					}
					if end == unix.ECONNRESET != (c.end != nil) {
						t.Errorf("it ends with %v", end)
					}
					r.hangUp(s.p[server], false)
					if c.end == nil {
						r.hangUp(s.p[client], false)
					}
				}
				r.gone()
				r.expect(map[stats.Counter]uint64{c.why.counter(): 1})
				if l := r.core.pipes; l.made != l.spare {
					t.Errorf("%d pipes are left behind", l.made-l.spare)
				}
			})
		})
	}
}

// A violation in the middle of a long line that is only looked at: with the policy close nothing goes on from there, what is left of it is
// dropped, and nothing of the other side's is lost; with forward all of it goes on.
func TestLoopSplicesUpToAViolation(t *testing.T) {
	bad := []byte("\xff and so on")
	line := append([]byte("REQ 8 "), text(300<<10, 4)...)
	data := bytes.Join([][]byte{longLines("REQ", 512<<10, 512<<10), line, bad, text(200<<10, 5), []byte("\nREQ 9 good\n")}, nil)
	valid := 512<<10 + len(line)
	eachEngine(t, func(t *testing.T, engine string) {
		for _, policy := range []string{Close, Forward} {
			t.Run(policy, func(t *testing.T) {
				r, k := newLongRig(t, engine, func(cfg *Config) { cfg.OnViolation = policy })
				p := r.inLongData(k)
				s := r.only()
				before, seen := r.core.local, false
				k.seen = func(_ int32, b []byte) { seen = seen || bytes.Contains(b, bad[:1]) }
				want := data
				if policy == Close {
					want = data[:valid]
				}
				got, end := r.pump(p, data, len(want))
				if policy == Close && len(got) == len(want) {
					var rest []byte
					rest, end = r.pump(p, nil, 1<<30)
					got = append(got, rest...)
				}
				if !bytes.Equal(got, want) || policy == Close && end != nil {
					t.Fatalf("%d bytes arrive, want %d, or others; the end is %v", len(got), len(want), end)
				}
				if !seen {
					t.Error("the violation was not in what was peeked at")
				}
				counts := map[stats.Counter]uint64{
					stats.Req: before[stats.Req] + 1, stats.Bad: 1, stats.BytesRequest: before[stats.BytesRequest] + uint64(len(want)),
				}
				if policy == Forward {
					counts[stats.Req]++
				}
				r.expect(counts)
				r.until("rest of the data taken out of the socket", func() bool {
					queued, err := unix.IoctlGetInt(int(s.fd[client]), unix.TIOCINQ)
					return err == nil && queued == 0
				})
				r.move(p, server, bytes.Repeat([]byte("ACK 1\n"), int(r.core.local[stats.Req])), make([]byte, 1<<10))
				if policy == Close {
					r.until("FIN at the client", func() bool {
						n, errno := recv(p[client], make([]byte, 1))
						return n == 0 && errno == 0
					})
				}
				r.endAll(p)
			})
		}
	})
}

// pollCounter counts the polls for something to read that a ring is given.
type pollCounter struct{ polls int }

func (h *pollCounter) Submission(e *ring.SQE) {
	if e.Opcode == ring.OpPollAdd && e.OpFlags&unix.POLLIN != 0 && ref(e.UserData).op() != opUnblock {
		h.polls++
	}
}
func (h *pollCounter) Completions([]ring.CQE) {}
func (h *pollCounter) Enter() unix.Errno      { return 0 }

// What is to be dropped waits behind what a pipe holds, and the loop rests meanwhile.
func TestLoopRestsWithAViolationBehindAFullPipe(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		r, k := newLongRig(t, engine, nil)
		p := r.inLongData(k)
		s := r.only()
		r.limit(unix.SO_SNDBUF, s.fd[server])
		r.limit(unix.SO_RCVBUF, p[server])
		polls := new(pollCounter)
		if e, ok := r.loop.(*uringEngine); ok {
			e.ring.SetHook(polls)
		}
		valid := append([]byte("REQ 1 "), text(60_000, 1)...)
		data := append(bytes.Clone(valid), "\xff, of which nothing goes on"...)
		if n := some(send, p[client], data); n != len(data) {
			t.Fatalf("the client's socket takes %d bytes", n)
		}
		for range 20 {
			r.turn()
		}
		if f := &s.flow[client]; f.pipe == nil || f.source == reading {
			t.Fatalf("no violation behind a pipe that holds something: %s", r.state())
		}
		some(send, p[client], []byte("nor of this"))
		for range 20 {
			r.turn()
		}
		polls.polls, k.recvs = 0, 0
		for range 20 {
			r.turn()
		}
		if polls.polls > 2 || k.recvs > 2 {
			t.Errorf("%d polls and %d receives while there is nothing to do", polls.polls, k.recvs)
		}
		if got, end := r.pump(p, nil, 1<<30); !bytes.Equal(got, valid) || end != nil {
			t.Errorf("%d bytes arrive, want %d, or others; the end is %v", len(got), len(valid), end)
		}
		r.endAll(p)
	})
}
