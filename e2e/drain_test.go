package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TERM while clients send requests as fast as they can and do not stop by themselves: each request that has reached the server
// is answered, no line is cut, the log has an answer for every request, and the exit is clean and in time.
func TestTermUnderFullLoad(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		log := filepath.Join(t.TempDir(), "log")
		p := launch(t, engine, u.addr, []string{"--drain-timeout=4s", "--log=" + log, "--log-overflow=block"})
		k := beside(t, p, u)
		const conns = 24
		floods := make([]*flood, conns)
		for i := range floods {
			floods[i] = &flood{conn: i}
			floods[i].client, floods[i].server = p.pair(u)
		}
		done := make(chan error, 1)
		go func() { done <- forAll(conns, func(i int) error { return floods[i].play() }) }()
		churned := make(chan error, 1)
		u.serve(echo)
		go func() { churned <- forAll(8, func(i int) error { return churn(p.addr, conns+i) }) }()
		for _, f := range floods {
			eventually(t, "the load is on", func() bool { return f.answered.Load() > 500 })
		}
		p.signal(syscall.SIGTERM)
		k.check()
		ok(t, <-done)
		ok(t, <-churned)
		if code := p.exit(); code != 0 {
			t.Errorf("exit code %d, want 0", code)
		}
		if strings.Contains(p.errors(), "drain time-out is over") {
			t.Error("the drain time-out had to end what should have ended by itself")
		}
		p.verdict()
		requests := int64(0)
		for _, f := range floods {
			if f.reached.Load() != f.answered.Load() {
				t.Errorf("connection %d: %d requests reached the server, %d answers the client", f.conn, f.reached.Load(), f.answered.Load())
			}
			requests += f.reached.Load()
		}
		text := readFile(t, log)
		if n := strings.Count(text, " res=- "); n > 0 {
			t.Errorf("the log has %d requests without an answer", n)
		}
		if n := int64(strings.Count(text, " REQ ")); n < requests {
			t.Errorf("the log has %d requests, %d reached the server", n, requests)
		}
		t.Logf("%d requests, all answered", requests)
	})
}

// flood is a connection whose client sends for as long as it may, and whose server answers.
type flood struct {
	conn              int
	client, server    *peer
	reached, answered atomic.Int64 // whole requests at the server, whole answers at the client
}

func (f *flood) play() error {
	defer f.client.Close()
	var over atomic.Bool
	return together(
		func() error { return f.sends(&over) },
		func() error {
			defer over.Store(true)
			return f.reads(f.client, "ACK", &f.answered, nil)
		},
		func() error {
			defer f.server.Close()
			return f.reads(f.server, "REQ", &f.reached, f.server)
		},
	)
}

// sends sends requests until the client has seen the end of its stream.
func (f *flood) sends(over *atomic.Bool) error {
	var batch []byte
	for seq := 0; !over.Load(); {
		for batch = batch[:0]; len(batch) < 500; seq++ {
			batch = appendMessage(batch, "REQ", f.conn, seq, 30)
		}
		switch err := f.client.send(batch); {
		case err == nil, over.Load():
		case errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET):
			return nil // the proxy has read enough for its last second; what it has accepted is being answered
		default:
			return err
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}

// reads reads lines of a type to the end of the stream, wants each to be the next one, and answers them if it is told whom.
func (f *flood) reads(from *peer, typ string, count *atomic.Int64, answer *peer) error {
	var held, want []byte
	buf := make([]byte, 64<<10)
	for {
		from.soon()
		n, err := from.Read(buf)
		held = append(held, buf[:n]...)
		whole := bytes.LastIndexByte(held, '\n') + 1
		for line := range bytes.Lines(held[:whole]) {
			want = appendMessage(want[:0], "REQ", f.conn, int(count.Load()), 30)
			copy(want, typ)
			if !bytes.Equal(line, want) {
				return fmt.Errorf("connection %d: %s has read %q, want %q", f.conn, from.name, line, want)
			}
			count.Add(1)
		}
		if answer != nil && whole > 0 {
			copy(want, "REQ")
			if err := answer.send(bytes.ReplaceAll(held[:whole], []byte("REQ "), []byte("ACK "))); err != nil {
				return err
			}
		}
		held = held[:copy(held, held[whole:])]
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			return nil
		case from == f.client && errors.Is(err, syscall.ECONNRESET): // it sent on after the proxy had closed
			return nil
		default:
			return fmt.Errorf("%s: %w", from.name, err)
		}
	}
}

// churn makes connections, uses each once, and stops when it is not let in any more.
func churn(addr string, conn int) error {
	for i := 0; ; i++ {
		c, err := connect(addr, 0)
		if err != nil {
			return nil
		}
		m := requests(conn*10_000+i, 3, 40).bytes()
		_ = c.send(m)
		got, e, err := c.next(len(m))
		c.Close()
		if e != "" || err != nil && len(got) == 0 { // it waited to be accepted, and nobody has read its requests
			return nil
		}
		if err = errors.Join(err, differs(got, answersTo(m))); err != nil {
			return err
		}
	}
}

// Clients that the kernel has let in before TERM, and nobody has accepted yet, are connected as far as they know: they get their
// answers. The proxy is held still until all of them wait.
func TestTermServesTheAcceptQueue(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		for name, flags := range ways(t) {
			t.Run(name, func(t *testing.T) {
				u := newUpstream(t)
				u.serve(echo)
				p := launch(t, engine, u.addr, append(flags, "--loops=2", "--drain-timeout=15s"))
				p.signal(syscall.SIGSTOP)
				const n = 600
				clients := make([]*peer, n)
				for i := range clients {
					clients[i] = dial(t, p.addr, 0)
					ok(t, clients[i].send([]byte("REQ 1\n")))
				}
				p.signal(syscall.SIGTERM)
				p.signal(syscall.SIGCONT)
				ok(t, forAll(n, func(i int) error {
					return errors.Join(clients[i].expectText("ACK 1\n"), clients[i].shutAndClose())
				}))
				if code := p.exit(); code != 0 {
					t.Errorf("exit code %d, want 0", code)
				}
				p.verdict()
			})
		}
	})
}
