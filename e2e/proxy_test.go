package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// proxy is the subject: a running child that listens.
type proxy struct {
	*process
	engine string
	addr   string // where it listens
	fds    int    // before the first connection
	fdList string

	threads    int64
	goroutines float64
	base       int64 // bytes of memory without pages of files, and KiB of those, before the first connection
	files      int64
	asking     sync.Mutex // one SIGUSR1 and its answer at a time
	canary     *canary    // whose part the statistics are without; nil for none
}

var (
	listening = regexp.MustCompile(`(?m)^.*\bmsg=listening\b.*\baddr=(\S+)`)
	small     = regexp.MustCompile(`(?s)\nSqMask:\s*0x3\n.*\nCqMask:\s*0x7\n`)
	fatal     = regexp.MustCompile(`(?m)^(panic:|fatal error:|unexpected fault|SIGSEGV)|WARNING: DATA RACE`)
)

// start runs the subject on a free port (unless flags say --listen) in front of forward, waits until it listens, and checks
// it at the test's end.
func start(t testing.TB, engine, forward string, flags ...string) *proxy {
	t.Helper()
	return startWith(t, engine, forward, flags)
}

func startWith(t testing.TB, engine, forward string, flags []string, opts ...option) *proxy {
	t.Helper()
	p := launch(t, engine, forward, flags, opts...)
	t.Cleanup(p.check)
	return p
}

// command is the subject's binary and its first arguments. An engine may be followed by a colon and how io_uring is to be bent
// for the test (FOOTEST_RING of cmd/fooproxy), and by flags, each after a plus sign: "uring:sq=4 cq=8 buffers=4+--splice=on".
// Unless somebody says otherwise all Data is copied: what is done by default depends on the machine. And unless a ring is bent by
// "lend=0" sends without a copy go on where the kernel reports that it copied, as it does on loopback.
func command(engine string) (path string, args []string, opts []option) {
	if engine == relay {
		return os.Args[0], nil, []option{withEnv(envRelay + "=" + relayFault)}
	}
	parts := strings.Split(engine, "+")
	name, bent, _ := strings.Cut(parts[0], ":")
	args = append([]string{"--engine=" + name, "--splice=off"}, parts[1:]...)
	return filepath.Join(binDir, "fooproxy"), args, []option{withEnv("FOOTEST_RING=lend=1 " + bent)}
}

// engineOf is the name of a subject's engine.
func engineOf(subject string) string {
	if at := strings.IndexAny(subject, ":+"); at >= 0 {
		return subject[:at]
	}
	return subject
}

// launch is startWith without the check at the end.
func launch(t testing.TB, engine, forward string, flags []string, opts ...option) *proxy {
	t.Helper()
	path, args, engineOpts := command(engine)
	if !strings.Contains(strings.Join(flags, " "), "--listen") {
		args = append(args, "--listen=127.0.0.1:0")
	}
	args = append(append(args, "--forward="+forward), flags...)
	return listens(t, engine, startProcess(t, path, args, append(engineOpts, opts...)...))
}

// launchPlain is launch of the binary without the race detector, for tests that measure memory or CPU.
func launchPlain(t testing.TB, engine, forward string, flags []string, opts ...option) *proxy {
	t.Helper()
	return launch(t, engine, forward, flags, append(opts, func(c *exec.Cmd) {
		if engine != relay {
			c.Path = filepath.Join(binDir, "fooproxy-plain")
		}
	})...)
}

// listens waits until the child listens and takes the base line.
func listens(t testing.TB, engine string, child *process) *proxy {
	t.Helper()
	p := &proxy{process: child, engine: engine, addr: awaitAddr(t, child)}
	first := p.stats()
	p.goroutines = first["goroutines"]
	if strings.HasPrefix(engine, "uring") { // each loop makes its ring on its own thread
		eventually(t, "every loop has its ring", func() bool {
			_, list := p.descriptors()
			return strings.Count(list, "[io_uring]") == int(first["loops"])
		})
		if strings.Contains(engine, "sq=4 cq=8") {
			p.hasSmallRings()
		}
	}
	p.fds, p.fdList = p.descriptors()
	p.threads = p.status("Threads")
	p.remember()
	return p
}

