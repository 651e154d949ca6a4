package e2e

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// survivorsLimit is how long those that nobody has cut may take after the last fault; judged in thorough runs.
const survivorsLimit = 5 * time.Second

// perform plays a script on every subject.
func (s *script) perform(t *testing.T) {
	subjects := engines
	if !slices.Contains(subjects, relay) {
		subjects = append([]string{relay}, subjects...)
	}
	for _, subject := range subjects {
		t.Run(subject, func(t *testing.T) { s.performOn(t, subject) })
	}
}

func (s *script) performOn(t *testing.T, subject string) {
	u := newUpstream(t)
	p := start(t, subject, u.addr, s.Flags...)
	lift := make(chan struct{}) // closed when the faults are over
	acts := make([]*act, len(s.Conns))
	for i := range s.Conns {
		c := &s.Conns[i]
		client := dial(t, p.addr, c.Rcvbuf[0])
		acts[i] = &act{scriptConn: c, conn: i, lift: lift, ends: [2]*peer{client, u.accept()}}
		acts[i].prepare(t)
	}
	u.serve(func(s *peer) { // of the clients that are faults
		_, _, _ = s.rest()
		s.Close()
	})
	played := make(chan error, 1)
	go func() { played <- forAll(len(acts), func(i int) error { return acts[i].play() }) }()
	ok(t, s.inflict(p, acts))
	close(lift)
	lifted := time.Now()
	ok(t, <-played)
	if took := time.Since(lifted); thorough && took > survivorsLimit {
		t.Errorf("%v after the last fault they have finished, at most %v is wanted", took, survivorsLimit)
	}
	p.quiet()
	p.reaches(stats{"connections": 0})
	counted := p.stats()
	if slices.Contains(s.Flags, "--tunnel") && subject != relay {
		if n := counted["msg_total"]; n != 0 {
			t.Errorf("%v messages are counted in tunnels", n)
		}
		counted = nil
	}
	judgePlan(t, subject, counted, acts)
}

// inflict has the faults happen, each at its time.
func (s *script) inflict(p *proxy, acts []*act) error {
	faults := slices.SortedFunc(slices.Values(s.Faults), func(a, b scriptFault) int { return cmp.Compare(a.AfterMs, b.AfterMs) })
	began := time.Now()
	for _, f := range faults {
		time.Sleep(time.Until(began.Add(time.Duration(f.AfterMs) * time.Millisecond)))
		switch f.Kind {
		case faultUSR1:
			for range 50 {
				p.signal(syscall.SIGUSR1)
			}
		case faultHUP:
			for range 5 {
				p.signal(syscall.SIGHUP)
			}
		case faultStop:
			p.signal(syscall.SIGSTOP)
			time.Sleep(20 * time.Millisecond)
			p.signal(syscall.SIGCONT)
		case faultAborts, faultArbitrary:
			if err := forAll(10, func(int) error { return nuisance(p.addr, f.Kind) }); err != nil {
				return err
			}
		case faultKill:
			a := acts[f.Conn]
			_ = killSocket(a.remote, a.local) // it may have ended already
		default:
			return fmt.Errorf("no such fault: %q", f.Kind)
		}
	}
	return nil
}

// nuisance is a client that is a fault.
func nuisance(addr, kind string) error {
	c, err := connect(addr, 0)
	if err != nil {
		return err
	}
	defer c.Close()
	if kind == faultAborts {
		return c.reset()
	}
	_ = c.send([]byte("GET / HTTP/1.0\r\n\r\n"))
	_ = c.CloseWrite()
	_, _, err = c.rest()
	return err
}

// act is one connection of a script as it is played.
type act struct {
	*scriptConn
	conn          int
	ends          [2]*peer // client, server
	lift          <-chan struct{}
	local, remote net.Addr
	sent, lines   [2]atomic.Int64 // by side: bytes and whole lines sent
	got, heard    [2]int64        // by side: bytes and whole lines received
	end           [2]end          // by side: how its stream ended, "" when it left first
	gone          [2]atomic.Bool  // the side has closed
	broken        [2]atomic.Bool  // the side learnt of a reset by sending, so its stream may end as by FIN
}

func (a *act) prepare(t *testing.T) {
	t.Helper()
	a.local, a.remote = a.ends[0].LocalAddr(), a.ends[0].RemoteAddr()
	for side, p := range a.ends {
		c := p.stream.(*net.TCPConn)
		if a.Sndbuf[side] > 0 {
			ok(t, c.SetWriteBuffer(a.Sndbuf[side]))
		}
		if a.Rcvbuf[side] > 0 && side == 1 { // the client's was set before its handshake
			ok(t, c.SetReadBuffer(a.Rcvbuf[side]))
		}
	}
}

func (a *act) play() error {
	read := [2]chan struct{}{make(chan struct{}), make(chan struct{})} // closed when a side has seen its stream's end
	go a.widen()
	err := together(
		func() error { return a.speaks(0, read[0]) },
		func() error { return a.speaks(1, read[1]) },
		func() error { defer close(read[0]); return a.reads(0) },
		func() error { defer close(read[1]); return a.reads(1) },
	)
	_, _ = a.ends[0].Close(), a.ends[1].Close()
	if err != nil {
		return fmt.Errorf("connection %d (%s): %w", a.conn, a.End, err)
	}
	return nil
}

