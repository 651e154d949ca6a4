package e2e

import (
	"bytes"
	"io"
	"testing"
)

// finish ends the client's side and then the server's, and wants both ends to be seen as FIN.
func finish(t testing.TB, c, s *peer) {
	t.Helper()
	ok(t, c.CloseWrite())
	ok(t, s.ends(fin))
	ok(t, s.CloseWrite())
	ok(t, c.ends(fin))
}

func TestSegments(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr)
		beside(t, p, u)
		for _, row := range []struct {
			name             string
			n, size, segment int
		}{
			{"one byte each", 20, 20, 1},
			{"seven bytes each", 200, 50, 7},
			{"1000 messages in one", 1000, 12, 1 << 20},
			{"50,000 pipelined at once", 50_000, 16, 1 << 30},
		} {
			before := p.stats()
			c, s := p.pair(u)
			req, ack := requests(1, row.n, row.size).bytes(), acks(1, row.n, row.size).bytes()
			err := together(
				func() error { return c.sendSegments(req, row.segment) },
				func() error { return s.expectBytes(req) },
				func() error { return s.sendSegments(ack, row.segment) },
				func() error { return c.expectBytes(ack) },
			)
			if err != nil {
				t.Fatalf("%s: %v", row.name, err)
			}
			p.counts(plus(before, tally(req, ack)))
			finish(t, c, s)
		}
	})
}

// plus is the values of more on top of base.
func plus(base, more stats) stats {
	sum := stats{}
	for name, n := range more {
		sum[name] = base[name] + n
	}
	return sum
}

// What has arrived is forwarded at once, whatever of its line is missing.
func TestCutThrough(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr)
		beside(t, p, u)
		c, s := p.pair(u)
		for _, text := range []string{"REQ 1", "2", " ", "x", "ä"[:1], "ä"[1:], "\r", "\n", "R", "EQ\t", "-", "7\n"} {
			ok(t, c.send([]byte(text)))
			ok(t, s.expectText(text))
		}
		for _, text := range []string{"N", "AK", " ", "1", "2\n", "ACK 7 \U0001F600"[:8], "\U0001F600"[2:], "\n"} {
			ok(t, s.send([]byte(text)))
			ok(t, c.expectText(text))
		}
		p.counts(stats{"msg_req": 2, "msg_ack": 1, "msg_nak": 1})
		finish(t, c, s)
	})
}

// The end of the stream may cut a line: it is forwarded and not counted.
func TestNoFinalLF(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr)
		beside(t, p, u)
		for i, row := range []struct{ req, ack string }{
			{"REQ 1 whole\nREQ 2 cut", "ACK 1\nNAK"},
			{"REQ 1 whole\nR", "ACK 1\nA"},
			{"REQ 1 whole\nREQ 2 \xc3", "ACK 1\nACK 2 \xf0\x9f"}, // the end inside a UTF-8 sequence
		} {
			c, s := p.pair(u)
			ok(t, c.send([]byte(row.req)))
			ok(t, c.CloseWrite())
			ok(t, s.expectText(row.req))
			ok(t, s.ends(fin))
			ok(t, s.send([]byte(row.ack)))
			ok(t, s.CloseWrite())
			ok(t, c.expectText(row.ack))
			ok(t, c.ends(fin))
			p.counts(stats{"msg_req": float64(i + 1), "msg_ack": float64(i + 1), "msg_nak": 0})
		}
	})
}

// The stream may end before the client's class is decided.
func TestUndecidedThenFIN(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr)
		beside(t, p, u)
		for _, text := range []string{"", "R", "RE", "REQ"} {
			c, s := p.pair(u)
			ok(t, c.send([]byte(text)))
			ok(t, c.CloseWrite())
			ok(t, s.expectText(text))
			ok(t, s.ends(fin))
			ok(t, s.CloseWrite())
			ok(t, c.ends(fin))
		}
		p.counts(stats{"msg_total": 0})
	})
}

