package e2e

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
)

// A plan is what the peers of one connection do; the same seed gives the same plan.
type plan struct {
	conn      int
	req, ack  messages
	segment   [2]int // most bytes in one write, client and server
	smallRead bool   // the client has a small window
	ending    int
	cut       string // an unfinished line behind the requests
}

// The kinds of end of a plan. All of them wait until everything has arrived, so that what must be seen is certain.
const (
	endClient = iota // client FIN, server FIN
	endServer        // server FIN, client FIN
	endClientReset
	endServerReset
	endKinds
)

func newPlans(seed uint64, n int) []plan {
	r := rand.New(rand.NewPCG(seed, 1))
	plans := make([]plan, n)
	for i := range plans {
		size := []int{10, 100, 3000, 70_000, 300_000}[r.IntN(5)]
		count := 1 + r.IntN(1+300_000/size)
		p := plan{conn: i, smallRead: r.IntN(4) == 0, ending: r.IntN(endKinds)}
		p.req = messages{typ: "REQ", conn: i, n: count, size: size, spread: true}
		p.ack = messages{typ: []string{"ACK", "NAK"}[r.IntN(2)], conn: i, n: count, size: size, spread: true}
		for side := range p.segment {
			p.segment[side] = []int{200 + r.IntN(2000), 1 << 14, 1 << 20}[r.IntN(3)]
		}
		if r.IntN(3) == 0 {
			p.cut = "REQ 5 unfinished"
		}
		plans[i] = p
	}
	return plans
}

// outcome is what can be seen of a connection from outside.
type outcome struct {
	toServer, toClient string // length and hash of what arrived
	ends               [2]end // of the client's stream and the server's
}

func digest(b []byte) string {
	h := fnv.New64a()
	_, _ = h.Write(b)
	return fmt.Sprintf("%d bytes %x", len(b), h.Sum64())
}

// play performs a plan on a fresh connection.
func (p plan) play(c, s *peer) (out outcome, err error) {
	req, ack := p.req, p.ack
	sent, answered := append(req.bytes(), p.cut...), ack.bytes()
	var gotS, gotC []byte
	if err := together(
		func() error { return c.sendSegments(sent, p.segment[0]) },
		func() (err error) { gotS, err = s.take(len(sent)); return err },
		func() error { return s.sendSegments(answered, p.segment[1]) },
		func() (err error) { gotC, err = c.take(len(answered)); return err },
	); err != nil {
		return out, fmt.Errorf("connection %d: %w", p.conn, err)
	}
	out.toServer, out.toClient = digest(gotS), digest(gotC)
	if err := together(
		func() error { return differs(gotS, bytes.NewReader(sent)) },
		func() error { return differs(gotC, bytes.NewReader(answered)) },
	); err != nil {
		return out, fmt.Errorf("connection %d: %w", p.conn, err)
	}
	first, second, seenBySecond, seenByFirst := c, s, &out.ends[1], &out.ends[0]
	if p.ending == endServer || p.ending == endServerReset {
		first, second, seenBySecond, seenByFirst = s, c, &out.ends[0], &out.ends[1]
	}
	if p.ending == endClientReset || p.ending == endServerReset {
		if err := first.reset(); err != nil {
			return out, err
		}
		_, *seenBySecond, err = second.rest()
		second.Close()
		return out, err
	}
	if err := first.CloseWrite(); err != nil {
		return out, err
	}
	if _, *seenBySecond, err = second.rest(); err != nil {
		return out, err
	}
	if err := second.CloseWrite(); err != nil {
		return out, err
	}
	_, *seenByFirst, err = first.rest()
	c.Close()
	s.Close()
	return out, err
}

// take reads n bytes.
func (p *peer) take(n int) ([]byte, error) {
	b := make([]byte, n)
	for got := 0; got < n; {
		p.soon()
		m, err := io.ReadAtLeast(p, b[got:], min(n-got, 64<<10))
		got += m
		if err != nil {
			return b[:got], fmt.Errorf("%s: after %d of %d bytes: %w", p.name, got, n, err)
		}
	}
	return b, nil
}

// The same seeded plans on every engine, with long Data copied and spliced, and on the naive relay: the same bytes, the same kinds of end, the same counters.
// FOO_SEED replays a run.
func TestDifferential(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	if s, err := strconv.ParseUint(os.Getenv("FOO_SEED"), 10, 64); err == nil {
		seed = s
	}
	t.Logf("FOO_SEED=%d", seed)
	const conns = 60
	subjects := []string{relay}
	for _, e := range bothWays() {
		if e != relay {
			subjects = append(subjects, e)
		}
	}
	var reference []outcome
	var counted, ofEngine stats
	for _, subject := range subjects {
		u := newUpstream(t)
		p := start(t, subject, u.addr)
		plans := newPlans(seed, conns)
		outcomes := make([]outcome, conns)
		clients, servers := make([]*peer, conns), make([]*peer, conns)
		for i, plan := range plans {
			rcvbuf := 0
			if plan.smallRead {
				rcvbuf = 8192
			}
			clients[i], servers[i] = dial(t, p.addr, rcvbuf), u.accept()
		}
		ok(t, forAll(conns, func(i int) (err error) {
			outcomes[i], err = plans[i].play(clients[i], servers[i])
			return err
		}))
		p.reaches(stats{"connections": 0})
		got := p.stats()
		if subject != relay {
			if ofEngine == nil {
				ofEngine = got
			}
			sameTotals(t, got, ofEngine)
		}
		if reference == nil {
			reference, counted = outcomes, got
			continue
		}
		for i := range outcomes {
			if outcomes[i] != reference[i] {
				t.Errorf("connection %d (end %d): %s gives %+v, %s gives %+v", i, plans[i].ending, subject, outcomes[i], subjects[0], reference[i])
			}
		}
		for _, name := range firstEight[:4] {
			if got[name] != counted[name] {
				t.Errorf("%s is %v on %s, %v on %s", name, got[name], subject, counted[name], subjects[0])
			}
		}
	}
}

// sameTotals wants two engines to have counted the same: whatever depends on the peers alone.
func sameTotals(t *testing.T, got, want stats) {
	t.Helper()
	compared := 0
	for name, n := range want {
		switch kind, _, _ := strings.Cut(name, "_"); kind {
		case "msg", "bad", "class", "bytes", "end", "connections":
			compared++
			if got[name] != n {
				t.Errorf("%s is %v with one engine, %v with the other", name, got[name], n)
			}
		}
	}
	if compared < 30 {
		t.Errorf("only %d figures were compared", compared)
	}
}