// widen gives the peers ample buffers once the faults are over: through a small window the kernel lets MiBs trickle for minutes.
func (a *act) widen() {
	<-a.lift
	for _, p := range a.ends {
		c := p.stream.(*net.TCPConn)
		_, _ = c.SetReadBuffer(1<<20), c.SetWriteBuffer(1<<20)
	}
}

// speaks sends all that a side has to say and then its end; ended is closed when the other side has ended.
func (a *act) speaks(side int, ended <-chan struct{}) error {
	p, stream := a.ends[side], a.stream(a.conn, side)
	cuts := a.End == endsClientRST && side == 0 || a.End == endsServerRST && side == 1 || a.End == endsClientDrop && side == 0
	buf := make([]byte, a.Chunk[side])
	for left := a.Cut; !cuts || left > 0; {
		want := buf
		if cuts {
			want = buf[:min(len(buf), left)]
		}
		n, err := io.ReadFull(stream, want)
		if n == 0 && err != nil {
			break
		}
		left -= n
		_ = p.SetWriteDeadline(time.Now().Add(limit))
		m, err := p.Write(want[:n])
		a.sent[side].Add(int64(m))
		a.lines[side].Add(int64(strings.Count(string(want[:m]), "\n")))
		if err != nil {
			if a.survives() || !isReset(err) && !errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("%s after %d bytes: %w", p.name, a.sent[side].Load(), err)
			}
			a.broken[side].Store(true)
			return nil
		}
		time.Sleep(time.Duration(a.Pause[side]) * time.Microsecond)
	}
	switch {
	case cuts && a.End == endsClientDrop:
		a.gone[side].Store(true)
		return p.Close()
	case cuts:
		a.gone[side].Store(true)
		return p.reset()
	case a.End == endsClientFirst && side == 1 || a.End == endsServerFirst && side == 0:
		<-ended // the other side is to be first
	}
	if err := p.CloseWrite(); err != nil && a.survives() {
		return fmt.Errorf("%s ends: %w", p.name, err)
	}
	return nil
}

// reads reads all that a side gets, and wants it to be what the other side has sent.
func (a *act) reads(side int) error {
	p, want := a.ends[side], a.stream(a.conn, side^1)
	got, should := make([]byte, 64<<10), make([]byte, 64<<10)
	for stall := int64(a.Stall[side]); ; {
		if stall > 0 && a.got[side] >= stall {
			<-a.lift
		}
		p.soon()
		n, err := p.Read(got)
		w, _ := io.ReadFull(want, should[:n])
		if d := differ(got[:n], should[:w]); d >= 0 {
			return fmt.Errorf("%s: byte %d: got %q, want %q", p.name, a.got[side]+int64(d), excerpt(got[:n], d), excerpt(should[:w], d))
		}
		a.got[side] += int64(n)
		a.heard[side] += int64(strings.Count(string(got[:n]), "\n"))
		switch {
		case err == nil:
			continue
		case errors.Is(err, io.EOF):
			a.end[side] = fin
		case isReset(err):
			a.end[side] = rst
		case !errors.Is(err, net.ErrClosed) || !a.gone[side].Load():
			return fmt.Errorf("%s after %d bytes: %w", p.name, a.got[side], err)
		}
		return nil
	}
}

// judgePlan compares what arrived with what was sent, and the counters, unless they are nil, with both.
func judgePlan(t *testing.T, subject string, counted stats, acts []*act) {
	t.Helper()
	var least, most [2]int64
	for _, a := range acts {
		for side := range a.ends {
			sent, got := a.sent[side^1].Load(), a.got[side]
			if got > sent || a.survives() && (got != sent || a.end[side] != fin) {
				t.Errorf("connection %d (%s): %s has got %d of %d bytes, and then %q", a.conn, a.End, a.ends[side].name, got, sent, a.end[side])
			}
			least[side^1] += a.heard[side]
			most[side^1] += a.lines[side^1].Load()
		}
		if subject != relay { // which has no memory of a reset that it has seen while sending
			a.judgeReset(t)
		}
	}
	if counted == nil {
		return // nobody looks into a tunnel
	}
	for side, n := range [2]float64{counted["msg_req"], counted["msg_ack"] + counted["msg_nak"]} {
		if n < float64(least[side]) || n > float64(most[side]) {
			t.Errorf("%s: %v are counted, %d were received and %d sent", []string{"requests", "answers"}[side], n, least[side], most[side])
		}
	}
}

// judgeReset wants a reset to have been relayed as one.
func (a *act) judgeReset(t *testing.T) {
	t.Helper()
	reader := map[string]int{endsClientRST: 1, endsServerRST: 0}
	if side, is := reader[a.End]; is && a.end[side] == fin && !a.broken[side].Load() {
		t.Errorf("connection %d (%s): %s has seen FIN", a.conn, a.End, a.ends[side].name)
	}
}
