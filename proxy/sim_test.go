package proxy

import (
	"flag"
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"fooproxy/accesslog"
	"fooproxy/stats"
)

// The simulator: sessions driven by a fake engine, over fake sockets, with a fake clock, in one goroutine. A chooser picks
// who speaks, how much arrives, what the kernel takes, which completions come and in which order, who ends how and when.
// After every step what must always hold is compared with an oracle that knows the streams by the way they were made.

// simulate plays one run on a part of memory and returns how many events it had.
func simulate(t failer, c chooser, memory *slab, style func(*simWorld) simStyle) int {
	cfg, segs, tracked := simShape(c)
	w := &simWorld{failer: t, chooser: c, core: newBareCore(&cfg, part(memory, segs), 2*simConns)}
	w.table.genFirst = genMask - uint32(c.pick(4)) // generations wrap
	if tracked {
		w.enableTracking()
	}
	for d := range w.domain {
		if oneIn(c, 4) {
			w.domain[d], w.rights[d] = unix.AF_UNIX, true
		}
	}
	w.sys = simKernel{w}
	w.core.pipes = pipePool{sys: w.sys, most: cfg.MaxPipes}
	w.mayPeek = cfg.Splice != SpliceOff // auto as on a processor where it pays
	if oneIn(c, 3) {
		w.atOnce = segSize // what is copied comes in smaller pieces than what is peeked at
	}
	w.style = style(w)
	defer w.style.close()
	for range c.pick(simSteps) {
		w.step()
		w.check()
	}
	w.settle()
	w.checkEmpty()
	return w.events
}

// step lets one thing happen.
func (w *simWorld) step() {
	live := 0
	for _, cn := range w.conns {
		if cn.s != nil {
			live++
		}
	}
	switch n := w.pick(16); {
	case live < simConns && len(w.conns) < simTotal && (n < 2 || live == 0):
		w.open()
	case n < 10 && live > 0:
		if cn := w.conns[w.pick(len(w.conns))]; cn.s != nil {
			w.act(cn, side(w.pick(2)), false)
		}
	case n < 14:
		w.style.turn(false)
	case n == 14:
		w.pass(int64([...]time.Duration{
			100 * time.Microsecond, time.Millisecond, 7 * time.Millisecond, 60 * time.Millisecond, 1100 * time.Millisecond,
		}[w.pick(5)]))
		w.style.turn(false)
	case oneIn(w, 8):
		w.order()
	default:
		w.lull()
	}
}

// lull has all peers keep still for longer than the engines take to look for one that has gone, as some of them do now.
func (w *simWorld) lull() {
	for _, cn := range w.conns {
		for d := range cn.sock {
			if k := &cn.sock[d]; k.ending == endsTwice && k.fin && !k.rst && !k.closed && oneIn(w, 2) {
				k.reset()
				k.resetAt = w.now
				w.event(cn, side(d), "peer resets", 0)
			}
		}
	}
	for range 4 {
		w.pass(int64(60 * time.Millisecond))
		w.style.turn(true)
		w.check()
	}
}

func (w *simWorld) act(cn *simConn, d side, eager bool) {
	k := &cn.sock[d]
	if !k.rst {
		k.resetAt = w.now // if it comes now
	}
	if cn.act(w, d, eager) {
		w.event(cn, d, "peer acts", k.sent)
	} else {
		w.events++
	}
}

func (w *simWorld) pass(ns int64) {
	w.now += ns
	w.wheel.skip(w.now)
}

// order tells a session to take no more requests, or to end at once.
func (w *simWorld) order() {
	cn := w.conns[w.pick(len(w.conns))]
	if cn.s == nil {
		return
	}
	w.note(cn, causeStopped)
	if oneIn(w, 3) {
		w.event(cn, client, "killed", 0)
		cn.killed = true
		w.kill(cn.s, causeStopped)
	} else {
		w.event(cn, client, "stopped", 0)
		cn.stopped = true
		cn.moved = w.now
		w.stopRequests(cn.s, causeStopped)
	}
	w.style.touch(cn)
}

// settle has all peers say and hear the rest and end; then every session must end too, and without waiting for a limit.
func (w *simWorld) settle() {
	start, moves, still := w.now, -1, 0
	for _, cn := range w.conns {
		for d := range cn.sock {
			cn.sock[d].space = max(cn.sock[d].space, []int{64 * segSize, segSize, 1000}[w.pick(3)])
		}
	}
	for turn := 0; ; turn++ {
		live := false
		for _, cn := range w.conns {
			if cn.s == nil {
				continue
			}
			live = true
			for d := range cn.sock {
				w.act(cn, side(d), true)
			}
		}
		if !live && w.style.idle() {
			return
		}
		if turn > simTurns || w.now-start > lingerLimit/2 {
			w.Fatalf("%d sessions do not end after their peers have", w.table.used)
		}
		w.style.turn(true)
		w.check()
		if still++; w.moves != moves {
			still = 0
		}
		if moves = w.moves; still > 4 { // longer than it takes to arm a receive again
			w.pass(max(int64(w.wheel.wait(w.now)), int64(time.Millisecond)))
		}
	}
}

