package e2e

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// canary is a healthy connection that plays one request and answer after the other beside a fault. A process of its own holds
// both of its ends (canarychild_test.go), so that what the test does to the proxy does not delay the canary by itself.
type canary struct {
	t       testing.TB
	child   *exec.Cmd
	orders  io.WriteCloser
	replies *bufio.Reader
	errors  strings.Builder
	client  string        // address of its client
	server  string        // address of the proxy's side of its server's connection
	normal  time.Duration // p99 of a round before the fault; only in a thorough run
	control *canary       // of another proxy, to which nothing is done; only in a thorough run
	period  time.Duration // from one round of a flight to the next

	talking sync.Mutex // one order and its answer at a time
	rounds  float64    // played so far, as of the last pause
	over    bool       // ended by FIN both ways
}

// How the canary's p99 is taken: the median of windows of some hundred rounds by a timetable. A window too slow may be the
// machine's fault and not the proxy's, so there are several attempts.
const (
	canaryWindow   = 200 * time.Millisecond
	canaryWindows  = 5
	canaryAttempts = 5
	canaryPeriod   = 500 * time.Microsecond
	canaryFloor    = 250 * time.Microsecond // a p99 below this is normal: so much is a wait for one of two CPUs
)

// oneLoop keeps a canary and what is done beside it together. With two loops a new connection goes where there are fewer.
const oneLoop = "--loops=1"

// newCanary makes a canary of a new connection and returns after its first answers. No other connection may be on its way.
func newCanary(t testing.TB, p *proxy, u *upstream) *canary {
	t.Helper()
	k := &canary{t: t, period: canaryPeriod}
	c, s := u.next(p)
	k.client, k.server = c.LocalAddr().String(), s.RemoteAddr().String()
	k.start(c, s)
	k.live()
	return k
}

// beside is newCanary for a test that has only one: it sings until the test checks it, or ends, and what p's statistics say to the
// test is without its part.
func beside(t testing.TB, p *proxy, u *upstream) *canary {
	t.Helper()
	k := newCanary(t, p, u)
	p.canary = k
	t.Cleanup(func() {
		if !t.Failed() {
			k.check()
		}
	})
	return k
}

// measured is beside for a test that judges how fast the canary sings. A thorough run adds a control.
func measured(t testing.TB, p *proxy, u *upstream) *canary {
	t.Helper()
	k := beside(t, p, u)
	if thorough {
		calm := newUpstream(t)
		k.control = newCanary(t, start(t, engineOf(p.engine), calm.addr), calm)
		k.normal, _ = k.p99()
	}
	return k
}

func (k *canary) start(ends ...*peer) {
	k.t.Helper()
	k.child = exec.Command(os.Args[0])
	k.child.Env = append(cleanEnv(), envCanary+"="+limit.String())
	k.child.Stderr = &k.errors
	k.child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	for _, p := range ends {
		f, err := p.stream.(interface{ File() (*os.File, error) }).File()
		ok(k.t, err)
		k.child.ExtraFiles = append(k.child.ExtraFiles, f)
		defer f.Close()
		defer p.Close()
	}
	var err error
	k.orders, err = k.child.StdinPipe()
	ok(k.t, err)
	out, err := k.child.StdoutPipe()
	ok(k.t, err)
	k.replies = bufio.NewReader(out)
	ok(k.t, k.child.Start())
	k.t.Cleanup(func() {
		_ = k.child.Process.Kill()
		_ = k.child.Wait()
	})
}

// flight is how long rounds took.
type flight struct {
	rounds                int
	p50, p99, p999, worst time.Duration
}

func (f flight) String() string {
	return fmt.Sprintf("%d rounds, median %v, p99 %v, p99.9 %v, longest %v", f.rounds, f.p50, f.p99, f.p999, f.worst)
}

// fly has the canary play rounds by its timetable for a span, at least three.
func (k *canary) fly(span time.Duration) flight {
	k.t.Helper()
	return k.takeOff(span)()
}

