package proxy

import (
	"bytes"
	"fmt"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"fooproxy/stats"
)

// A black-box run: two scripted peers with a real loop between them. Nothing of the loop is looked at but its counters; what
// arrives is compared with what the streams mean to the naive oracle.

// blackbox is one run.
type blackbox struct {
	say     [2][]byte // what each peer says
	script  []byte    // who says how much next, and turns between; the rest is said at once
	first   side      // who ends first
	reset   [2]bool   // how each peer ends
	settled bool      // everything that can arrive has, before the first end
}

// boxPeer is one peer in the run.
type boxPeer struct {
	fd   int32
	sent int
	cut  bool // what it says is no longer taken
	got  []byte
	end  string // of what it hears: "", "FIN" or "RST"
}

// boxRun plays a blackbox on a rig.
type boxRun struct {
	*loopRig
	*blackbox
	policy string // Config.OnViolation
	peer   [2]boxPeer
	means  [2]naive
	before stats.Local
	buf    []byte
}

func (b *boxRun) play() {
	b.before = b.core.local
	p := b.open()
	for d := range b.peer {
		setTCPOptions(int(p[d]), &Config{NoDelay: true})
		b.peer[d] = boxPeer{fd: p[d], got: b.peer[d].got[:0]}
		b.means[d] = readNaively(side(d), b.say[d], int(b.core.cfg.MaxLine))
	}
	for _, step := range b.script {
		d := side(step & 1)
		b.speak(d, 1<<(step>>1&7)+int(step>>4&3))
		if step&0x40 != 0 {
			b.turn()
		}
		if step&0x80 != 0 {
			b.listen()
		}
	}
	b.speak(client, len(b.say[client]))
	b.speak(server, len(b.say[server]))
	if b.settled {
		b.until("delivery", func() bool {
			b.listen()
			return b.delivered(client) && b.delivered(server)
		})
	}
	b.finish(b.first)
	b.until("relayed end", func() bool {
		b.listen()
		return b.peer[b.first^1].end != ""
	})
	b.finish(b.first ^ 1)
	for d := range b.peer {
		if !b.reset[d] {
			b.until("end", func() bool {
				b.listen()
				return b.peer[d].end != ""
			})
			b.hangUp(b.peer[d].fd, false)
		}
	}
	b.gone()
	b.judge()
}

// speak has a peer say up to n bytes more.
func (b *boxRun) speak(d side, n int) {
	p := &b.peer[d]
	for rest := b.say[d][p.sent:min(p.sent+n, len(b.say[d]))]; len(rest) > 0 && !p.cut; {
		sent, errno := send(p.fd, rest)
		switch errno {
		case 0:
			p.sent += sent
			rest = rest[sent:]
		case unix.EAGAIN:
			b.turn()
			b.listen()
		case unix.EPIPE, unix.ECONNRESET:
			p.cut = true
		default:
			b.t.Fatalf("send: %v", errno)
		}
	}
}

// listen has both peers hear what there is.
func (b *boxRun) listen() {
	for d := range b.peer {
		p := &b.peer[d]
		for p.end == "" {
			n, errno := recv(p.fd, b.buf)
			if errno == unix.EAGAIN {
				break
			}
			b.hear(p, n, errno)
		}
	}
}

func (b *boxRun) hear(p *boxPeer, n int, errno syscall.Errno) {
	switch {
	case errno == unix.ECONNRESET:
		p.end = "RST"
	case errno != 0:
		b.t.Fatalf("recv: %v", errno)
	case n == 0:
		p.end = "FIN"
	default:
		p.got = append(p.got, b.buf[:n]...)
	}
}

// finish has a peer end its stream.
func (b *boxRun) finish(d side) {
	p := &b.peer[d]
	if b.reset[d] {
		b.until("nothing kept back", func() bool { // closing with RST would throw it away
			b.listen()
			left, err := unix.IoctlGetInt(int(p.fd), unix.SIOCOUTQNSD)
			return err != nil || left == 0 || hungUp(p.fd)
		})
		if p.end == "" {
			p.end = "closed"
		}
		b.hangUp(p.fd, true)
		return
	}
	shutdownWrite(p.fd)
}

