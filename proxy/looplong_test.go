package proxy

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"fooproxy/stats"
)

// watchedKernel is Linux, with a look at what becomes of long Data.
type watchedKernel struct {
	linux
	rig   *loopRig
	looks int // that have shown something
	calls int // splices
	recvs int
	seen  func(fd int32, b []byte) // what comes between a look and what is done about it; may be nil
	fails func() syscall.Errno     // what becomes of a splice out of a socket, 0 = what does; may be nil
}

func (k *watchedKernel) peek(fd int32, buf []byte) (int, syscall.Errno) {
	n, errno := k.linux.peek(fd, buf)
	if n > 0 && errno == 0 {
		k.looks++
		if k.seen != nil {
			k.seen(fd, buf[:n])
		}
	}
	return n, errno
}

func (k *watchedKernel) recv(fd int32, buf []byte) (int, syscall.Errno) {
	k.recvs++
	return k.linux.recv(fd, buf)
}

func (k *watchedKernel) splice(from, to int32, most int) (int, syscall.Errno) {
	k.calls++
	if s := k.rig.only(); k.fails != nil && (from == s.fd[client] || from == s.fd[server]) {
		if errno := k.fails(); errno != 0 {
			return -1, errno
		}
	}
	return k.linux.splice(from, to, most)
}

// newLongRig is a loop that splices long Data.
func newLongRig(t testing.TB, engine string, change func(*Config)) (*loopRig, *watchedKernel) {
	t.Helper()
	r := newLoopRig(t, engine, func(cfg *Config) {
		cfg.Splice, cfg.MaxPipes = SpliceOn, 8
		if change != nil {
			change(cfg)
		}
	})
	k := &watchedKernel{rig: r}
	r.core.sys, r.core.pipes.sys = k, k
	return r, k
}

// text is Data that does not repeat.
func text(size int, seed byte) []byte {
	return []byte(base64.RawStdEncoding.EncodeToString(noise(size, seed)))[:size]
}

// longLines is lines whose Data tells its place.
func longLines(typ string, size, length int) []byte {
	b, data := lines(typ, size, length), text(size, typ[0])
	for i := range b {
		if b[i] == 'x' {
			b[i] = data[i]
		}
	}
	return b
}

// only is the loop's only session.
func (r *loopRig) only() (s *session) {
	r.core.table.each(func(open *session) { s = open })
	return s
}

// spliced wants at least a share of the bytes that went through to have been spliced: those before it is known that they are long were not.
func (r *loopRig) spliced(share float64) {
	r.t.Helper()
	n, all := r.core.local[stats.BytesSpliced], r.core.local[stats.BytesRequest]+r.core.local[stats.BytesResponse]
	if n > all || float64(n) < share*float64(all) || n == 0 {
		r.t.Errorf("%d bytes of %d are spliced, want a share of %.2f", n, all, share)
	}
}

// endAll ends a connection and looks that no flow keeps its pipe.
func (r *loopRig) endAll(p pair) {
	r.t.Helper()
	r.hangUp(p[client], false)
	r.hangUp(p[server], false)
	r.gone()
	if l := &r.core.pipes; l.made != l.spare {
		r.t.Errorf("%d pipes are left behind", l.made-l.spare)
	}
}

// Long Data goes on within the kernel, both ways, and every byte of it is what it was; it is counted, matched and logged as ever.
func TestLoopSplicesLongData(t *testing.T) {
	kinds := map[string]func(*Config){
		"counts":      nil,
		"log":         func(cfg *Config) { cfg.Log, cfg.LogData = "/dev/null", 20 },
		"tracked":     func(cfg *Config) { cfg.Track = true },
		"cork":        func(cfg *Config) { cfg.Cork = true },
		"one pipe":    func(cfg *Config) { cfg.MaxPipes = 1 },
		"max-pending": func(cfg *Config) { cfg.MaxPending = 1 << 20 },
		"no bundles":  func(cfg *Config) { cfg.RingTest = "without=recv-bundle" }, // before Linux 6.10
	}
	const total = 8 << 20
	eachEngine(t, func(t *testing.T, engine string) {
		for name, change := range kinds {
			for _, length := range []int{1 << 20, 16 << 10} {
				t.Run(fmt.Sprintf("%s/%d", name, length), func(t *testing.T) {
					r, _ := newLongRig(t, engine, change)
					p, buf := r.open(), make([]byte, total)
					r.move(p, client, longLines("REQ", total, length), buf)
					before := r.core.local[stats.BytesSpliced]
					if limited := r.core.cfg.MaxPending > 0; (before == 0) != limited { // a receive brings no more than a segment then
						t.Errorf("%d bytes of the requests are spliced", before)
					}
					r.move(p, server, longLines("ACK", total, length), buf)
					if r.core.local[stats.BytesSpliced]-before < total/2 {
						t.Errorf("%d bytes of the answers are spliced", r.core.local[stats.BytesSpliced]-before)
					}
					messages := uint64(total / length)
					r.expect(map[stats.Counter]uint64{
						stats.Req: messages, stats.Ack: messages, stats.Bad: 0, stats.Unmatched: 0, stats.NoPipe: 0,
						stats.BytesRequest: total, stats.BytesResponse: total,
					})
					r.spliced(0.25)
					r.endAll(p)
				})
			}
		}
	})
}

