package e2e

import (
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Long Data that goes on within the kernel once it is inspected, --splice: what can happen to it that cannot to what is copied. What
// can happen to both is in the tests that run both ways, see eachWay.

// longPair is pair with both flows in the middle of long Data: what they receive next is peeked at, if that is what the subject
// does. As many requests have been sent as answers.
func (p *proxy) longPair(u *upstream) (c, s *peer) {
	p.t.Helper()
	c, s = p.pair(u)
	p.becomesLong(c, s)
	return c, s
}

// becomesLong has a client and its server send lines of a MiB until most of both is spliced, or one each where none will be.
func (p *proxy) becomesLong(c, s *peer) {
	p.t.Helper()
	const size = 1 << 20
	last := p.stats()["spliced_bytes"]
	eventually(p.t, "most of two long lines has gone on within the kernel", func() bool {
		ok(p.t, together(
			func() error { return c.sendAll(requests(0, 1, size)) },
			func() error { return s.expect(requests(0, 1, size)) },
		))
		ok(p.t, together(
			func() error { return s.sendAll(acks(0, 1, size)) },
			func() error { return c.expect(acks(0, 1, size)) },
		))
		before := last
		last = p.stats()["spliced_bytes"]
		return !splices(p.engine) || last-before > size*3/2
	})
}

// Short lines are copied however many come at once: for many small pieces of memory a pipe costs more than a copy.
func TestShortLinesAreCopied(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr, "--splice=on")
		c, s := p.pair(u)
		const n, size = 4000, 4000
		ok(t, together(
			func() error { return c.sendAll(requests(1, n, size)) },
			func() error { return s.expect(requests(1, n, size)) },
			func() error { return s.sendAll(acks(1, n, size)) },
			func() error { return c.expect(acks(1, n, size)) },
		))
		finish(t, c, s)
		p.reaches(stats{"connections": 0, "spliced_bytes": 0})
	})
}

// More clients are stuck in the middle of long Data than there are pipes: what finds none is copied, memory stays within the
// formula, and when the servers read on every byte arrives.
func TestPipesRunOut(t *testing.T) {
	alone(t, spliced(), func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := launchPlain(t, engine, u.addr, []string{oneLoop})
		t.Cleanup(p.check)
		k := measured(t, p, u)
		const n, first, rest, size = 100, 3, 12, 512 << 10
		clients, servers := make([]*peer, n), make([]*peer, n)
		for i := range n {
			clients[i], servers[i] = p.pair(u)
			ok(t, servers[i].stream.(*net.TCPConn).SetReadBuffer(64<<10))
			ok(t, clients[i].stream.(*net.TCPConn).SetWriteBuffer(256<<10))
		}
		poured := make(chan error, 1)
		go func() {
			poured <- forAll(n, func(i int) error { return clients[i].sendAll(requests(i, first+rest, size)) })
		}()
		streams := make([]*messages, n)
		ok(t, forAll(n, func(i int) error {
			streams[i] = requests(i, first+rest, size)
			return servers[i].expect(io.LimitReader(streams[i], first*size))
		}))
		eventually(t, "pipes have run out", func() bool { return p.stats()["no_pipe"] > 0 })
		steady(t, "the bytes in pipes", func() int64 { return int64(p.piped()) })
		if held, piped := p.stats()["buffered_bytes"], p.piped(); piped == 0 || held <= float64(piped) {
			t.Errorf("%v bytes are held, %d of them in pipes", held, piped)
		}
		l, _ := p.flags()
		l.loops, l.conns, l.flows, l.stalled = 1, n+1, 2*(n+1), n
		p.within("more stalled clients than pipes", l)
		k.holds("more stalled clients than pipes")
		ok(t, forAll(n, func(i int) error { return errors.Join(servers[i].widen(), servers[i].expect(streams[i])) }))
		ok(t, <-poured)
		p.reaches(stats{"buffered_bytes": 0, "msg_req": n * (first + rest)})
		for i := range n {
			finish(t, clients[i], servers[i])
		}
		k.check()
	})
}

// In the middle of long Data come single bytes: one after the other, many at once that the kernel has not joined, so that few of
// them fill a pipe, and to a reader who takes them one by one.
func TestLongDataByteByByte(t *testing.T) {
	eachWay(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr, "--max-line=0", oneLoop)
		beside(t, p, u)
		for _, from := range []byte{'c', 's'} {
			var w, r [2]*peer
			var m [2]*messages // as it is to arrive
			for i := range w {
				c, s := p.longPair(u)
				w[i], r[i] = sides(from, c, s)
				m[i] = &messages{typ: typeOf[from], conn: i, n: 1, size: 4 << 20}
			}
			line := [2][]byte{m[0].bytes(), m[1].bytes()}
			at := 0
			both := func(n int, write func(w *peer, b []byte) error) { // sends the next n bytes of either line
				ok(t, together(
					func() error { return write(w[0], line[0][at:at+n]) },
					func() error { return write(w[1], line[1][at:at+n]) },
					func() error { return r[0].expectBytes(line[0][at : at+n]) },
					func() error { return r[1].expectBytes(line[1][at : at+n]) },
				))
				at += n
			}
			single := func(w *peer, b []byte) error { return w.sendSegments(b, 1) }
			both(1<<20, (*peer).send)
			both(10, single) // fewer than make it forget that it is in long Data
			both(1<<20, (*peer).send)
			both(2000, single)
			both(1<<20, (*peer).send)
			const bytes, more = 600, 300 << 10
			p.signal(syscall.SIGSTOP)
			for i := range bytes {
				ok(t, errors.Join(w[0].send(line[0][at+i:at+i+1]), w[1].send(line[1][at+i:at+i+1])))
			}
			at += bytes
			ok(t, errors.Join(w[0].send(line[0][at:at+more]), w[1].send(line[1][at:at+more])))
			p.signal(syscall.SIGCONT)
			at += more
			for i := range r {
				for b := range line[i][at-bytes-more : at-more] {
					ok(t, r[i].expectBytes(line[i][at-bytes-more+b:at-bytes-more+b+1]))
				}
				ok(t, r[i].expectBytes(line[i][at-more:at]))
			}
			both(len(line[0])-at, (*peer).send)
			for i := range w {
				finish(t, w[i], r[i])
			}
		}
		p.reaches(stats{"connections": 0, "buffered_bytes": 0, "bad": 0})
	})
}

