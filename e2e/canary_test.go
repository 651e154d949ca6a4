package e2e

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
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
	normal  time.Duration // p99 of a round before the fault; only in a thorough run
}

// How the canary's p99 is taken: the median of windows, each some thousand rounds. A window too slow may be the machine's
// fault and not the proxy's, so there are several attempts.
const (
	canaryWindow   = 200 * time.Millisecond
	canaryWindows  = 5
	canaryAttempts = 3
)

// newCanary makes a canary of a new connection and returns after its first answers. No other connection may be on its way.
func newCanary(t testing.TB, p *proxy, u *upstream) *canary {
	t.Helper()
	k := &canary{t: t}
	c, s := u.next(p)
	k.start(c, s)
	k.live()
	if thorough {
		k.normal = k.p99()
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

// fly has the canary play rounds without a pause for a span, at least three.
func (k *canary) fly(span time.Duration) (f flight) {
	k.t.Helper()
	_, _ = fmt.Fprintln(k.orders, int64(span))
	line, err := k.replies.ReadString('\n')
	if err == nil {
		_, err = fmt.Sscan(line, &f.rounds, &f.p50, &f.p99, &f.p999, &f.worst)
	}
	if err != nil {
		_ = k.child.Wait()
		k.t.Fatalf("the canary: %s", k.errors.String())
	}
	return f
}

// live wants more rounds to complete from now on.
func (k *canary) live() {
	k.t.Helper()
	k.fly(0)
}

func (k *canary) p99() time.Duration {
	k.t.Helper()
	var all []time.Duration
	for range canaryWindows {
		all = append(all, k.fly(canaryWindow).p99)
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// holds wants the canary to be alive while a fault stands and, in a thorough run, its p99 below twice what it was before.
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
	var got time.Duration
	for range canaryAttempts {
		got = k.p99()
		k.t.Logf("canary beside %s: p99 %v, normally %v", what, got, normal)
		if got < 2*normal {
			return
		}
	}
	k.t.Errorf("beside %s the canary's p99 is %v, normally %v", what, got, normal)
}

// check wants the canary to be alive and every answer to have been right, and ends it by FIN both ways.
func (k *canary) check() {
	k.t.Helper()
	k.live()
	_ = k.orders.Close()
	line, err := k.replies.ReadString('\n')
	if werr := k.child.Wait(); err != nil || werr != nil {
		k.t.Fatalf("the canary: %v %s", werr, k.errors.String())
	}
	k.t.Logf("canary: %s", strings.TrimSpace(line))
}