var simStyles = map[string]func(*simWorld) simStyle{
	"epoll": func(w *simWorld) simStyle { return newSimEpoll(w) },
	"uring": func(w *simWorld) simStyle { return newSimUring(w) },
}

// manyChecks has rapid check a property n times as often as it is set to.
func manyChecks(t *testing.T, n int, property func(*rapid.T)) {
	t.Helper()
	checks := flag.Lookup("rapid.checks").Value
	usual := checks.String()
	number, err := strconv.Atoi(usual)
	if err != nil {
		t.Fatal(err)
	}
	if err := checks.Set(strconv.Itoa(number * n)); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = checks.Set(usual) }()
	rapid.Check(t, property)
}

func TestSimulation(t *testing.T) {
	for name, style := range simStyles {
		t.Run(name, func(t *testing.T) {
			memory := newTestSlab(t, simHighest)
			manyChecks(t, 8, func(t *rapid.T) { simulate(t, newRapidChooser(t), memory, style) })
		})
	}
}

// All figures are a function of the log: adding up its lines gives the loop's counters.
func TestSimulationAgainstItsLog(t *testing.T) {
	for name, style := range simStyles {
		t.Run(name, func(t *testing.T) {
			path := t.TempDir() + "/log"
			l, err := accesslog.Open(accesslog.Options{Path: path, Overflow: accesslog.Block, Rings: 1})
			if err != nil {
				t.Fatal(err)
			}
			memory := newTestSlab(t, simHighest)
			var sum stats.Local
			for seed := range uint64(200) {
				var w *simWorld
				simulate(t, newSeedChooser(seed), memory, func(world *simWorld) simStyle {
					w = world
					w.log = l.Ring(0)
					w.enableTracking()
					return style(w)
				})
				for i, n := range w.local {
					sum[i] += n
				}
			}
			l.Ring(0).Flush()
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			file, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			var got accesslog.Totals
			if err := got.Read(file, nil); err != nil {
				t.Fatal(err)
			}
			if got.Req != sum[stats.Req] || got.Ack != sum[stats.Ack] || got.Nak != sum[stats.Nak] || got.Bad != sum[stats.Bad] ||
				got.Ended.Connections != sum[stats.Ended] || got.Unmatched != sum[stats.Unmatched] || got.Malformed != 0 {
				t.Errorf("the log adds up to %+v, the counters to %v", got, sum)
			}
			if got.Req == 0 || got.Bad == 0 || got.Unmatched == 0 {
				t.Errorf("the simulation had none of something: %+v", got)
			}
			if missing := got.Missing(); len(missing) > 0 {
				t.Errorf("a complete log is said not to be: %q", missing)
			}
		})
	}
}

// A simulation that never gets somewhere shows nothing about it.
func TestSimulationMeetsTunnelsAndLoans(t *testing.T) {
	for name, style := range simStyles {
		t.Run(name, func(t *testing.T) {
			memory := newTestSlab(t, simHighest)
			var sum stats.Local
			spliced := 0
			for seed := range uint64(300) {
				var w *simWorld
				simulate(t, newSeedChooser(seed), memory, func(world *simWorld) simStyle {
					w = world
					return style(w)
				})
				for i, n := range w.local {
					sum[i] += n
				}
				spliced += w.spliced
			}
			if spliced == 0 || sum[stats.NoPipe] == 0 {
				t.Errorf("%d bytes are spliced, for want of a pipe %d reads are copied", spliced, sum[stats.NoPipe])
			}
			for _, c := range [...]stats.Counter{stats.ZeroCopySends, stats.ZeroCopyCopied, stats.ZeroCopyDenied, stats.NoBuffer} {
				if (sum[c] > 0) != (name == EngineUring) {
					t.Errorf("%v is %d", c, sum[c])
				}
			}
		})
	}
}

// One operation is one event: something arrives, is sent, ends, fires, completes.
func BenchmarkSimulation(b *testing.B) {
	for name, style := range simStyles {
		b.Run(name, func(b *testing.B) {
			memory := newTestSlab(b, simHighest)
			seed := uint64(0)
			for events := 0; events < b.N; seed++ {
				events += simulate(b, newSeedChooser(seed), memory, style)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