// The same over unix sockets, which are for SpliceOn only.
func TestLoopSplicesOverUnixSockets(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		dir := t.TempDir()
		at, err := parseAddress("unix:" + dir + "/server")
		if err != nil {
			t.Fatal(err)
		}
		r, _ := newLongRig(t, engine, func(cfg *Config) { cfg.Listen, cfg.Forward = "unix:"+dir+"/client", at.String() })
		_ = unix.Close(r.upstream)
		if r.upstream, err = listen(at, r.core.cfg, shareNot); err != nil {
			t.Fatal(err)
		}
		p, buf := r.open(), make([]byte, 8<<20)
		r.move(p, client, longLines("REQ", 8<<20, 64<<10), buf)
		r.move(p, server, longLines("ACK", 8<<20, 1<<20), buf)
		r.expect(map[stats.Counter]uint64{stats.Req: 128, stats.Ack: 8, stats.BytesRequest: 8 << 20, stats.BytesResponse: 8 << 20})
		r.spliced(0.5)
		r.endAll(p)
	})
}

// What comes in small messages is copied, however much of it comes at once.
func TestLoopSplicesNoSmallMessages(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		for _, length := range []int{64, 1 << 10, 4 << 10} {
			t.Run(fmt.Sprint(length), func(t *testing.T) {
				r, k := newLongRig(t, engine, nil)
				p, buf := r.open(), make([]byte, 8<<20)
				r.move(p, client, longLines("REQ", 8<<20, length), buf)
				r.move(p, server, longLines("ACK", 8<<20, length), buf)
				if r.expect(map[stats.Counter]uint64{stats.BytesSpliced: 0, stats.BytesRequest: 8 << 20}); k.looks > 0 {
					t.Errorf("small messages are looked at %d times", k.looks)
				}
			})
		}
	})
}

// A flow is in the middle of long Data until many lines end in what one receive brings, or for a few receives that bring little.
func TestLoopLeavesLongData(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		r, k := newLongRig(t, engine, nil)
		p, buf := r.open(), make([]byte, 4<<20)
		s := r.only()
		long := func() {
			for i := 0; s.eng.long[client] != longPatience; i++ {
				if i == 10 {
					t.Fatal("never in the middle of long Data")
				}
				r.move(p, client, longLines("REQ", 1<<20, 1<<20), buf)
			}
			k.looks = 0
		}
		long()
		r.move(p, client, longLines("REQ", 1<<20, 1<<10), buf)
		if s.eng.long[client] != 0 || k.looks > 3 {
			t.Errorf("lines of 1 KiB leave a flow in the middle of long Data: %d, after %d looks", s.eng.long[client], k.looks)
		}
		long()
		small := []byte("REQ 1\n")
		for range 3 * longPatience {
			r.move(p, client, small, buf)
		}
		if k.looks > longPatience || engine == EngineEpoll && s.eng.long[client] != 0 { // the ring receives what is not in bulk
			t.Errorf("%d small messages leave a flow in the middle of long Data: %d, after %d looks", 3*longPatience, s.eng.long[client], k.looks)
		}
	})
}

