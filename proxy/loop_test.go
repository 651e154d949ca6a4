package proxy

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"fooproxy/stats"
)

// lines makes size bytes of messages of length bytes each, numbered from 1.
func lines(typ string, size, length int) []byte {
	var b []byte
	for seq := 1; len(b)+length <= size; seq++ {
		text := fmt.Sprintf("%s %d ", typ, seq)
		b = append(b, text...)
		b = append(b, bytes.Repeat([]byte{'x'}, length-len(text)-1)...)
		b = append(b, '\n')
	}
	return b
}

// A message there and back, and 64 KiB each way, allocate nothing: with counting only, and with everything logged.
func TestLoopAllocatesNothing(t *testing.T) {
	logs := map[string]func(*Config){
		"counts": nil,
		"log":    func(cfg *Config) { cfg.Log = "/dev/null" },
	}
	sizes := []struct{ size, length int }{{16, 16}, {64 << 10, 64}, {64 << 10, 64 << 10}}
	eachEngine(t, func(t *testing.T, engine string) {
		for name, change := range logs {
			for _, m := range sizes {
				t.Run(fmt.Sprintf("%s/%d of %d", name, m.size, m.length), func(t *testing.T) {
					r := newLoopRig(t, engine, change)
					p := r.open()
					requests, answers := lines("REQ", m.size, m.length), lines("ACK", m.size, m.length)
					buf := make([]byte, m.size)
					round := func() {
						r.move(p, client, requests, buf)
						r.move(p, server, answers, buf)
					}
					for range 20 { // until every list has its size
						round()
					}
					if n := testing.AllocsPerRun(50, round); n != 0 && !raceDetector {
						t.Errorf("%v allocations", n)
					}
					messages := uint64(20+51) * uint64(m.size/m.length)
					r.expect(map[stats.Counter]uint64{stats.Req: messages, stats.Ack: messages, stats.Bad: 0, stats.Unmatched: 0})
				})
			}
		}
	})
}

// shutdown and what the other side reads then.
func (r *loopRig) end(p pair, from side, reset bool) {
	r.t.Helper()
	if reset {
		r.hangUp(p[from], true)
	} else {
		shutdownWrite(p[from])
	}
	var got error
	r.until("end of the stream", func() bool {
		n, errno := recv(p[from^1], make([]byte, 1))
		if errno == unix.EAGAIN {
			return false
		}
		if n > 0 {
			r.t.Fatal("data after the end")
		}
		got = errno
		return true
	})
	if reset != (got == unix.ECONNRESET) {
		r.t.Errorf("the %s ends (reset %v), and the other side reads %v", name(from), reset, got)
	}
}

func TestLoopRelaysEveryEnd(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		for _, first := range []side{client, server} {
			for _, reset := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%v", name(first), reset), func(t *testing.T) {
					r := newLoopRig(t, engine, nil)
					p := r.open()
					buf := make([]byte, 100)
					r.move(p, client, []byte("REQ 1\n"), buf)
					r.move(p, server, []byte("ACK 1\n"), buf)
					r.end(p, first, reset)
					if !reset {
						late := [2]string{"REQ 2\n", "ACK 2\n"}[first^1]
						r.move(p, first^1, []byte(late), buf)
						r.end(p, first^1, false)
						r.hangUp(p[first], false)
					}
					r.hangUp(p[first^1], false)
					r.gone()
					why := causeClientFIN + cause(first)
					if reset {
						why = causeClientRST + cause(first)
					}
					r.expect(map[stats.Counter]uint64{why.counter(): 1, stats.Ended: 1})
				})
			}
		}
	})
}

// A side that has sent FIN is not read any more, but that it has gone for good must still be seen: nobody else may end the
// connection.
func TestLoopSeesAResetAfterFIN(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		for i, why := range []cause{causeClientFIN, causeServerFIN, causeClientFIN, causeServerFIN} {
			from, tunnel := side(i%2), i >= 2
			t.Run(fmt.Sprint(name(from), " tunnel=", tunnel), func(t *testing.T) {
				r := newLoopRig(t, engine, func(cfg *Config) { cfg.Tunnel = tunnel })
				p := r.open()
				r.move(p, client, []byte("REQ 1\n"), make([]byte, 100))
				r.end(p, from, false)
				r.hangUp(p[from], true)
				r.gone()
				if _, errno := recv(p[from^1], make([]byte, 1)); errno == unix.EAGAIN {
					t.Error("the other side knows nothing of the end")
				}
				r.expect(map[stats.Counter]uint64{why.counter(): 1})
			})
		}
	})
}

// A reader that stands still holds up its own peer within bounds, and loses nothing.
func TestLoopHoldsBackAFastSide(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		r := newLoopRig(t, engine, nil)
		p, other := r.open(), r.open()
		r.limit(unix.SO_RCVBUF, p[server])
		data, buf := lines("REQ", 16<<20, 4000), make([]byte, 16<<20)
		sent, still := 0, 0
		for still < 50 { // until nothing moves any more
			still++
			if n := some(send, p[client], data[sent:]); n > 0 {
				sent += n
				still = 0
			}
			r.turn()
			if held := (len(r.core.slab.segs) - r.core.slab.free) * segSize; held > 4*r.core.cfg.MaxBuffer {
				t.Fatalf("%d bytes of memory are held", held)
			}
		}
		if sent == len(data) {
			t.Error("everything was taken, and nobody reads")
		}
		if r.core.local[stats.ReadPauses] == 0 {
			t.Error("no pause is counted")
		}
		r.move(other, client, []byte("REQ 1\n"), make([]byte, 6)) // nobody else is held up
		got := 0
		r.until("rest of the data", func() bool {
			sent += some(send, p[client], data[sent:])
			got += some(recv, p[server], buf[got:])
			return got == len(data)
		})
		if !bytes.Equal(buf[:got], data) {
			t.Error("the data has changed")
		}
	})
}