// hasSmallRings wants 4 submission entries and 8 completions in each ring, by what the kernel says: masks of 3 and 7.
func (p *proxy) hasSmallRings() {
	p.t.Helper()
	for _, ring := range p.rings() {
		if !small.MatchString(ring) {
			p.t.Errorf("a ring is not as small as asked for:\n%s", ring)
		}
	}
}

// awaitAddr waits until the child says where it listens.
func awaitAddr(t testing.TB, child *process) (addr string) {
	t.Helper()
	eventually(t, "the child listens", func() bool {
		if m := listening.FindStringSubmatch(child.errors()); m != nil {
			addr = strings.Trim(m[1], `"`)
			return true
		}
		if child.exited() {
			t.Fatalf("the child ended with code %d:\n%s", child.cmd.ProcessState.ExitCode(), child.errors())
		}
		return false
	})
	return addr
}

// check is the end of every test that ran well: everything is back, and the child ends as it should. A test that was run a second
// time with splice has come to it.
func (p *proxy) check() {
	if p.t.Failed() || p.exited() {
		if p.exited() && p.cmd.ProcessState.ExitCode() != 0 {
			p.t.Errorf("the child has ended with code %d", p.cmd.ProcessState.ExitCode())
		}
		p.verdict()
		p.logStats()
		return
	}

	if splices(p.engine) && !strings.Contains(p.engine, ":") && !slices.Contains(engines, p.engine) && p.ask()["spliced_bytes"] == 0 {
		p.t.Error("no long Data has gone on within the kernel")
	}
	p.idle()
	p.stop()
}

// idle waits until the child holds nothing any more: connections, bytes, operations, descriptors, threads. What memory it has had
// meanwhile is within the documented bound.
func (p *proxy) idle() {
	p.t.Helper()
	var s stats
	var fds int
	var list string
	var inFlight []string
	if !holds(func() bool {
		s = p.stats()
		fds, list = p.descriptors()
		inFlight = p.inFlight()
		return s["connections"] == 0 && s["buffered_bytes"] == 0 && fds <= p.fds && len(inFlight) == 0 && s.ended() == s["connections_total"] &&
			(p.engine == relay || s["goroutines"] <= p.goroutines+s["loops"]+4) // the collector's, which come with its first cycle
	}) {
		p.t.Errorf("not back at the base line: connections %v, %v of %v ended, buffered %v, in flight %v, goroutines %v (were %v), descriptors %d (were %d)\nwas:%s\nis: %s",
			s["connections"], s.ended(), s["connections_total"], s["buffered_bytes"], inFlight, s["goroutines"], p.goroutines, fds, p.fds, p.fdList, list)
	}
	if p.engine == relay {
		return // it makes threads and goroutines as package net sees fit
	}
	p.within("at the end", p.most())
	// The Go runtime starts threads of its own, for blocking calls; a leak is one per connection.
	if n := p.status("Threads"); n > p.threads+8 {
		p.t.Errorf("%d threads, %d at the start", n, p.threads)
	}
}

// stop ends the child by SIGTERM, with exit code 0.
func (p *proxy) stop() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 0 {
		p.t.Errorf("exit code %d after SIGTERM, want 0", code)
	}
	p.verdict()
}

// verdict looks for what a child must never write, and shows the end of what it wrote if the test failed.
func (p *proxy) verdict() {
	p.t.Helper()
	text := p.errors()
	if at := fatal.FindStringIndex(text); at != nil {
		p.t.Errorf("standard error:\n%s", text[at[0]:min(len(text), at[0]+4000)])
	} else if p.t.Failed() {
		p.t.Logf("standard error ends:\n%s", text[max(0, len(text)-2000):])
	}
}

// logStats shows the figures that are not 0 of a child whose test has failed, if it still answers.
func (p *proxy) logStats() {
	if p.exited() {
		return
	}
	p.signal(syscall.SIGUSR1)
	select {
	case b := <-p.packets:
		p.t.Logf("statistics:\n%s", regexp.MustCompile(`(?m)^\w+ 0\n`).ReplaceAll(b, nil))
	case <-time.After(time.Second):
		p.t.Log("no answer to SIGUSR1")
	}
}