// Without pipes all is copied, and counted.
func TestLoopCopiesLongDataWithoutPipes(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		r, _ := newLongRig(t, engine, func(cfg *Config) { cfg.MaxPipes = 0 })
		p, buf := r.open(), make([]byte, 8<<20)
		r.limit(unix.SO_RCVBUF, p[server])
		r.move(p, client, longLines("REQ", 8<<20, 1<<20), buf)
		r.expect(map[stats.Counter]uint64{stats.Req: 8, stats.BytesRequest: 8 << 20, stats.BytesSpliced: 0})
		if r.core.local[stats.NoPipe] == 0 {
			t.Error("not counted")
		}
		r.endAll(p)
	})
}

// A splice that gets nothing across leaves all to a copy, whatever the reason.
func TestLoopCopiesWhatASpliceLeaves(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		for _, why := range []syscall.Errno{unix.EAGAIN, unix.EINTR, unix.EINVAL} {
			t.Run(why.Error(), func(t *testing.T) {
				r, k := newLongRig(t, engine, nil)
				p, buf := r.open(), make([]byte, 8<<20)
				k.fails = func() syscall.Errno {
					if k.looks%3 == 0 {
						return 0
					}
					return why
				}
				r.move(p, client, longLines("REQ", 8<<20, 1<<20), buf)
				r.expect(map[stats.Counter]uint64{stats.Req: 8, stats.BytesRequest: 8 << 20, stats.NoPipe: 0})
				if n := r.core.local[stats.BytesSpliced]; n == 0 || n > 6<<20 {
					t.Errorf("%d bytes are spliced", n)
				}
				r.endAll(p)
			})
		}
	})
}

// Single bytes, which take a page of a pipe each, fill it while the destination takes no more: those behind them are copied, and come
// after them.
func TestLoopCopiesWhatAPipeHasNoRoomFor(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		r, k := newLongRig(t, engine, nil)
		p, buf := r.open(), make([]byte, 4<<20)
		s := r.only()
		r.inLongDataOf(p, k)
		other := r.open()
		r.move(other, client, []byte("REQ 1 "), buf)
		r.limit(unix.SO_SNDBUF, s.fd[server])
		r.limit(unix.SO_RCVBUF, p[server])
		line := append([]byte("REQ 2 "), text(1<<20, 1)...)
		f, sent := &s.flow[client], 0
		var got []byte
		hear := func() {
			got = append(got, buf[:some(recv, p[server], buf)]...)
			some(recv, other[server], buf)
		}
		for f.pipe == nil || f.queue.bytes == 0 {
			if sent > len(line)-3000 {
				t.Fatalf("no pipe with bytes in a queue behind it: %s", r.state())
			}
			for range 2000 { // in turn, so that the kernel finds no neighbours to join
				some(send, other[client], []byte{'x'})
				sent += some(send, p[client], line[sent:sent+1])
			}
			for range 4 {
				r.turn()
			}
			if f.held() && f.queue.bytes == 0 { // all of it has just fitted
				hear()
			}
		}
		t.Logf("%d bytes in a pipe of %d pages, %d behind it", f.pipe.held, f.pipe.pages(), f.queue.bytes)
		line = append(line[:sent], '\n')
		r.until("all that was sent", func() bool {
			sent += some(send, p[client], line[sent:])
			hear()
			return len(got) == len(line)
		})
		if !bytes.Equal(got, line) {
			t.Error("the bytes have changed on their way")
		}
	})
}

// Nothing is allocated per message, whatever it is of.
func TestLoopSplicingAllocatesNothing(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		for name, change := range map[string]func(*Config){"counts": nil, "log": func(cfg *Config) { cfg.Log = "/dev/null" }} {
			for _, length := range []int{1 << 20, 16 << 10} {
				t.Run(fmt.Sprintf("%s/%d", name, length), func(t *testing.T) {
					r, _ := newLongRig(t, engine, change)
					p, buf := r.open(), make([]byte, 1<<20)
					requests, answers := longLines("REQ", 1<<20, length), longLines("ACK", 1<<20, length)
					round := func() {
						r.move(p, client, requests, buf)
						r.move(p, server, answers, buf)
					}
					for range 20 {
						round()
					}
					before := r.core.local[stats.BytesSpliced]
					if n := testing.AllocsPerRun(50, round); n != 0 && !raceDetector {
						t.Errorf("%v allocations", n)
					}
					if n := r.core.local[stats.BytesSpliced] - before; n < 51<<20 {
						t.Errorf("%d bytes of %d are spliced", n, 102<<20)
					}
				})
			}
		}
	})
}