// takeOff begins a flight; landed waits for its end.
func (k *canary) takeOff(span time.Duration) (landed func() flight) {
	k.talking.Lock()
	k.order(int64(span), int64(k.period))
	return func() (f flight) {
		k.t.Helper()
		defer k.talking.Unlock()
		k.answer(&f.rounds, &f.p50, &f.p99, &f.p999, &f.worst)
		return f
	}
}

func (k *canary) order(what ...any) { _, _ = fmt.Fprintln(k.orders, what...) }

// answer reads one from the canary, which is dead if there is none.
func (k *canary) answer(to ...any) {
	k.t.Helper()
	line, err := k.replies.ReadString('\n')
	if err == nil {
		_, err = fmt.Sscan(line, to...)
	}
	if err != nil {
		_ = k.child.Wait()
		k.t.Fatalf("the canary: %s", k.errors.String())
	}
}

// hushed runs f between two rounds of the canary and returns what of the proxy's counters is the canary's doing meanwhile.
func (k *canary) hushed(f func()) (part stats) {
	k.t.Helper()
	k.talking.Lock()
	defer k.talking.Unlock()
	part = stats{"connections_total": 1, "class_foo": 1}
	if k.over {
		part["end_client_fin"] = 1
		f()
	} else {
		part["connections"] = 1
		k.order(orderHush)
		k.answer(&k.rounds)
		f()
		k.order(orderSing)
	}
	part["msg_total"], part["msg_req"], part["msg_ack"], part["latency_count"] = 2*k.rounds, k.rounds, k.rounds, k.rounds
	return part
}

// live wants more rounds to complete from now on.
func (k *canary) live() {
	k.t.Helper()
	k.fly(0)
}

// p99 flies the canary and its control at once, for what the machine does to one it does to the other.
func (k *canary) p99() (own, control time.Duration) {
	k.t.Helper()
	var all, controls []time.Duration
	for range canaryWindows {
		landed := k.control.takeOff(canaryWindow)
		all = append(all, k.fly(canaryWindow).p99)
		controls = append(controls, landed().p99)
	}
	slices.Sort(all)
	slices.Sort(controls)
	return all[len(all)/2], controls[len(controls)/2]
}

// holds wants the canary to be alive while a fault stands and, in a thorough run, its p99 below twice what it was before, or what
// the control's is now: a fault takes CPU time, of the test too.
func (k *canary) holds(what string) {
	k.t.Helper()
	k.holdsAgainst(k.normal, what)
}

// holdsAgainst is holds for faults that are loads: normal is the p99 beside a healthy load of the same size.
func (k *canary) holdsAgainst(normal time.Duration, what string) {
	k.t.Helper()
	k.live()
	if !thorough {
		return
	}
	var got, control time.Duration
	for range canaryAttempts {
		got, control = k.p99()
		k.t.Logf("canary beside %s: p99 %v, normally %v; the control's %v", what, got, normal, control)
		if got < 2*max(normal, control, canaryFloor) {
			return
		}
	}
	k.t.Errorf("beside %s the canary's p99 is %v, normally %v; the control's is %v", what, got, normal, control)
}

// without is a log's records less the canary's.
func (k *canary) without(records []record) (others []record) {
	for _, r := range records {
		if r.f["client"] != k.client {
			others = append(others, r)
		}
	}
	return others
}

// check wants the canary to be alive and every answer to have been right, and ends it by FIN both ways. A second one does nothing.
func (k *canary) check() {
	k.t.Helper()
	if k.over {
		return
	}
	k.live()
	k.talking.Lock()
	defer k.talking.Unlock()
	_ = k.orders.Close()
	var longest time.Duration
	k.answer(&k.rounds, &longest)
	if err := k.child.Wait(); err != nil {
		k.t.Fatalf("the canary: %v %s", err, k.errors.String())
	}
	k.over = true
	k.t.Logf("canary: %v rounds, longest %v", k.rounds, longest)
}
