package e2e

import (
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// scarce starts the subject with a descriptor limit of 300 and 200 descriptors that it inherits and knows nothing of, so that
// it runs out long before the maxconn that it derives from the limit. The limit must stand from the start: an accept of
// io_uring that is in flight keeps the one it has seen.
func scarce(t *testing.T, engine, forward string) *proxy {
	t.Helper()
	path, args, opts := command(engine)
	null, err := os.Open(os.DevNull)
	ok(t, err)
	defer null.Close()
	for range 200 {
		opts = append(opts, withFile(null))
	}
	args = append([]string{"--nofile=300:300", path}, args...)
	args = append(args, "--listen=127.0.0.1:0", "--forward="+forward, "--loops=1")
	return listens(t, engine, startProcess(t, "prlimit", args, opts...)) // which becomes the proxy
}

// Out of descriptors: the canary sings on, accepting pauses without spinning, and once clients have ended those that waited
// are served, every byte of them.
func TestOutOfDescriptors(t *testing.T) {
	eachEngineAlone(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		u.serve(echo)
		p := scarce(t, engine, u.addr)
		t.Cleanup(p.check)
		k := measured(t, p, u)
		const n, ends = 60, 25
		clients := make([]*peer, n)
		for i := range clients {
			clients[i] = p.dial()
			ok(t, clients[i].send(requests(i, 3, 50).bytes()))
		}
		eventually(t, "descriptors have run out", func() bool { return p.stats()["accept_errors"] > 0 })
		k.holds("a want of descriptors")
		k.check() // its end makes room for one of the twenty that wait
		if spent := cpuOver(p, 500*time.Millisecond); spent > 0.10 {
			t.Errorf("out of descriptors the process takes %.0f %% of a CPU", 100*spent)
		}
		closed := 0
		var freed time.Time
		for i, c := range clients {
			if i == ends {
				for _, over := range clients[:ends] {
					over.Close()
				}
				freed = time.Now()
			}
			want := answersTo(requests(i, 3, 50).bytes())
			switch got, e, err := c.next(want.Len()); {
			case err != nil:
				t.Fatalf("client %d: %v", i, err)
			case e != "": // it was accepted when there was no descriptor for its server
				closed++
			default:
				ok(t, differs(got, want))
			}
		}
		// Accepting pauses for at most 100 ms; then there is room for all that wait.
		if took := time.Since(freed); thorough && took > 200*time.Millisecond {
			t.Errorf("the rest were served %v after descriptors had become free", took)
		}
		if closed > 5 {
			t.Errorf("%d of %d clients were closed for want of descriptors", closed, n)
		}
	})
}

// cpuOver is the share of one CPU that the child takes over a span.
func cpuOver(p *proxy, span time.Duration) float64 {
	from, at := p.cpu(), time.Now()
	<-time.After(span) // the span itself is what is measured
	return (p.cpu() - from).Seconds() / time.Since(at).Seconds()
}

// With connections open and nothing to do the process sleeps.
func TestIdleTakesNoCPU(t *testing.T) {
	eachEngineAlone(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		u.serve(echo)
		p := launchPlain(t, engine, u.addr, nil)
		t.Cleanup(p.check)
		for i := range 200 {
			c := p.dial()
			ok(t, c.send(requests(i, 1, 10).bytes()))
			ok(t, c.expect(answersTo(requests(i, 1, 10).bytes())))
			if i%2 == 0 {
				ok(t, c.CloseWrite()) // the echo server closes: half of them are gone
			} else if i%4 == 1 {
				ok(t, c.send([]byte("REQ 2 unfinished")))
			}
		}
		p.reaches(stats{"connections": 100})
		spent := cpuOver(p, 400*time.Millisecond)
		t.Logf("%.2f %% of a CPU", 100*spent)
		if spent > 0.03 {
			t.Errorf("idle, the process takes %.1f %% of a CPU", 100*spent)
		}
	})
}