// passes is how much of a peer's stream may reach the other side.
func (b *boxRun) passes(d side) []byte {
	bad := b.means[d].firstBad
	switch {
	case bad < 0 || b.policy == Forward:
		return b.say[d]
	case d == client && bad < headSize && b.means[server].firstBad < 0:
		return nil // unless the server's fault ends the connection first, and with it the wait for more bytes to decide
	}
	return b.say[d][:bad]
}

// owed says whether all of passes(d) must arrive: nothing that happens to the other flow may end this one early.
func (b *boxRun) owed(d side) bool {
	if b.policy == Forward || b.means[d^1].firstBad < 0 {
		return b.settled && !b.undecided(d) || b.first == d || !b.reset[b.first]
	}
	return false
}

// undecided says that too little of a flow comes to decide the session's class: it waits for more, or for its end.
func (b *boxRun) undecided(d side) bool { return d == client && len(b.passes(d)) < headSize }

func (b *boxRun) delivered(d side) bool {
	hears := &b.peer[d^1]
	return b.undecided(d) || hears.end != "" || !b.owed(d) || len(hears.got) >= len(b.passes(d))
}

// clean says that nothing of either stream is a violation.
func (b *boxRun) clean() bool { return b.means[client].firstBad < 0 && b.means[server].firstBad < 0 }

func (b *boxRun) judge() {
	for d := range b.peer {
		got, want := b.peer[d^1].got, b.passes(side(d))
		if !bytes.HasPrefix(want, got) {
			b.t.Fatalf("the %s hears %q, which is no beginning of %q", name(side(d^1)), got, want)
		}
		if b.owed(side(d)) && len(got) < len(want) {
			b.t.Fatalf("the %s hears %d of %d bytes, of which %d were accepted, and %s",
				name(side(d^1)), len(got), len(want), b.counted(stats.BytesRequest+stats.Counter(d)), b.peer[d^1].end)
		}
	}
	if b.clean() {
		want := [2]string{"FIN", "FIN"}
		for d := range b.peer {
			if b.reset[d] {
				want[d^1] = "RST"
			}
		}
		if got := b.peer[b.first^1].end; got != want[b.first^1] {
			b.t.Fatalf("the %s ends first, and the other side hears %s", name(b.first), got)
		}
		if d := b.first; !b.reset[d] && b.peer[d].end != want[d] {
			b.t.Fatalf("the %s ends second, and the other side hears %s", name(b.first^1), b.peer[d].end)
		}
	}
	b.judgeCounters()
}

func (b *boxRun) counted(c stats.Counter) int { return int(b.core.local[c] - b.before[c]) }

// between wants a counter to have grown by least to most.
func (b *boxRun) between(c stats.Counter, least, most int) {
	if n := b.counted(c); n < least || n > most {
		b.t.Fatalf("%v grows by %d, want %d to %d", c, n, least, most)
	}
}

