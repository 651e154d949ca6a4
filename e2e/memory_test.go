package e2e

import (
	"errors"
	"io"
	"math"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A million messages through sixteen connections: the heap does not grow, the collector has nothing to do, and memory stays.
func TestMillionMessages(t *testing.T) {
	eachEngineAlone(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		u.serve(echo)
		// A collection would add what was allocated at the start to the count: until then it is with the runtime's caches.
		p := launchPlain(t, engine, u.addr, nil, withEnv("GOGC=off"))
		t.Cleanup(p.check)
		const conns, batch = 16, 50
		clients := make([]*peer, conns)
		for i := range clients {
			clients[i] = p.dial()
		}
		load := func(rounds int) {
			t.Helper()
			ok(t, forAll(conns, func(i int) error {
				m := requests(i, batch, 16).bytes()
				answer := answersTo(m)
				for range rounds {
					if err := clients[i].send(m); err != nil {
						return err
					}
					if err := clients[i].expect(answer); err != nil {
						return err
					}
					_, _ = answer.Seek(0, 0)
				}
				return nil
			}))
		}
		load(60) // 48,000 requests to warm up
		before, rss := p.stats(), p.rss()
		load(630) // 504,000 requests in 10,080 batches, and as many answers
		after := p.stats()
		if n := after["msg_total"] - before["msg_total"]; n < 1e6 {
			t.Errorf("only %v messages", n)
		}
		if n := after["heap_allocs"] - before["heap_allocs"]; n > 2000 { // the answers to SIGUSR1 allocate some themselves
			t.Errorf("%v objects were allocated over a million messages", n)
		}
		if n := after["gc_cycles"]; n > 0 {
			t.Errorf("the collector ran %v times in spite of GOGC=off", n)
		}
		if grown := p.rss() - rss; grown > 2<<20 {
			t.Errorf("resident memory grew by %d KiB", grown>>10)
		}
	})
}

// What happens over and over leaves nothing for the collector. Little is too much: where garbage comes by hundreds of bytes a second,
// the heap's caches fill from fresh pages for an hour before all of it is used again.
func TestEventsLeaveNoGarbage(t *testing.T) {
	eachEngineAlone(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		u.serve(echo)
		path := filepath.Join(t.TempDir(), "log")
		p := launchPlain(t, engine, u.addr, []string{"--log=" + path})
		t.Cleanup(p.check)
		for _, event := range []struct {
			name   string
			happen func()
		}{
			{"answer to SIGUSR1", func() { p.stats() }},
			{"connection", func() {
				c := p.dial()
				ok(t, c.send([]byte("REQ 1\n")))
				ok(t, c.expectText("ACK 1\n"))
				c.Close()
			}},
			{"rotation of the log", func() {
				ok(t, os.Rename(path, path+".old"))
				p.signal(syscall.SIGHUP)
				eventually(t, "a new log", func() bool { _, err := os.Stat(path); return err == nil })
			}},
		} {
			const n = 200
			happen := func() float64 {
				for range n {
					event.happen()
				}
				return p.stats()["heap_allocs"]
			}
			each, last := math.Inf(1), happen()
			for range 3 { // the runtime makes one now and then, and more connections at once than ever before take more
				now := happen()
				each, last = min(each, (now-last)/n), now
			}
			t.Logf("%.2f objects for each %s", each, event.name)
			if each > 0.1 {
				t.Errorf("each %s leaves %.2f objects", event.name, each)
			}
		}
	})
}