// Connections in every state at the moment of the order.
func TestLoopStopsAtOnce(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		r := newLoopRig(t, engine, nil)
		for i := range 6 {
			p := r.open()
			if i%2 == 0 {
				_, _ = send(p[client], lines("REQ", 4<<20, 1000))
			}
			if i%3 == 0 {
				shutdownWrite(p[client])
			}
			r.turn()
		}
		r.dial() // not accepted yet
		r.worker.tell(orderStop)
		r.until("end of the loop", func() bool { return r.over })
	})
}

// A connection that comes while the loop is ending must not keep it.
func TestLoopEndsThoughAClientComes(t *testing.T) {
	for name, order := range map[string]int32{"quiet": orderQuiet, "stop": orderStop} {
		t.Run(name, func(t *testing.T) {
			eachEngine(t, func(t *testing.T, engine string) {
				r := newLoopRig(t, engine, nil)
				p := r.open() // keeps the loop from ending in its next turn
				r.worker.tell(order)
				r.turn()
				if late := r.tryDial(); late >= 0 { // the listener need not be closed yet
					r.until("end of the late client", func() bool {
						_, errno := recv(late, make([]byte, 1))
						return errno != unix.EAGAIN
					})
					r.hangUp(late, false)
				}
				r.hangUp(p[client], false)
				r.hangUp(p[server], false)
				r.until("end of the loop", func() bool {
					if fd := r.accepted(); fd >= 0 {
						r.hangUp(fd, false)
					}
					return r.over
				})
			})
		})
	}
}

// stall has the client of a connection send until nothing moves any more because the server does not read, with buffers so
// small that the kernel then has a part of what it was given.
func (r *loopRig) stall(p pair) {
	r.t.Helper()
	r.core.table.each(func(s *session) { r.limit(unix.SO_SNDBUF, s.fd[server]) })
	r.limit(unix.SO_RCVBUF, p[server])
	data := lines("REQ", 8<<20, 4000)
	for still := 0; still < 50; still++ {
		if n := some(send, p[client], data); n > 0 {
			data, still = data[n:], 0
		}
		r.turn()
	}
	if len(data) == 0 {
		r.t.Fatal("everything was taken, and nobody reads")
	}
}

// reads has the server read n bytes, so that a send in flight goes on by a part.
func (r *loopRig) reads(p pair, n int) {
	r.t.Helper()
	buf := make([]byte, 4000)
	r.until("data at the server", func() bool {
		n -= some(recv, p[server], buf)
		return n <= 0
	})
}

// Closing with RST destroys what the peer has not been sent yet, so the RST waits until the kernel has delivered everything.
func TestLoopDeliversWhatCameBeforeTheReset(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		r := newLoopRig(t, engine, nil)
		p := r.open()
		r.limit(unix.SO_RCVBUF, p[server])
		data := lines("REQ", 400<<10, 4000)
		for sent := 0; sent < len(data) || undelivered(p[client], unix.AF_INET) > 0; r.turn() {
			sent += some(send, p[client], data[sent:])
		}
		r.hangUp(p[client], true)
		for range 20 { // more than it takes to see the reset
			r.turn()
		}
		var got []byte
		buf := make([]byte, 64<<10)
		r.until("reset at the server", func() bool {
			n, errno := recv(p[server], buf)
			if errno == 0 && n == 0 {
				t.Error("the reset is relayed as FIN")
			}
			if errno == 0 {
				got = append(got, buf[:n]...)
			}
			return errno == unix.ECONNRESET
		})
		if !bytes.Equal(got, data) {
			t.Errorf("the server has %d of the %d bytes that came before the reset", len(got), len(data))
		}
		r.hangUp(p[server], false)
		r.gone()
	})
}

// The kernel tells a reset once. When that goes to a send that had sent a part, the receive ends as after FIN.
func TestLoopRelaysAResetThatASendHasSeen(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		r := newLoopRig(t, engine, nil)
		p := r.open()
		r.stall(p)
		r.reads(p, 100<<10)
		r.hangUp(p[server], true)
		r.until("end of the stream", func() bool {
			_, errno := recv(p[client], make([]byte, 1))
			if errno == 0 {
				t.Error("the reset reaches the client as FIN")
			}
			return errno != unix.EAGAIN
		})
		r.hangUp(p[client], false)
		r.gone()
		r.expect(map[stats.Counter]uint64{stats.EndServerRST: 1, stats.Ended: 1})
	})
}

// A connection whose bytes move is not idle, however slowly, even if they are all bytes of one send in flight.
func TestLoopKeepsASlowReader(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		r := newLoopRig(t, engine, func(cfg *Config) { cfg.TimeoutIdle = time.Hour })
		p := r.open()
		r.stall(p)
		before := r.core.now
		r.reads(p, 100<<10)
		r.core.table.each(func(s *session) {
			r.core.now = before + int64(time.Hour) // less than that after the last byte
			r.core.expire(s)
			if s.cause != causeNone {
				t.Errorf("ended with %v less than the limit after bytes have moved", s.cause)
			}
		})
		r.core.readClock()
	})
}
