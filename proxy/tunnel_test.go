package proxy

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"

	"fooproxy/stats"
)

// newTunnelRig is a loop that tunnels everything, with so many pipes.
func newTunnelRig(t testing.TB, engine string, pipes int) *loopRig {
	t.Helper()
	return newLoopRig(t, engine, func(cfg *Config) {
		cfg.Tunnel, cfg.MaxPipes = true, pipes
	})
}

func noise(size int, seed byte) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// Every byte arrives both ways at once, whatever the sizes of the reads, whether spliced or copied.
func TestTunnelCarriesEveryByte(t *testing.T) {
	for _, pipes := range []int{8, 1, 0} {
		t.Run(fmt.Sprintf("%d pipes", pipes), func(t *testing.T) {
			eachEngine(t, func(t *testing.T, engine string) {
				r := newTunnelRig(t, engine, pipes)
				p := r.open()
				r.limit(unix.SO_RCVBUF, p[client])
				data := [2][]byte{noise(6<<20, 1), noise(5<<20, 2)}
				var sent [2]int
				var got [2][]byte
				random := rand.New(rand.NewPCG(1, 2))
				buf := make([]byte, 300<<10)
				r.until("every byte", func() bool {
					for d := range data {
						sent[d] += some(send, p[d], data[d][sent[d]:min(len(data[d]), sent[d]+1+random.IntN(300<<10))])
						n := some(recv, p[d^1], buf[:1+random.IntN(len(buf))])
						got[d] = append(got[d], buf[:n]...)
					}
					return len(got[client]) == len(data[client]) && len(got[server]) == len(data[server])
				})
				for d := range data {
					if !bytes.Equal(got[d], data[d]) {
						t.Errorf("what the %s sent arrives changed", name(side(d)))
					}
				}
				r.expect(map[stats.Counter]uint64{
					stats.BytesTunnelIn: 6 << 20, stats.BytesTunnelOut: 5 << 20, stats.ClassTunnel: 1, stats.Req: 0, stats.Bad: 0,
				})
				if copied := r.core.local[stats.NoPipe] > 0; copied != (pipes < 2) && pipes != 1 {
					t.Errorf("with %d pipes, for want of one %d reads were copied", pipes, r.core.local[stats.NoPipe])
				}
				r.noPipes(p)
			})
		})
	}
}

// noPipes ends a connection and looks that its pipes go with it.
func (r *loopRig) noPipes(p pair) {
	r.t.Helper()
	if l := &r.core.pipes; l.made != l.spare {
		r.t.Errorf("an idle tunnel has %d pipes", l.made-l.spare)
	}
	r.hangUp(p[client], false)
	r.hangUp(p[server], false)
	r.gone()
	if l := &r.core.pipes; l.made != 0 || l.free != nil {
		r.t.Errorf("%d pipes are left behind by the last tunnel", l.made)
	}
}

func TestTunnelRelaysEveryEnd(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		for _, first := range []side{client, server} {
			for _, reset := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%v", name(first), reset), func(t *testing.T) {
					r := newTunnelRig(t, engine, 4)
					p := r.open()
					buf := make([]byte, 100<<10)
					r.move(p, client, noise(3, 1), buf)
					r.move(p, server, noise(100<<10, 2), buf)
					r.end(p, first, reset)
					if !reset {
						r.move(p, first^1, noise(50<<10, 3), buf)
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

// What is in a pipe when its destination resets goes with it, the pipe too.
func TestTunnelLosesNoPipeToAReset(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		r := newTunnelRig(t, engine, 4)
		p := r.open()
		r.stall(p)
		if l := &r.core.pipes; l.made == l.spare {
			t.Fatal("nothing is held in a pipe")
		}
		r.hangUp(p[server], true)
		r.until("end of the stream", func() bool {
			_, errno := recv(p[client], make([]byte, 1))
			return errno != unix.EAGAIN
		})
		r.hangUp(p[client], false)
		r.gone()
		if l := r.core.pipes; l.made != 0 || l.size != 0 {
			t.Errorf("%d pipes for %d bytes are left behind", l.made, l.size)
		}
	})
}

// A tunnel that was decided by its first bytes, with a server that speaks meanwhile.
func TestTunnelBegunByItsFirstBytes(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		r := newLoopRig(t, engine, func(cfg *Config) { cfg.Arbitrary, cfg.MaxPipes = Tunnel, 4 })
		p := r.open()
		buf := make([]byte, 1<<20)
		if n, errno := send(p[client], []byte("RE")); n != 2 || errno != 0 {
			t.Fatal(n, errno)
		}
		r.move(p, server, []byte("ACK 1\n"), buf)
		if n, errno := send(p[client], []byte("X")); n != 1 || errno != 0 {
			t.Fatal(n, errno)
		}
		var got []byte
		r.until("first bytes", func() bool {
			got = append(got, buf[:some(recv, p[server], buf)]...)
			return len(got) == 3
		})
		if string(got) != "REX" {
			t.Errorf("the server receives %q", got)
		}
		r.move(p, server, noise(1<<20, 1), buf)
		r.move(p, client, noise(1<<20, 2), buf)
		r.expect(map[stats.Counter]uint64{stats.ClassTunnel: 1, stats.NoPipe: 0})
		r.noPipes(p)
	})
}

// A splice does not get past a byte that TCP calls urgent, a recv does; and a loop that has nothing to do does not look again and again.
func TestTunnelGoesOnPastAnUrgentByte(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		for _, pipes := range []int{4, 0} {
			t.Run(fmt.Sprint(pipes, " pipes"), func(t *testing.T) {
				r, k := newLongRig(t, engine, func(cfg *Config) { cfg.Tunnel, cfg.MaxPipes, cfg.Splice = true, pipes, SpliceOff })
				p := r.open()
				for i := range byte(5) {
					data := r.urgently(p[client], noise(60_000, i))
					if got, _ := r.pump(p, nil, len(data)); !bytes.Equal(got, data) {
						t.Fatalf("%d bytes arrive of %d, or others", len(got), len(data))
					}
				}
				r.urgently(p[client], nil)
				for range 20 {
					r.turn()
				}
				k.calls = 0
				for range 20 {
					r.turn()
				}
				if k.calls > 0 {
					t.Errorf("%d splices when there is nothing to move", k.calls)
				}
				r.expect(map[stats.Counter]uint64{stats.BytesTunnelIn: 300_006})
				r.noPipes(p)
			})
		}
	})
}

func TestTunnelAllocatesNothing(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		r := newTunnelRig(t, engine, 4)
		p := r.open()
		for _, size := range []int{16, 64 << 10} {
			data, buf := noise(size, 1), make([]byte, size)
			round := func() {
				r.move(p, client, data, buf)
				r.move(p, server, data, buf)
			}
			for range 20 {
				round()
			}
			if n := testing.AllocsPerRun(50, round); n != 0 && !raceDetector {
				t.Errorf("%d bytes: %v allocations", size, n)
			}
		}
	})
}