// A message of 64 MiB each way passes through constant memory.
func TestHugeMessage(t *testing.T) {
	eachWayAlone(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := launchPlain(t, engine, u.addr, []string{"--max-line=100000000"})
		t.Cleanup(p.check)
		c, s := p.pair(u)
		const size = 64 << 20
		ok(t, together(
			func() error { return c.sendAll(requests(1, 1, size)) },
			func() error { return s.expect(requests(1, 1, size)) },
			func() error { return s.sendAll(acks(1, 1, size)) },
			func() error { return c.expect(acks(1, 1, size)) },
		))
		p.counts(stats{"msg_req": 1, "msg_ack": 1, "msg_nak": 0})
		finish(t, c, s)
	})
}

// Many connections at once, messages of all sizes, both directions at full speed.
func TestManyConnections(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr)
		const conns, n, size = 64, 200, 3000
		stream := func(typ string, conn int) io.Reader {
			return &messages{typ: typ, conn: conn, n: n, size: size, spread: true}
		}
		clients, servers := make([]*peer, conns), make([]*peer, conns)
		for i := range conns {
			clients[i], servers[i] = p.pair(u)
		}
		ok(t, forAll(conns, func(i int) error {
			c, s := clients[i], servers[i]
			if err := together(
				func() error { return c.sendAll(stream("REQ", i)) },
				func() error { return s.expect(stream("REQ", i)) },
				func() error { return s.sendAll(stream("ACK", i)) },
				func() error { return c.expect(stream("ACK", i)) },
			); err != nil {
				return err
			}
			return c.CloseWrite()
		}))
		var in, out int64
		for i := range conns {
			in, out = in+length(stream("REQ", i)), out+length(stream("ACK", i))
		}
		p.counts(stats{
			"msg_req": conns * n, "msg_ack": conns * n, "msg_nak": 0, "bytes_request": float64(in), "bytes_response": float64(out),
			"bad": 0, "class_foo": conns,
		})
		ok(t, forAll(conns, func(i int) error { return servers[i].ends(fin) }))
		ok(t, forAll(conns, func(i int) error { return servers[i].Close() }))
		ok(t, forAll(conns, func(i int) error { return clients[i].ends(fin) }))
		p.reaches(stats{"connections": 0})
	})
}

// The rates are those of moving windows whose divisor is their length.
func TestRates(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr)
		c, s := p.pair(u)
		req, ack := requests(1, 900, 5).bytes(), acks(1, 600, 5).bytes()
		ok(t, c.send(req))
		ok(t, s.expectBytes(req))
		ok(t, s.send(ack))
		ok(t, c.expectBytes(ack))
		if got := p.stats(); got["request_rate_10s"] != 90 || got["response_rate_10s"] != 60 {
			t.Errorf("rates over 10 s are %v and %v, want 90 and 60", got["request_rate_10s"], got["response_rate_10s"])
		}
		var sawAll bool
		eventually(t, "the window of 1 s has passed", func() bool {
			got := p.stats()
			sawAll = sawAll || got["request_rate_1s"] == 900 && got["response_rate_1s"] == 600
			return got["request_rate_1s"] == 0 && got["response_rate_1s"] == 0
		})
		if !sawAll {
			t.Error("the window of 1 s never showed all that was sent in it")
		}
		if got := p.stats(); got["request_rate_10s"] != 90 {
			t.Errorf("the rate over 10 s fell to %v too early", got["request_rate_10s"])
		}
	})
}

// The server may speak first, and bytes of the two directions cross.
func TestServerFirst(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr)
		c, s := p.pair(u)
		early := bytes.Repeat([]byte("ACK 99 early\n"), 100)
		ok(t, s.send(early))
		ok(t, c.expectBytes(early))
		ok(t, c.send([]byte("REQ 1\n")))
		ok(t, s.expectText("REQ 1\n"))
		p.counts(stats{"msg_req": 1, "msg_ack": 100})
		finish(t, c, s)
	})
}
