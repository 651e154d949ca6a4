package e2e

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// How hard the soak is. It shares its CPUs with whatever else runs: the clients rest between their talks.
const (
	soakClients = 150                    // talk at once
	soakRest    = 60 * time.Millisecond  // between two talks of a client, on average
	soakStorm   = 60                     // connections of a storm, at once
	soakTick    = 200 * time.Millisecond // between two looks at the proxy, each with a rotation of the log
	soakLooks   = 10                     // at least
	soakPester  = 100                    // signals at each look that nobody waits for
)

// soak is one run against one proxy.
type soak struct {
	t    *testing.T
	p    *proxy
	u    *upstream
	seed uint64
	log  soakLog

	ids     atomic.Int64
	servers sync.WaitGroup // connections that the upstream has accepted
	storms  sync.WaitGroup
	stop    chan struct{} // closed when no talk is to begin any more
	once    sync.Once     // closes stop
	long    bool          // judge also what only time shows, see soak_long_test.go
	tunnels bool          // the proxy tunnels what is not Foo
	splices bool          // long Data goes on within the kernel
	held    heldTalks

	mu    sync.Mutex
	talks map[int]*talk // not judged yet
	errs  []error
}

// Mixed load with everything that may happen to it, for FOO_SOAK, by default short. The two ends of each connection know its
// script and say what they saw, the log tells what the proxy counted for it; the three must agree, and with SIGUSR1.
func TestSoak(t *testing.T) {
	span := 3 * time.Second
	if text := os.Getenv("FOO_SOAK"); text != "" {
		var err error
		span, err = time.ParseDuration(text)
		ok(t, err)
	}
	seed := rand.Uint64()
	if s, err := strconv.ParseUint(os.Getenv("FOO_SEED"), 10, 64); err == nil {
		seed = s
	}
	t.Logf("FOO_SEED=%d", seed)
	each := eachEngine
	if thorough {
		each = eachEngineAlone
		roomForResets(t)
	}
	each(t, func(t *testing.T, engine string) {
		s := &soak{
			t: t, seed: seed, stop: make(chan struct{}), talks: map[int]*talk{}, long: thorough,
			tunnels: thorough || seed%2 == 0, splices: thorough || seed/2%2 == 0,
		}
		s.u = newUpstream(t)
		s.log.path = filepath.Join(t.TempDir(), "log")
		arbitrary := "close"
		if s.tunnels {
			arbitrary = "tunnel"
		}
		splice := "off"
		if s.splices {
			splice = "on"
		}
		s.splices = s.splices && maySplice(engine)
		s.p = start(t, engine, s.u.addr, "--log="+s.log.path, "--log-overflow=block", "--keepalive="+soakProbe.String(), "--arbitrary="+arbitrary, "--splice="+splice)
		k := newCanary(t, s.p, s.u)
		go s.serve()
		s.hold(span)
		s.warmUp()
		s.run(span, k)
		k.check()
		s.sleeps()
		s.release()
		s.account()
	})
}

// serve plays the server's part of every connection that the proxy makes.
func (s *soak) serve() {
	for {
		c, err := s.u.l.Accept()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				s.note(fmt.Errorf("the upstream accepts no more: %w", err))
			}
			return
		}
		s.servers.Go(func() {
			p := &peer{c.(stream), "server"}
			id, head, known, err := whose(p)
			if err != nil || !known {
				p.Close()
				s.note(err)
				return
			}
			s.mu.Lock()
			t := s.talks[id]
			if t != nil {
				t.upstream = c.RemoteAddr().String()
			}
			s.mu.Unlock()
			if t == nil {
				s.note(errors.New("a request of a talk that is over, or never was: " + string(head)))
				p.Close()
				return
			}
			s.wrap(t, playServer(t, p, head))
			s.mu.Lock()
			if t.atServer.done {
				s.mu.Unlock()
				s.wrap(t, errors.New("reached the server twice"))
				return
			}
			t.atServer.done = true
			s.mu.Unlock()
		})
	}
}

// play plays the client's part of a talk.
func (s *soak) play(t *talk) {
	s.mu.Lock()
	s.talks[t.id] = t
	s.mu.Unlock()
	c, err := dialSoak(t, s.p.addr)
	if err != nil {
		s.wrap(t, err)
		return
	}
	s.wrap(t, playClient(t, c))
	s.mu.Lock()
	t.atClient.done = true
	s.mu.Unlock()
}