// judgeCounters compares what was counted with what the oracle counts: exactly where the flow was not cut short.
func (b *boxRun) judgeCounters() {
	b.between(stats.Accepted, 1, 1)
	b.between(stats.Ended, 1, 1)
	ends := 0
	for c := stats.EndFirst; c < stats.NumCounters; c++ {
		ends += b.counted(c)
	}
	if ends != 1 {
		b.t.Fatalf("%d reasons are counted for one end", ends)
	}
	req, ans := b.means[client], b.means[server]
	requests, answers := req.before, ans.before
	if b.policy == Forward {
		requests, answers = req.all, ans.all
	}
	certain := func(d side, n int) int { // the least that must be counted of n
		if b.owed(d) && (b.policy == Close || b.clean() || d == client && b.counted(stats.ClassTunnel) == 0) {
			return n
		}
		return 0
	}
	if req.firstBad >= 0 && req.firstBad < headSize && b.policy == Close {
		requests = naiveCounts{}
	}
	b.between(stats.Req, certain(client, requests.req), requests.req)
	b.between(stats.Ack, certain(server, answers.ack), answers.ack)
	b.between(stats.Nak, certain(server, answers.nak), answers.nak)
	switch {
	case b.clean():
		b.between(stats.Bad, 0, 0)
		why := causeClientFIN + cause(b.first)
		if b.reset[b.first] {
			why = causeClientRST + cause(b.first)
		}
		b.between(why.counter(), 1, 1)
		b.between(stats.ClassFoo, 0, 1)
		b.between(stats.BytesRequest, len(b.peer[server].got), len(b.say[client]))
	case b.policy == Close:
		b.between(stats.Bad, 0, min(req.bad, 1)+min(ans.bad, 1))
		orderly := !b.reset[b.first] // the end comes after the fault
		if orderly && b.first == client && ans.firstBad < 0 {
			why := causeViolationRequest
			if req.firstBad < headSize {
				why = causeArbitrary
			}
			b.between(why.counter(), 1, 1)
		}
		if orderly && b.first == server && req.firstBad < 0 {
			b.between(causeViolationResponse.counter(), 1, 1)
			b.between(stats.Bad, 1, 1)
		}
	default:
		b.between(stats.Bad, 0, req.bad+ans.bad)
	}
}

// boxWorlds are the configurations that black-box runs are played in.
var boxWorlds = []func(*Config){
	func(*Config) {},
	func(cfg *Config) { // small, and all that the kernel can do to a ring is done to it
		cfg.Log, cfg.MaxLine, cfg.MaxBuffer, cfg.RingTest = "/dev/null", 100, 8<<10, "sq=8 cq=16 buffers=8 faults=7"
	},
	func(cfg *Config) {
		cfg.Log, cfg.OnViolation, cfg.Arbitrary, cfg.MaxPipes = "/dev/null", Forward, Tunnel, 8
	},
	func(cfg *Config) { cfg.Splice, cfg.MaxPipes, cfg.MaxBuffer = SpliceOn, 8, 32<<10 },
}

// boxLarge is how many bytes make long Data of what a run without a line's end brings, where long Data is spliced.
const boxLarge = 8

// boxHost keeps a rig on a thread of its own, for any number of runs: a loop on io_uring belongs to the thread that made it.
type boxHost struct {
	runs   chan *blackbox
	result chan string
}

// failing is a failer that only says what is wrong, by a panic that a boxHost recovers.
type failing struct{}

func (failing) Helper()                        {}
func (failing) Fatal(args ...any)              { panic(fmt.Sprint(args...)) }
func (failing) Fatalf(f string, args ...any)   { panic(fmt.Sprintf(f, args...)) }
func (f failing) Errorf(t string, args ...any) { f.Fatalf(t, args...) }

func newBoxHost(engine string, change func(*Config)) *boxHost {
	h := &boxHost{runs: make(chan *blackbox), result: make(chan string)}
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the rig
		defer close(h.result)
		for again := true; again; {
			again = h.serve(engine, change)
		}
	}()
	return h
}

// serve plays runs on a rig until one fails, which may leave the rig in any state, or none is left.
func (h *boxHost) serve(engine string, change func(*Config)) (again bool) {
	defer func() {
		if what := recover(); what != nil {
			h.result <- fmt.Sprint(what)
			again = true
		}
	}()
	r := openLoopRig(failing{}, engine, change)
	if r.core.mayPeek {
		r.direct().large = boxLarge
	}
	run := boxRun{loopRig: r, policy: r.core.cfg.OnViolation, buf: make([]byte, 64<<10)}
	for b := range h.runs {
		run.blackbox = b
		run.play()
		h.result <- ""
	}
	r.close()
	return false
}

// play returns what is wrong with a run, or "".
func (h *boxHost) play(b *blackbox) string {
	h.runs <- b
	return <-h.result
}

func (h *boxHost) close() {
	close(h.runs)
	<-h.result
}
