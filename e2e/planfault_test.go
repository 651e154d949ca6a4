package e2e

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// scriptFault is something that happens at a time, and those of some kinds go on for a while.
type scriptFault struct {
	AfterMs int    `json:"after_ms"`
	Kind    string `json:"kind"`
	Conn    int    `json:"conn,omitempty"`
	ForMs   int    `json:"for_ms,omitempty"`
	Spare   int    `json:"spare,omitempty"`  // descriptors that are left; below 0, how many must come back before there is one
	OneIn   int    `json:"one_in,omitempty"` // packets that are lost; 1 = all
	Side    int    `json:"side,omitempty"`   // whose packets
}

const (
	faultUSR1        = "usr1"        // fifty of them
	faultHUP         = "hup"         // five
	faultStop        = "stop"        // SIGSTOP, and SIGCONT after 20 ms
	faultAborts      = "aborts"      // ten clients that reset what they have just connected
	faultArbitrary   = "arbitrary"   // ten that do not speak Foo
	faultKill        = "kill"        // destroys the proxy's socket to a client from outside
	faultRefuse      = "refuse"      // for a while the upstream takes no connections
	faultDeath       = "death"       // the same, and the servers of some connections die
	faultDescriptors = "descriptors" // for a while the proxy can have hardly more descriptors than it has
	faultLoss        = "loss"        // for a while packets are lost, or all of them
)

// nuisances is how many clients make one fault of theirs.
const nuisances = 10

// inflict has the faults happen, each at its time, and ends those that go on for a while.
func (g *stage) inflict() error {
	type event struct {
		at int
		do func() error
	}
	var events []event
	for _, f := range g.Faults {
		events = append(events, event{f.AfterMs, func() error { return g.begins(f) }})
		if f.ForMs > 0 {
			events = append(events, event{f.AfterMs + f.ForMs, func() error { return g.ceases(f) }})
		}
	}
	slices.SortStableFunc(events, func(a, b event) int { return cmp.Compare(a.at, b.at) })
	for _, e := range events {
		time.Sleep(time.Until(g.began.Add(time.Duration(e.at) * time.Millisecond)))
		if err := e.do(); err != nil {
			return err
		}
	}
	return nil
}

func (g *stage) begins(f scriptFault) error {
	if f.ForMs > 0 {
		g.active = append(g.active, f)
	}
	switch f.Kind {
	case faultUSR1:
		for range 50 {
			g.p.signal(syscall.SIGUSR1)
		}
	case faultHUP:
		for range 5 {
			g.p.signal(syscall.SIGHUP)
		}
	case faultStop:
		g.p.signal(syscall.SIGSTOP)
		time.Sleep(20 * time.Millisecond)
		g.p.signal(syscall.SIGCONT)
	case faultAborts, faultArbitrary:
		for range nuisances {
			g.visits.Go(func() { g.nuisance(f.Kind) })
		}
	case faultKill:
		return g.kills(g.acts[f.Conn])
	case faultRefuse:
		return g.departs()
	case faultDeath:
		err := g.departs()
		for _, a := range g.acts {
			if a.End == endsDied {
				err = errors.Join(err, a.leaves(1))
			}
		}
		return err
	case faultDescriptors:
		return g.shortage(f)
	case faultLoss:
		return g.loses()
	default:
		return fmt.Errorf("no such fault: %q", f.Kind)
	}
	return nil
}

// ceases ends a fault, unless another of its kind goes on.
func (g *stage) ceases(f scriptFault) error {
	at := slices.Index(g.active, f)
	g.active = slices.Delete(g.active, at, at+1)
	switch f.Kind {
	case faultRefuse, faultDeath:
		if !g.goesOn(faultRefuse) && !g.goesOn(faultDeath) {
			if err := g.arrives(); err != nil {
				return err
			}
			g.u.serve(g.receives)
		}
	case faultDescriptors:
		if !g.goesOn(faultDescriptors) {
			return setNofile(g.p.pid(), g.nofile)
		}
	case faultLoss:
		return g.loses()
	}
	return nil
}

func (g *stage) goesOn(kind string) bool {
	return slices.ContainsFunc(g.active, func(f scriptFault) bool { return f.Kind == kind })
}

// departs has the upstream listen no more.
func (g *stage) departs() error {
	if g.u == nil {
		return nil
	}
	err := g.u.l.Close()
	g.u = nil
	return err
}

// shortage leaves the subject a few descriptors more or less than it has.
func (g *stage) shortage(f scriptFault) error {
	if g.nofile == 0 {
		var limit unix.Rlimit
		if err := unix.Prlimit(g.p.pid(), unix.RLIMIT_NOFILE, nil, &limit); err != nil {
			return err
		}
		g.nofile = limit.Cur
	}
	has, _ := g.p.descriptors()
	return setNofile(g.p.pid(), uint64(max(0, has+f.Spare)))
}

// setNofile sets the soft limit of a process.
func setNofile(pid int, n uint64) error {
	var limit unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &limit); err != nil {
		return err
	}
	limit.Cur = min(n, limit.Max)
	return unix.Prlimit(pid, unix.RLIMIT_NOFILE, &limit, nil)
}

// loses has the kernel drop packets as the faults that go on want it.
func (g *stage) loses() error {
	var rules []string
	for _, f := range g.active {
		if f.Kind != faultLoss {
			continue
		}
		_, port, err := net.SplitHostPort([]string{g.p.addr, g.addr}[f.Side])
		if err != nil {
			return err
		}
		chance := ""
		if f.OneIn > 1 {
			chance = fmt.Sprintf("numgen random mod %d == 0 ", f.OneIn)
		}
		for _, end := range []string{"dport", "sport"} {
			rules = append(rules, fmt.Sprintf("tcp %s %s %sdrop", end, port, chance))
		}
	}
	return g.network.filter(rules...)
}

// kills destroys the subject's socket to a client, which may be gone already, or not yet there.
func (g *stage) kills(a *act) error {
	a.mu.Lock()
	local, remote := a.remote, a.local
	a.mu.Unlock()
	if local == nil {
		return nil
	}
	return g.away(func() error {
		_ = killSocket(local, remote)
		return nil
	})
}

// nuisance is a client that is a fault.
func (g *stage) nuisance(kind string) {
	c, err := g.dial(0)
	if isReset(err) { // by an upstream that has died
		return
	}
	if err != nil {
		g.t.Errorf("a client that is a fault: %v", err)
		return
	}
	defer c.Close()
	if kind == faultAborts {
		_ = c.reset()
		return
	}
	_ = c.send([]byte("GET / HTTP/1.0\r\n\r\n"))
	_ = c.CloseWrite()
	if _, _, err = c.rest(); err != nil {
		g.t.Errorf("a client that is a fault: %v", err)
	}
}
