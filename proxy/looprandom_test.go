package proxy

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"fooproxy/codec"
	"fooproxy/ring/ringtest"
	"fooproxy/stats"
)

// talk is one connection through a real loop with a random course.
type talk struct {
	*loopRig
	pair
	stream [2]simStream
	sent   [2]int
	got    [2][]byte // by side: what it has received
	shut   [2]bool   // the side has sent FIN
	end    [2]bool   // the side has seen the end
	reset  [2]bool   // the side has been reset
}

// speak has a side send up to n bytes, and its FIN after the last of all.
func (k *talk) speak(from side, n int) {
	data := k.stream[from].data
	if k.shut[from] || k.reset[from] {
		return
	}
	k.sent[from] += some(send, k.pair[from], data[k.sent[from]:min(len(data), k.sent[from]+n)])
	if k.sent[from] == len(data) {
		shutdownWrite(k.pair[from])
		k.shut[from] = true
	}
}

// hear has a side receive up to n bytes.
func (k *talk) hear(at side, n int) {
	if k.end[at] || k.reset[at] {
		return
	}
	buf := make([]byte, n)
	switch n, errno := recv(k.pair[at], buf); {
	case errno == unix.EAGAIN:
	case errno != 0:
		k.reset[at] = true
	case n == 0:
		k.end[at] = true
	default:
		k.got[at] = append(k.got[at], buf[:n]...)
	}
}

// check compares what the sides have received with what was sent.
func (k *talk) check() {
	k.t.Helper()
	for at, got := range k.got {
		data := k.stream[at^1].data
		if len(got) > len(data) || string(got) != string(data[:len(got)]) {
			k.t.Fatalf("the %s has received other bytes than were sent to it", name(side(at)))
		}
		if k.end[at] && !k.shut[at^1] {
			k.t.Fatalf("the %s sees FIN, and the other side has sent none", name(side(at)))
		}
	}
}

// step does one thing.
func (k *talk) step(c chooser) {
	switch c.pick(6) {
	case 0, 1:
		k.speak(side(c.pick(2)), size(c, 64<<10))
	case 2:
		k.hear(side(c.pick(2)), size(c, 64<<10))
	default:
		k.turn()
	}
}

func (r *loopRig) talk(t *rapid.T) {
	outer := r.t
	r.t = t
	defer func() {
		for len(r.sockets) > 0 { // after a failure
			r.hangUp(r.sockets[0], true)
		}
		r.t = outer
		r.gone()
	}()
	c := newRapidChooser(t)
	k := &talk{loopRig: r, pair: r.open()}
	before := r.core.local
	lines, messages := c.pick(20), [2]uint64{}
	for d, dir := range [2]codec.Dir{codec.Requests, codec.Answers} {
		k.stream[d] = newSimStream(c, 0, dir, lines, 0)
		messages[d] = uint64(len(k.stream[d].lines))
		if oneIn(c, 3) {
			r.limit(unix.SO_RCVBUF, k.pair[d])
		}
	}
	for range c.pick(60) {
		k.step(c)
		k.check()
	}
	if oneIn(c, 3) {
		from := side(c.pick(2))
		r.hangUp(k.pair[from], true)
		k.reset[from] = true
		r.until("reset", func() bool {
			k.hear(from^1, 64<<10)
			return k.reset[from^1] || k.end[from^1]
		})
		k.check()
		r.hangUp(k.pair[from^1], false)
		r.gone()
		return
	}
	r.until("end of both streams", func() bool {
		for d := range k.pair {
			k.speak(side(d), 1<<20)
			k.hear(side(d), 64<<10)
		}
		k.check()
		return k.end[client] && k.end[server]
	})
	r.hangUp(k.pair[client], false)
	r.hangUp(k.pair[server], false)
	r.gone()
	for at, got := range k.got {
		if len(got) != len(k.stream[at^1].data) {
			t.Fatalf("the %s has %d of %d bytes", name(side(at)), len(got), len(k.stream[at^1].data))
		}
	}
	now := &r.core.local
	if now[stats.Req]-before[stats.Req] != messages[client] ||
		now[stats.Ack]+now[stats.Nak]-before[stats.Ack]-before[stats.Nak] != messages[server] || now[stats.Bad] != 0 {
		t.Fatalf("%d and %d messages were sent, counted are %v before and %v after", messages[client], messages[server], before, *now)
	}
}

// Random connections through real loops: also one on a ring that is small and bent by faults.
func TestLoopAgainstRandomPeers(t *testing.T) {
	kinds := map[string]func(*Config){
		"epoll":       func(cfg *Config) { cfg.Engine = EngineEpoll },
		"uring":       func(cfg *Config) { cfg.Engine = EngineUring },
		"faults":      func(cfg *Config) { cfg.Engine, cfg.RingTest = EngineUring, "sq=8 cq=16 buffers=4 faults=7" },
		"epoll, long": func(cfg *Config) { cfg.Engine, cfg.Splice, cfg.MaxPipes = EngineEpoll, SpliceOn, 8 },
		"uring, long": func(cfg *Config) { cfg.Engine, cfg.Splice, cfg.MaxPipes = EngineUring, SpliceOn, 8 },
	}
	for name, kind := range kinds {
		for _, buffer := range []int{segSize, 256 << 10} {
			t.Run(fmt.Sprintf("%s/%d", name, buffer), func(t *testing.T) {
				r := newLoopRig(t, "", func(cfg *Config) {
					kind(cfg)
					cfg.MaxBuffer = buffer
				})
				faults := ringtest.New(7, everyFault)
				if name == "faults" {
					r.loop.(*uringEngine).ring.SetHook(faults)
				}
				if r.core.mayPeek {
					r.direct().large = simLarge
				}
				missing := ""
				for round := range 100 { // what is rare needs many, or the kernel and the hook to meet, which is up to the time
					reseed(t, round)
					rapid.Check(t, r.talk)
					spliced := r.core.local[stats.BytesSpliced] > 0
					switch missing = missingFault(faults); {
					case spliced && !r.core.mayPeek:
						t.Fatal("data is spliced, and is to be copied")
					case name == "faults" && missing != "":
					case r.core.mayPeek && !spliced:
						missing = "that long Data is spliced"
					default:
						return
					}
				}
				t.Errorf("it never happened: %s", missing)
			})
		}
	}
}
