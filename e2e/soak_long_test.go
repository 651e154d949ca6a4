package e2e

import (
	"slices"
	"sync"
	"testing"
	"time"
)

// What a long soak adds, and judges: FOO_FAULTS switches it on.
const (
	soakHeld   = 2000                   // connections held all the while
	soakBeat   = 8 * time.Second        // between two requests of such a one
	soakFlight = 100 * time.Millisecond // of the canary, after each look
	soakProbe  = 5 * time.Second        // after which the proxy finds out that an RST was lost, see below
	soakIdle   = 5 * time.Second        // for which the proxy is watched once the load is over
	soakCalm   = 0.4                    // of a run are its warm-up, see soak_slope_test.go
)

// roomForResets has the kernel queue more packets for a CPU than the 1000 that are its default (net.core.netdev_max_backlog): the
// storms of a long soak overflow that, on loopback too. A segment that is dropped there comes again, an RST never does: its
// connection would be open for the proxy until a keep-alive probe finds out. There are more ways to lose one: what overtakes the
// data before it, or follows data for which the socket had no room, is out of order, and the answer to that (RFC 5961) is limited to
// two a second. A probe finds only sockets that the kernel believes in, never those whose end the proxy has been told and missed.
func roomForResets(t *testing.T) {
	setSysctl(t, "/proc/sys/net/core/netdev_max_backlog", "100000")
}

// heldTalks are connections that live as long as the soak does, and say something now and then.
type heldTalks struct {
	all   sync.WaitGroup
	still chan struct{} // closed: they say nothing until hurry is
	hurry chan struct{} // closed: they say the rest at once
	once  sync.Once
}

// hold opens them. Each has a request outstanding before the first is answered: no later moment has as many.
func (s *soak) hold(span time.Duration) {
	s.held.still, s.held.hurry = make(chan struct{}), make(chan struct{})
	s.t.Cleanup(s.release)
	if !s.long {
		return
	}
	all := make(chan struct{})
	defer close(all)
	for range soakHeld {
		t := &talk{
			id: s.nextID(), client: clientWhole, server: serverAnswer, chunk: 48, reqMax: 20, ansMax: 20,
			n: int(span/soakBeat)*4 + 20, late: true, rest: soakBeat, still: s.held.still, hurry: s.held.hurry,
			withhold: all,
		}
		s.held.all.Go(func() { s.play(t) })
	}
	eventually(s.t, "all of them stand", func() bool { return s.p.stats()["connections"] > soakHeld })
	steady(s.t, "what they have asked", func() int64 { return int64(s.p.stats()["outstanding"]) })
}

// heat adds as many clients again for the first part of a long run, in which storms are twice as big too: a load that has its
// peaks anew only now and then would bring the proxy's tables and heap to their high-water marks all along. Meanwhile the heap is
// aged. It returns what says that this is over.
func (s *soak) heat(span time.Duration, clients *sync.WaitGroup) (warm func() bool) {
	if !s.long {
		return func() bool { return true }
	}
	over := make(chan struct{})
	ok(s.t, collect(s.p.pid(), soakCollects, goCollects))
	time.AfterFunc(time.Duration(float64(span)*soakCalm/2), func() {
		s.note(collect(s.p.pid(), goCollects, soakCollects))
		close(over)
	})
	for range soakClients {
		clients.Go(func() { s.chat(over) })
	}
	return func() bool {
		select {
		case <-over:
			return true
		default:
			return false
		}
	}
}

// release lets them say what they still have to say, and end.
func (s *soak) release() {
	s.held.once.Do(func() { close(s.held.hurry) })
	s.held.all.Wait()
}

// soakEven is how much of the canary's time a soak must have before a fifth of it is compared with another: a virtual machine is half as
// slow again for seconds.
const soakEven = 30 * time.Second

// steady wants the canary's p99.9 at the end of the run to be what it was after the warm-up.
func (s *soak) steady(flights []flight) {
	middle := func(of []flight) time.Duration {
		var all []time.Duration
		for _, f := range of {
			all = append(all, f.p999)
		}
		slices.Sort(all)
		return all[len(all)/2]
	}
	n := len(flights)
	before, after := middle(flights[n/5:n*2/5]), middle(flights[n*4/5:])
	s.t.Logf("canary's p99.9 under load: %v in the second fifth of the run, %v in the last (medians of flights of %v)", before, after, soakFlight)
	if span := time.Duration(n) * soakFlight; span < soakEven {
		s.t.Logf("%v is too short to be judged", span)
		return
	}
	if after > 3*before/2 {
		s.t.Errorf("the canary's p99.9 rose from %v to %v", before, after)
	}
}

// sleeps wants the proxy to take next to no CPU once the load is over and the connections that are held say nothing. What their
// beats take is told: some hundred messages a second, for each of which a loop, the log's writer and the Go runtime wake up.
func (s *soak) sleeps() {
	if !s.long || s.failed() {
		return
	}
	s.t.Logf("the load is over; with a beat of %d connections every %v: %.2f %% of a CPU", soakHeld, soakBeat, 100*cpuOver(s.p, soakIdle))
	close(s.held.still)
	answered := func() bool { now := s.p.stats(); return now["outstanding"] == 0 && now["request_rate_1s"] == 0 }
	eventually(s.t, "all is said and answered", answered)
	spent := cpuOver(s.p, soakIdle)
	s.t.Logf("without: %.2f %%", 100*spent)
	if spent >= 0.01 && !raceEnabled {
		s.t.Errorf("with %d quiet connections the proxy takes %.1f %% of a CPU", soakHeld, 100*spent)
	}
}
