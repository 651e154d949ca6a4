package proxy

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"fooproxy/ring"
	"fooproxy/stats"
)

// What a turn has done can be seen right after it.
func TestLoopPublishesEveryTurn(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		r := newLoopRig(t, engine, nil)
		p := r.open()
		for n := uint64(1); n < 20; n++ {
			r.move(p, client, []byte("REQ 1\n"), make([]byte, 10))
			if got := r.proxy.stats.Snapshot(stats.Now()); got.Local[stats.Req] != n || got.Local[stats.Accepted] != 1 {
				t.Fatalf("%d requests are published after %d", got.Local[stats.Req], n)
			}
		}
	})
}

// A drain waits for connections, also for those that were in the accept queue, and takes no more.
func TestLoopDrains(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		r := newLoopRig(t, engine, nil)
		p := r.open()
		late := pair{r.dial(), -1} // waits in the accept queue
		r.worker.tell(orderDrain)
		r.until("connection from the accept queue", func() bool {
			late[server] = r.accepted()
			return late[server] >= 0
		})
		buf := make([]byte, 10)
		for _, q := range []pair{p, late} {
			r.move(q, client, []byte("REQ 1\n"), buf)
			r.move(q, server, []byte("ACK 1\n"), buf)
		}
		r.until("end of the listener", func() bool { return r.worker.listener < 0 })
		if fd := r.tryDial(); fd >= 0 {
			t.Error("the listener still takes clients")
		}
		for _, q := range []pair{p, late} {
			r.hangUp(q[client], false)
			r.hangUp(q[server], false)
		}
		r.until("end of the loop", func() bool { return r.over })
	})
}

// At maxconn clients wait, and each is served when a place becomes free.
func TestLoopGoesOnAcceptingAtTheLimit(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		const most = 2
		r := newLoopRig(t, engine, func(cfg *Config) { cfg.MaxConn = most })
		held := []pair{r.open(), r.open()}
		for range 5 {
			next := pair{r.dial(), -1}
			for range 20 {
				r.turn()
				if fd := r.accepted(); fd >= 0 || r.core.table.used > most {
					t.Fatal("a connection beyond the limit")
				}
			}
			r.hangUp(held[0][client], false)
			r.hangUp(held[0][server], false)
			r.until("next connection", func() bool {
				next[server] = r.accepted()
				return next[server] >= 0
			})
			r.move(next, client, []byte("REQ 1\n"), make([]byte, 6))
			held = append(held[1:], next)
		}
	})
}

// So many connections may come that there are more segments than a buffer of the ring has ids: those beyond do as well.
func TestLoopWithManySegments(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		const low = 1<<16 + 1000
		r := newLoopRig(t, engine, func(cfg *Config) { cfg.MaxConn = low })
		taken := make([]int32, 0, low)
		for range low {
			taken = append(taken, r.core.slab.get(ownFlow))
		}
		p, buf := r.open(), make([]byte, 1<<20)
		for seq := range 20 {
			request := fmt.Appendf(nil, "REQ %d %s\n", seq, strings.Repeat(string(rune('a'+seq)), 30_000*seq))
			r.move(p, client, request, buf)
			r.move(p, server, append([]byte("ACK"), request[3:]...), buf)
		}
		for _, id := range taken {
			r.core.slab.put(id, ownFlow)
		}
	})
}

// Nobody is idle for longer than the limit, as the loop's own clock and timers say.
func TestLoopClosesIdleSessions(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		r := newLoopRig(t, engine, func(cfg *Config) { cfg.TimeoutIdle = 20 * time.Millisecond })
		p := r.open()
		r.move(p, client, []byte("REQ 1\n"), make([]byte, 6))
		r.gone()
		r.expect(map[stats.Counter]uint64{causeIdle.counter(): 1})
	})
}