// dial connects a client.
func (p *proxy) dial() *peer {
	p.t.Helper()
	return dial(p.t, p.addr, 0)
}

// pair is a new client and the connection to u that the proxy made for it. No other may be on its way.
func (p *proxy) pair(u *upstream) (client, server *peer) {
	p.t.Helper()
	return p.dial(), u.accept()
}

// stats is one answer to SIGUSR1 by name.
type stats map[string]float64

// ended is how many connections have ended, by their reasons.
func (s stats) ended() (n float64) {
	for name, value := range s {
		if strings.HasPrefix(name, "end_") {
			n += value
		}
	}
	return n
}

// firstEight are the names that begin every answer, in this order.
var firstEight = []string{
	"msg_total", "msg_req", "msg_ack", "msg_nak",
	"request_rate_1s", "request_rate_10s", "response_rate_1s", "response_rate_10s",
}

// stats asks with SIGUSR1 and reads the answer, less the canary's part.
func (p *proxy) stats() (s stats) {
	p.t.Helper()
	if p.canary == nil {
		return p.ask()
	}
	part := p.canary.hushed(func() { s = p.ask() })
	for name := range s {
		s[name] -= part[name]
	}
	return s
}

// ask asks with SIGUSR1 and reads the answer, which is one write.
func (p *proxy) ask() stats {
	p.t.Helper()
	p.asking.Lock()
	defer p.asking.Unlock()
	p.signal(syscall.SIGUSR1)
	select {
	case b, more := <-p.packets:
		if !more {
			p.t.Fatal("standard output ended instead of an answer to SIGUSR1")
		}
		return parseStats(p.t, string(b))
	case <-time.After(limit):
		p.t.Fatal("no answer to SIGUSR1")
	}
	return nil
}

// pester sends n SIGUSR1 as fast as it can, of which the kernel makes fewer, and takes no notice of the answers.
func (p *proxy) pester(n int) {
	p.t.Helper()
	p.asking.Lock()
	defer p.asking.Unlock()
	for range n {
		p.signal(syscall.SIGUSR1)
	}
	for {
		select {
		case b := <-p.packets:
			parseStats(p.t, string(b))
		case <-time.After(50 * time.Millisecond):
			return
		}
	}
}

var statLine = regexp.MustCompile(`^([a-z][a-z0-9_]*) (\S+)$`)

// parseStats reads one whole answer: the eight first, then any others, a name and a value on each line.
func parseStats(t testing.TB, text string) stats {
	t.Helper()
	s := stats{}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for i, line := range lines {
		m := statLine.FindStringSubmatch(line)
		if m == nil || i < len(firstEight) && m[1] != firstEight[i] {
			t.Fatalf("line %d of the statistics is %q:\n%s", i+1, line, text)
		}
		s[m[1]], _ = strconv.ParseFloat(m[2], 64) // a name such as the engine's reads as 0
	}
	if len(lines) < len(firstEight) || !strings.HasSuffix(text, "\n") {
		t.Fatalf("the statistics are cut short:\n%s", text)
	}
	if s["msg_total"] != s["msg_req"]+s["msg_ack"]+s["msg_nak"] {
		t.Errorf("msg_total is not the sum of its parts:\n%s", text)
	}
	return s
}

// count wants these values, at once: what has reached a peer has been counted.
func (p *proxy) counts(want stats) {
	p.t.Helper()
	got := p.stats()
	for name, w := range want {
		if g, known := got[name]; !known || g != w {
			p.t.Errorf("%s is %v, want %v", name, g, w)
		}
	}
	if p.t.Failed() {
		p.t.FailNow()
	}
}

// reaches waits for these values: how a connection ended is counted after its peers have seen it.
func (p *proxy) reaches(want stats) {
	p.t.Helper()
	var got stats
	if !holds(func() bool {
		got = p.stats()
		for name, w := range want {
			if g, known := got[name]; !known || g != w {
				return false
			}
		}
		return true
	}) {
		for name, w := range want {
			if g, known := got[name]; !known || g != w {
				p.t.Errorf("%s is %v (known: %v), want %v", name, g, known, w)
			}
		}
		p.t.FailNow()
	}
}