// A half-closed connection, and one whose server is stalled, must not keep the loop awake.
func TestHalfClosedTakesNoCPU(t *testing.T) {
	eachEngineAlone(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := launchPlain(t, engine, u.addr, nil)
		t.Cleanup(p.check)
		c, s := p.pair(u)
		ok(t, c.CloseWrite())
		ok(t, s.ends(fin))
		c2, s2 := p.pair(u)
		ok(t, s2.CloseWrite())
		ok(t, c2.ends(fin))
		small := dial(t, p.addr, 4096)
		s3 := u.accept()
		ok(t, small.send([]byte("REQ 0\n")))
		ok(t, s3.expectText("REQ 0\n"))
		finished := pour(t, s3, acks(1, stallCount, stallSize))
		spent := cpuOver(p, 400*time.Millisecond)
		t.Logf("%.2f %% of a CPU", 100*spent)
		if spent > 0.03 {
			t.Errorf("half-closed and stalled, the process takes %.1f %% of a CPU", 100*spent)
		}
		ok(t, small.reset())
		if finished() == nil {
			t.Error("everything was sent")
		}
	})
}

// accepts wants so many clients that are gone to have been taken from the accept queue, each of them counted, and one that comes
// after them to be served.
func (p *proxy) accepts(gone int) {
	p.t.Helper()
	eventually(p.t, "all that are gone have been taken", func() bool {
		s := p.stats()
		return s["connections_total"]+s["accept_errors"] == float64(gone) && s["connections"] == 0
	})
	ok(p.t, rally(p.addr, 1, 2, 20))
	p.reaches(stats{"connections": 0})
}

// Clients that are gone before they are accepted do no harm: accepting goes on.
func TestAbortedBeforeAccept(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		u.serve(echo)
		p := start(t, engine, u.addr, oneLoop)
		k := measured(t, p, u)
		var gone atomic.Int64
		abort := func(i int) error {
			c, err := connect(p.addr, 0)
			if err != nil {
				return err
			}
			gone.Add(1)
			if i%2 == 0 {
				_ = c.send([]byte("REQ 1\n"))
			}
			return c.reset()
		}
		ok(t, forAll(8, func(int) error {
			for i := range 100 {
				if err := abort(i); err != nil {
					return err
				}
			}
			return nil
		}))
		end := keepOn(abort)
		k.holds("clients that abort")
		ok(t, end())
		k.check()
		p.accepts(int(gone.Load()))
	})
}

// The same while the process is stopped, so that all of them are in the accept queue, dead, when it looks.
func TestDeadInAcceptQueue(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		u.serve(echo)
		p := start(t, engine, u.addr, oneLoop)
		k := measured(t, p, u)
		p.signal(syscall.SIGSTOP)
		const gone = 100
		for range gone {
			c := p.dial()
			ok(t, c.send([]byte("REQ 1\n")))
			ok(t, c.reset())
		}
		p.signal(syscall.SIGCONT)
		k.holds("a queue of dead clients")
		k.check()
		p.accepts(gone)
	})
}

// --maxconn holds: further clients wait in the accept queue and are served when one ends.
func TestMaxConn(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr, "--maxconn=2", "--loops=1")
		c1, s1 := p.pair(u)
		c2, s2 := p.pair(u)
		waiting := p.dial()
		ok(t, waiting.send([]byte("REQ 3\n")))
		ok(t, c1.send([]byte("REQ 1\n")))
		ok(t, s1.expectText("REQ 1\n"))
		p.counts(stats{"connections": 2, "msg_req": 1})
		finish(t, c1, s1)
		s3 := u.accept()
		ok(t, s3.expectText("REQ 3\n"))
		finish(t, waiting, s3)
		finish(t, c2, s2)
	})
}