// Without descriptors for pipes long Data is copied; once there are some it goes on within the kernel.
func TestNoDescriptorsForPipes(t *testing.T) {
	eachSpliced(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr, oneLoop)
		beside(t, p, u)
		c, s := p.pair(u)
		ok(t, c.send([]byte("REQ 0\n")))
		ok(t, s.expectText("REQ 0\n"))
		has, _ := p.descriptors()
		ok(t, setNofile(p.pid(), uint64(has)))
		ok(t, together(
			func() error { return c.sendAll(requests(1, 8, 1<<20)) },
			func() error { return s.expect(requests(1, 8, 1<<20)) },
		))
		if now := p.stats(); now["no_pipe"] == 0 || now["spliced_bytes"] > 0 {
			t.Errorf("without descriptors %v bytes are spliced, and a pipe is missed %v times", now["spliced_bytes"], now["no_pipe"])
		}
		ok(t, setNofile(p.pid(), uint64(has)+100))
		p.becomesLong(c, s)
		finish(t, c, s)
	})
}

// System calls that fail for a moment while long Data goes on within the kernel, see TestSystemCallsFail.
func TestSplicesFail(t *testing.T) {
	for _, row := range []struct{ name, inject string }{
		{"splice interrupted", "splice:error=EINTR:when=2+3"},
		{"peek interrupted", "recvfrom:error=EINTR:when=40+3"},
		{"no descriptor for a pipe", "pipe2:error=EMFILE:when=2+2"}, // the first is the Go runtime's
	} {
		t.Run(row.name, func(t *testing.T) {
			eachSpliced(t, func(t *testing.T, engine string) {
				u := newUpstream(t)
				trace := filepath.Join(t.TempDir(), "trace")
				p := traced(t, engine, u.addr, row.inject, trace, oneLoop)
				t.Cleanup(p.check)
				beside(t, p, u)
				bigTalk(t, p, u)
				p.reaches(stats{"connections": 0, "buffered_bytes": 0})
				eventually(t, "the trace has a call that was made to fail", func() bool {
					return strings.Contains(readFile(t, trace), "(INJECTED)")
				})
			})
		})
	}
}

// Neither a connection that was in long Data and says nothing more, nor one whose bytes are stuck in a pipe, nor one that is stuck
// with small messages behind long Data keeps the loop awake.
func TestLongDataThenNothingTakesNoCPU(t *testing.T) {
	alone(t, spliced(), func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := launchPlain(t, engine, u.addr, nil)
		t.Cleanup(p.check)
		idle, is := p.longPair(u)
		small, ss := p.longPair(u)
		finished := pour(t, small, requests(1, 1<<20, 60))
		full, fs := p.longPair(u)
		sent := fillPipe(t, p, full, requests(0, 64, 1<<20), 64<<10)
		spent := cpuOver(p, 400*time.Millisecond)
		t.Logf("%.2f %% of a CPU", 100*spent)
		if spent > 0.03 {
			t.Errorf("after long Data the process takes %.1f %% of a CPU", 100*spent)
		}
		ok(t, fs.expect(io.LimitReader(requests(0, 64, 1<<20), sent)))
		ok(t, together(finished, func() error { return ss.expect(requests(1, 1<<20, 60)) }))
		finish(t, idle, is)
		finish(t, small, ss)
		finish(t, full, fs)
	})
}

// What is stuck in a pipe is a server's doing: its client's line is not late. When nothing at all moves the connection is idle, and
// one who does not get all that was accepted for him sees an RST.
func TestTimeoutsBehindAFullPipe(t *testing.T) {
	eachSpliced(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr, "--timeout-line=700ms")
		c, s := p.longPair(u)
		stream := func() io.Reader { return requests(0, 64, 1<<20) }
		sent := fillPipe(t, p, c, stream(), 64<<10)
		ok(t, s.CloseWrite())
		ok(t, c.ends(fin))
		loris, ls := p.pair(u) // its end tells that more than the time-out has passed
		ok(t, loris.send([]byte("REQ 1 unfinished")))
		ok(t, loris.ends(fin, rst))
		loris.Close()
		ls.Close()
		ok(t, s.expect(io.LimitReader(stream(), sent)))
		ok(t, c.CloseWrite())
		ok(t, s.ends(fin))
		p.reaches(stats{"end_line_timeout": 1, "connections": 0})

		q := start(t, engine, u.addr, "--timeout-idle=1500ms")
		c, s = q.longPair(u)
		fillPipe(t, q, c, stream(), 64<<10)
		q.reaches(stats{"end_idle": 1, "connections": 0, "buffered_bytes": 0})
		ok(t, s.cutShort(stream()))
		c.Close()
		s.Close()
	})
}