func (s *soak) nextID() int { return int(s.ids.Add(1)) }

// warmUp brings everything that the proxy keeps for good to its high-water mark: buffers, sessions, the rings of the log, and for
// outstanding requests the tables of every size, which double from 8 to more than any talk has.
func (s *soak) warmUp() {
	var all sync.WaitGroup
	const floods = soakClients + soakStorm
	full := make(chan struct{})
	for i := range floods {
		all.Go(func() {
			s.play(newFlood(s.nextID(), full))
			for n := 1000; n > 4 && i < soakClients; n /= 2 {
				s.play(newVolley(s.nextID(), n))
				if !s.long || s.failed() {
					break
				}
			}
		})
	}
	eventually(s.t, "every flood has begun", func() bool { return s.failed() || s.p.stats()["msg_req"] >= floods*floodRequests })
	steady(s.t, "what the proxy holds", func() int64 { return int64(s.p.stats()["buffered_bytes"]) })
	close(full)
	all.Wait()
	s.log.rotate(s)
	s.p.threads = max(s.p.threads, s.p.status("Threads")) // the Go runtime keeps those it made for blocking calls
}

// run lets the load loose for span, and looks at the proxy all the while.
func (s *soak) run(span time.Duration, k *canary) {
	var clients sync.WaitGroup
	for range soakClients {
		clients.Go(func() { s.chat(s.stop) })
	}
	warm := s.heat(span, &clients)
	r := rand.New(rand.NewPCG(s.seed, 0))
	began := time.Now()
	told := began
	last := s.p.stats()
	var memory []int64
	var flights []flight
	tick := time.NewTicker(soakTick)
	defer tick.Stop()
	for (time.Since(began) < span || len(memory) < soakLooks) && !s.failed() {
		<-tick.C
		last = s.look(last, r, warm())
		memory = append(memory, s.p.own())
		if s.long {
			flights = append(flights, k.fly(soakFlight))
		}
		if time.Since(told) >= 10*time.Second {
			told = time.Now()
			s.t.Logf("%v: %d connections, %v messages, %v open, %d KiB resident, %d of them its own, %.0f in the heap after %v collections, %d threads; canary %v",
				time.Since(began).Round(time.Second), s.ids.Load(), last["msg_total"], last["connections"], s.p.rss()>>10, s.p.own()>>10,
				last["heap_bytes"]/1024, last["gc_cycles"], s.p.status("Threads"), k.fly(0))
		}
	}
	s.end()
	clients.Wait()
	s.storms.Wait()
	if !s.failed() {
		s.flat(memory)
	}
	if s.long && !s.failed() {
		s.slope(memory, time.Since(began))
		s.steady(flights)
	}
}

// chat is one client: a talk after the other, until one of the channels is closed.
func (s *soak) chat(until <-chan struct{}) {
	for {
		select {
		case <-s.stop:
			return
		case <-until:
			return
		default:
		}
		t := newTalk(s.seed, s.nextID(), s.tunnels)
		s.play(t)
		time.Sleep(time.Duration(mix(s.seed^uint64(t.id)) % uint64(2*soakRest)))
	}
}

// look is one turn of the operator: SIGUSR1 many times over, at first without waiting for answers, HUP, the log taken away under
// the proxy, now and then a storm of connections. It returns the last answer to SIGUSR1.
func (s *soak) look(last stats, r *rand.Rand, warm bool) stats {
	s.p.pester(soakPester)
	for range 1 + r.IntN(30) {
		now := s.p.stats()
		for _, name := range []string{"msg_total", "msg_req", "msg_ack", "msg_nak", "connections_total", "bad", "bytes_request"} {
			if now[name] < last[name] {
				s.t.Errorf("%s fell from %v to %v", name, last[name], now[name])
			}
		}
		last = now
	}
	for range r.IntN(3) {
		s.p.signal(syscall.SIGHUP)
	}
	s.log.rotate(s)
	if r.IntN(4) == 0 {
		storm := soakStorm
		if !warm {
			storm *= 2
		}
		for range storm {
			s.storms.Go(func() { s.play(newTouch(s.seed, s.nextID())) })
		}
	}
	return last
}

// note keeps the first few errors, and ends the load.
func (s *soak) note(err error) {
	if err == nil {
		return
	}
	s.mu.Lock()
	if len(s.errs) < 10 {
		s.errs = append(s.errs, err)
	}
	s.mu.Unlock()
	s.end()
}