// More than a flow may move per wake-up is there at once, and no further event tells of it.
func TestLoopServesWhoWasOverBudget(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		r := newLoopRig(t, engine, nil)
		p := r.open()
		for _, fd := range []int32{p[client], p[server]} {
			for _, option := range []int{unix.SO_SNDBUFFORCE, unix.SO_RCVBUFFORCE} {
				if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, option, 16<<20); err != nil {
					t.Fatal(err)
				}
			}
		}
		r.core.table.each(func(s *session) {
			for _, fd := range s.fd {
				for _, option := range []int{unix.SO_SNDBUFFORCE, unix.SO_RCVBUFFORCE} {
					if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, option, 16<<20); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
		data := lines("REQ", 4<<20, 4000)
		sent := 0
		for quiet := 0; quiet < 100; quiet++ { // before the loop looks
			if n := some(send, p[client], data[sent:]); n > 0 {
				sent, quiet = sent+n, 0
			}
		}
		if sent < 2*readBudget {
			t.Fatalf("only %d bytes are taken at once", sent)
		}
		got, buf := 0, make([]byte, len(data))
		r.until("all that was sent at once", func() bool {
			got += some(recv, p[server], buf[got:])
			return got == sent
		})
		if !bytes.Equal(buf[:got], data[:got]) {
			t.Error("the data has changed")
		}
	})
}

// A cancel that found its receive just being served has not stopped it: the receive may be asked again, and its end is waited for.
func TestLoopAsksALateCancelAgain(t *testing.T) {
	r := newLoopRig(t, EngineUring, nil)
	r.open()
	e := r.worker.engine.(*uringEngine)
	r.core.table.each(func(s *session) {
		flying := s.eng.inFlight
		for _, errno := range []unix.Errno{0, unix.EALREADY} {
			s.eng.cancelled = [2]bool{true, true}
			s.eng.inFlight++
			e.onCancel(newRef(opCancel, s.gen, s.slot), &ring.CQE{Res: -int32(errno)})
			if again := errno != 0; s.eng.cancelled != [2]bool{!again, !again} || s.eng.inFlight != flying {
				t.Errorf("after %v: cancelled %v, %d in flight of %d", errno, s.eng.cancelled, s.eng.inFlight, flying)
			}
		}
	})
}

// A cancel of the accept that came too late is asked again, or the loop would never end.
func TestLoopDrainsWhenACancelIsLate(t *testing.T) {
	for seed := range 6 {
		r := newLoopRig(t, EngineUring, func(cfg *Config) { cfg.RingTest = fmt.Sprintf("faults=%d", seed+1) })
		r.turn()
		r.worker.tell(orderDrain)
		r.until("end of the loop", func() bool { return r.over })
	}
}

// Clients that wait in the accept queue while nobody accepts believe to be connected: a drain takes them.
func TestLoopEmptiesTheAcceptQueue(t *testing.T) {
	r := newLoopRig(t, EngineUring, nil)
	p := r.open()
	e := r.worker.engine.(*uringEngine)
	e.endAccept()
	e.acceptAt = e.now + int64(time.Hour)
	r.until("end of the accept", func() bool { return !e.accepting })
	late := pair{r.dial(), -1}
	r.worker.tell(orderDrain)
	r.until("connection from the accept queue", func() bool {
		late[server] = r.accepted()
		return late[server] >= 0
	})
	for _, q := range []pair{p, late} {
		r.move(q, client, []byte("REQ 1\n"), make([]byte, 6))
		r.hangUp(q[client], false)
		r.hangUp(q[server], false)
	}
	r.until("end of the loop", func() bool { return r.over })
}

// A socket that takes nothing now is no dead one: what is passed to it waits.
func TestLoopPassesToAFullSocket(t *testing.T) {
	r := newLoopRig(t, EngineUring, nil)
	p := r.open()
	r.move(p, client, []byte("REQ 1\n"), make([]byte, 6))
	e := r.worker.engine.(*uringEngine)
	r.core.table.each(func(s *session) {
		for chunk := make([]byte, 1<<20); ; {
			if _, errno := send(s.fd[server], chunk); errno == unix.EAGAIN {
				break
			}
		}
		e.pass(s, client, []byte("REQ 2\n"))
		if f := &s.flow[client]; f.queue.bytes != 6 || f.sink != open {
			t.Errorf("%d bytes wait, sink %d", f.queue.bytes, f.sink)
		}
	})
	r.hangUp(p[client], true)
	r.hangUp(p[server], true)
	r.gone()
}