// Of five thousand idle connections, each of which has carried a message, every one takes what the formula says. The first
// thousand are not counted: with them comes what the loops have once for all.
func TestIdleConnectionsAreSmall(t *testing.T) {
	eachEngineAlone(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := launchPlain(t, engine, u.addr, nil)
		t.Cleanup(p.check)
		const first, n = 1000, 5000
		base := int64(0)
		for i := range n {
			if i == first {
				base = p.own()
			}
			c, s := p.pair(u)
			m := requests(i, 1, 100).bytes()
			ok(t, c.send(m))
			ok(t, s.expectBytes(m))
			a := acks(i, 1, 100).bytes()
			ok(t, s.send(a))
			ok(t, c.expectBytes(a))
		}
		p.counts(stats{"connections": n})
		each := (p.own() - base) / (n - first)
		t.Logf("%d bytes for each idle connection", each)
		if each > perConn {
			t.Errorf("%d bytes for each idle connection, the formula allows %d", each, perConn)
		}
	})
}

// The formula holds while everything comes together: a log that nobody reads, requests that nobody answers, clients that do not
// read, and a long line.
func TestMemoryFormula(t *testing.T) {
	eachWayAlone(t, func(t *testing.T, engine string) {
		path := filepath.Join(t.TempDir(), "log")
		ok(t, unix.Mkfifo(path, 0o600))
		reader, err := os.OpenFile(path, os.O_RDWR, 0) // and does not read
		ok(t, err)
		defer reader.Close()
		u := newUpstream(t)
		p := launchPlain(t, engine, u.addr, []string{"--loops=2", "--log=" + path, "--max-line=0", "--timeout-line=0"})
		t.Cleanup(p.check)
		if base := p.rss(); base > 24<<20 {
			t.Errorf("%d KiB of resident memory at the start", base>>10)
		}
		const most, talkers = 1 << 16, 8
		var open []*peer
		for i := range talkers { // requests without answers fill the trackers
			c, s := p.pair(u)
			open = append(open, c, s)
			m := requests(i, most+1000, 0).bytes()
			ok(t, together(func() error { return c.send(m) }, func() error { return s.expectBytes(m) }))
		}
		p.counts(stats{"untracked": talkers * 1000})
		l, _ := p.flags()
		l.loops, l.conns, l.flows, l.outstanding = 2, talkers, 2*talkers, talkers*most
		p.within("requests without answers", l)
		const n, each, size = 200, 6, 64 << 10
		var sent atomic.Int64
		poured := make(chan error, 1)
		clients, servers := make([]*peer, n), make([]*peer, n)
		for i := range n { // readers that do not read fill the buffers
			clients[i] = dialSmall(t, p.addr)
			servers[i] = u.accept()
			ok(t, servers[i].stream.(*net.TCPConn).SetWriteBuffer(16<<10))
		}
		go func() {
			poured <- forAll(n, func(i int) error { return servers[i].pourOut(acks(i, each, size), &sent) })
		}()
		steady(t, "the servers", sent.Load)
		l.conns, l.flows, l.stalled = talkers+n, 2*(talkers+n), n
		p.within("clients that do not read", l)
		c, s := p.pair(u)
		chunk := make([]byte, 1<<20)
		for i := range chunk {
			chunk[i] = 'x'
		}
		ok(t, c.send([]byte("REQ 1 ")))
		ok(t, s.expectText("REQ 1 "))
		ok(t, together(
			func() error { return c.sendAll(io.LimitReader(repeat(chunk), 128<<20)) },
			func() error { return s.expect(io.LimitReader(repeat(chunk), 128<<20)) },
		))
		l.conns, l.flows, l.stalled = talkers+n+1, 2*(talkers+n+1), n+2
		p.within("a long line", l)
		ok(t, forAll(n, func(i int) error {
			return errors.Join(clients[i].widen(), clients[i].expect(acks(i, each, size)))
		}))
		ok(t, <-poured)
		go func() { _, _ = io.Copy(io.Discard, reader) }()
		for _, peer := range append(append(append(open, clients...), servers...), c, s) {
			peer.Close()
		}
		p.reaches(stats{"connections": 0, "buffered_bytes": 0})
	})
}

// repeat is b, again and again.
type repeat []byte

func (r repeat) Read(p []byte) (int, error) { return copy(p, r), nil }