func (s *soak) wrap(t *talk, err error) {
	if err == nil {
		return
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		s.mu.Lock()
		up := t.upstream
		s.mu.Unlock()
		sockets, _ := exec.Command("ss", "-tanoiemH", fmt.Sprintf("src = %[1]v or dst = %[1]v or src = %[2]v or dst = %[2]v", t.source(), cmp.Or(up, "0.0.0.0:0"))).CombinedOutput()
		err = errors.Join(err, errors.New("its sockets: "+string(sockets)))
	}
	s.note(errors.Join(errors.New(t.String()), err))
}

func (s *soak) end() { s.once.Do(func() { close(s.stop) }) }

func (s *soak) failed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.errs) > 0 || s.t.Failed()
}

// flat wants as much memory in the last fifth of the run as in its middle: in a short run, in which the collector's pace and
// the storms still move it, but for some MiB. The race detector's shadow grows as it likes.
func (s *soak) flat(memory []int64) {
	n := len(memory)
	middle, end := slices.Max(memory[n*2/5:n*3/5]), slices.Max(memory[n*4/5:])
	s.t.Logf("memory: %d KiB in the middle, %d KiB at the end", middle>>10, end>>10)
	most := int64(4 << 20)
	if !s.long {
		most = 16 << 20
	}
	if grown := end - middle; grown >= most && !raceEnabled {
		s.t.Errorf("memory grew by %d KiB from the middle of the run to its end", grown>>10)
	}
}

// account waits for the end of everything and compares what all sides have counted.
func (s *soak) account() {
	t := s.t
	if !holds(func() bool { now := s.p.stats(); return now["connections"] == 0 && now["buffered_bytes"] == 0 }) {
		now := s.p.stats()
		t.Errorf("after the load %v connections and %v bytes are left", now["connections"], now["buffered_bytes"])
	}
	s.servers.Wait()
	want := s.p.stats()
	if !holds(func() bool {
		s.log.rotate(s)
		return float64(s.log.conns) >= want["connections_total"]
	}) {
		t.Errorf("the log has %d CONN lines of %v connections", s.log.conns, want["connections_total"])
	}
	s.judge(true)
	for _, err := range s.errs {
		t.Error(err)
	}
	for name, n := range s.log.lines {
		if c, counted := s.log.perConn[name]; n != want[name] || counted && c != n {
			t.Errorf("%s: %v by SIGUSR1, %v by the log's REQ, RES and BAD lines, %v by its CONN lines", name, want[name], n, c)
		}
	}
	if s.tunnels && (want["class_tunnel"] == 0 || want["class_arbitrary"] > 0) || !s.tunnels && want["class_tunnel"] > 0 {
		t.Errorf("class_tunnel is %v, class_arbitrary %v", want["class_tunnel"], want["class_arbitrary"])
	}
	if s.splices != (want["spliced_bytes"] > 0) {
		t.Errorf("%v bytes of long Data have gone on within the kernel", want["spliced_bytes"])
	}
	if n := want["bad"]; n < float64(s.log.badLeast) || n > float64(s.log.badMost) {
		t.Errorf("bad is %v, the ends sent %d to %d bad lines", n, s.log.badLeast, s.log.badMost)
	}
	ends := 0.0
	for name, n := range want {
		if len(name) > 4 && name[:4] == "end_" {
			ends += n
			if slices.Contains(soakNever, name) && n > 0 {
				t.Errorf("%s is %v", name, n)
			}
		}
	}
	if made := s.ids.Load() + 1; ends != want["connections_total"] || int64(want["connections_total"]) != made { // the canary's
		t.Errorf("%d connections were made, %v counted, %v ended", made, want["connections_total"], ends)
	}
	if want["log_dropped"]+want["unmatched"]+want["untracked"] > 0 {
		t.Errorf("log_dropped %v, unmatched %v, untracked %v", want["log_dropped"], want["unmatched"], want["untracked"])
	}
	t.Logf("%d connections, %v messages, %.0f MiB spliced, %v times no pipe; %d judged in every count, %d between bounds",
		s.ids.Load(), want["msg_total"], want["spliced_bytes"]/(1<<20), want["no_pipe"], s.log.exact, s.log.bounded)
}

// soakNever are the ends that no talk has.
var soakNever = []string{
	"end_refused", "end_unreachable", "end_connect_timeout", "end_no_ports", "end_connect_error", "end_idle", "end_line_timeout",
	"end_half_close_timeout", "end_stopped", "end_error",
}