// A maxconn beyond the soft limit of descriptors raises that to the hard one; one beyond the hard limit is lowered, with a warning,
// to as many as there are descriptors for.
func TestMaxConnAboveLimit(t *testing.T) {
	eachEngineAlone(t, func(t *testing.T, engine string) {
		const soft, hard = 120, 600
		for _, row := range []struct {
			asked  int
			lowers bool
		}{{200, false}, {1_000_000, true}} {
			u := newUpstream(t)
			u.serve(echo)
			path, args, opts := command(engine)
			args = append([]string{fmt.Sprintf("--nofile=%d:%d", soft, hard), path}, args...)
			args = append(args, "--listen=127.0.0.1:0", "--forward="+u.addr, "--loops=1", fmt.Sprintf("--maxconn=%d", row.asked))
			p := listens(t, engine, startProcess(t, "prlimit", args, opts...)) // which becomes the proxy
			t.Cleanup(p.check)
			if warned := strings.Contains(p.errors(), "level=WARN msg=\"maxconn lowered"); warned != row.lowers {
				t.Errorf("maxconn=%d: the warning is given: %v\n%s", row.asked, warned, p.errors())
			}
			var limit unix.Rlimit
			ok(t, unix.Prlimit(p.pid(), unix.RLIMIT_NOFILE, nil, &limit))
			if limit.Cur != hard || limit.Max != hard {
				t.Errorf("the soft limit is %d, the hard one %d, want %d", limit.Cur, limit.Max, hard)
			}
			n := int(p.stats()["maxconn"])
			if !row.lowers && n != row.asked || row.lowers && (n <= soft || n > hard/2) {
				t.Errorf("of maxconn=%d %d are left with %d descriptors", row.asked, n, hard)
			}
			clients := make([]*peer, n)
			for i := range clients {
				clients[i] = p.dial()
				ok(t, trip(clients[i], i%50))
			}
			p.counts(stats{"connections": float64(n), "accept_errors": 0, "end_connect_error": 0})
			for _, c := range clients {
				c.Close()
			}
		}
	})
}

// Unix sockets on either side and on both; the listening path is gone after a clean stop, and a dead one is no obstacle.
func TestUnixSockets(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		for _, row := range []struct{ listen, forward bool }{{true, false}, {false, true}, {true, true}} {
			listen, forward := "127.0.0.1:0", "127.0.0.1:0"
			if row.listen {
				listen = "unix:" + unixPath(t, "l")
			}
			if row.forward {
				forward = "unix:" + unixPath(t, "f")
			}
			u := listenUpstream(t, forward)
			p := start(t, engine, u.addr, "--listen="+listen)
			c, s := p.pair(u)
			ok(t, together(
				func() error { return c.sendAll(requests(1, 300, 5000)) },
				func() error { return s.expect(requests(1, 300, 5000)) },
				func() error { return s.sendAll(acks(1, 300, 5000)) },
				func() error { return c.expect(acks(1, 300, 5000)) },
			))
			finish(t, c, s)
			p.reaches(stats{"msg_req": 300, "msg_ack": 300, "connections": 0})
			p.stop()
			if _, err := os.Stat(strings.TrimPrefix(listen, "unix:")); row.listen && err == nil {
				t.Error("the socket's path is still there")
			}
		}
	})
}

// The path of a unix socket whose proxy was killed is taken over; one that is in use is not.
func TestUnixPathLeftBehind(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		listen := "--listen=unix:" + unixPath(t, "l")
		launch(t, engine, u.addr, []string{listen}).kill()
		p := start(t, engine, u.addr, listen)
		c, s := p.pair(u)
		finish(t, c, s)
		path, args, opts := command(engine)
		second := startProcess(t, path, append(args, listen, "--forward="+u.addr), opts...)
		if code := second.exit(); code != 1 {
			t.Errorf("the second proxy on a path in use ended with code %d, want 1", code)
		}
		oneLine(t, second)
		c, s = p.pair(u)
		finish(t, c, s)
	})
}

// IPv6 on both sides.
func TestIPv6(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		if l, err := net.Listen("tcp", "[::1]:0"); err != nil {
			t.Fatalf("this test needs ::1: %v", err)
		} else {
			l.Close()
		}
		u := listenUpstream(t, "[::1]:0")
		p := start(t, engine, u.addr, "--listen=[::1]:0")
		c, s := p.pair(u)
		ok(t, c.send([]byte("REQ 1\n")))
		ok(t, s.expectText("REQ 1\n"))
		finish(t, c, s)
	})
}

// oneLine wants the child's standard error to be exactly one line, and returns it.
func oneLine(t *testing.T, p *process) string {
	t.Helper()
	text := p.errors()
	if strings.Count(text, "\n") != 1 || !strings.HasSuffix(text, "\n") {
		t.Errorf("standard error is not one line:\n%s", text)
	}
	return text
}
