package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
)

// arbitraryStarts are first bytes of clients that do not speak Foo, each with a byte within the first four that no request
// has there.
var arbitraryStarts = []string{
	"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("\x5a", 500), // TLS client hello
	"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "REPORT / HTTP/1.1\r\n\r\n",
	"SSH-2.0-OpenSSH_9.6\r\n", "\x00\x00\x00\x17\x00", "*1\r\n$4\r\nPING\r\n",
	"\n", "\r\n", "R\n", "RE\n", "REQ\n", "REQ1\n", "REQX 1\n", "REq 1\n", "req 1\n", " REQ 1\n", "\xef\xbb\xbfREQ 1\n",
	"ACK 1\n", "NAK 1\n", "R\xff", "RE\x00Q", "REQ\xa0",
}

// allStarts is arbitraryStarts and seeded random bytes.
func allStarts() []string {
	random := rand.NewChaCha8([32]byte{1})
	all := arbitraryStarts
	for i := range 60 {
		b := make([]byte, 4+i*i)
		_, _ = random.Read(b)
		all = append(all, string(b))
	}
	return all
}

// A client that does not speak Foo is closed, and none of it reaches the server.
func TestArbitraryClosed(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		var reached atomic.Int64
		u.serve(func(s *peer) {
			b, _, _ := s.rest()
			reached.Add(int64(len(b)))
			s.Close()
		})
		p := start(t, engine, u.addr)
		beside(t, p, u)
		starts := allStarts()
		for i, text := range starts {
			for _, segment := range []int{1 << 20, 1} {
				c := p.dial()
				if segment == 1 {
					text = text[:min(4, len(text))]
				}
				ok(t, c.sendSegments([]byte(text), segment)) // what comes after the refusal is thrown away for a while
				if err := c.ends(fin); err != nil {
					t.Fatalf("%q: %v", text, err)
				}
				c.Close()
			}
			p.reaches(stats{"end_arbitrary": float64(2*i + 2), "class_arbitrary": float64(2*i + 2), "connections": 0})
		}
		if n := reached.Load(); n != 0 {
			t.Errorf("%d bytes reached the server", n)
		}
		p.counts(stats{"msg_total": 0, "bad": 0, "class_foo": 0})
	})
}

// With --arbitrary=tunnel the same clients are relayed both ways and counted apart; Foo clients are checked as ever.
func TestArbitraryTunnel(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr, "--arbitrary=tunnel")
		in, out := 0, 0
		starts := allStarts()
		for i, text := range starts {
			c, s := p.pair(u)
			ok(t, c.sendSegments([]byte(text), 1+1000*(i%2)))
			ok(t, s.expectText(text))
			answer := text + "\n\xffREQ 1\nACK 1\n" + text
			ok(t, s.send([]byte(answer)))
			ok(t, c.expectText(answer))
			in, out = in+len(text), out+len(answer)
			finish(t, c, s)
		}
		want := stats{"msg_total": 0, "bad": 0, "class_foo": 0, "class_tunnel": float64(len(starts))}
		want["bytes_tunnel_in"], want["bytes_tunnel_out"] = float64(in), float64(out)
		p.reaches(want)

		c, s := p.pair(u)
		ok(t, c.send([]byte("REQ 1\nreq 2\n")))
		ok(t, s.expectText("REQ 1\n"))
		ok(t, s.ends(fin))
		s.Close()
		ok(t, c.ends(fin))
		p.reaches(stats{"bad": 1, "class_foo": 1, "end_violation_request": 1})
	})
}

// A tunnel carries MiBs both ways, half-closes and resets like any other connection.
func TestTunnelStreams(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr, "--arbitrary=tunnel")
		c, s := p.pair(u)
		const hello = "\x16\x03\x01"
		ok(t, c.send([]byte(hello)))
		ok(t, s.expectText(hello))
		ok(t, together(
			func() error { return c.sendAll(requests(1, 100, 40_000)) },
			func() error { return s.expect(requests(1, 100, 40_000)) },
			func() error { return s.sendAll(acks(1, 100, 40_000)) },
			func() error { return c.expect(acks(1, 100, 40_000)) },
		))
		ok(t, c.CloseWrite())
		ok(t, s.ends(fin))
		resets(t, s, c, func() *messages { return acks(2, 100, 900) })
		p.reaches(stats{"msg_total": 0, "class_tunnel": 1, "connections": 0})
	})
}

// Many arbitrary clients at once, beside Foo clients that must not notice.
func TestArbitraryCrowd(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		u.serve(echo)
		p := start(t, engine, u.addr, oneLoop)
		k := measured(t, p, u)
		var came atomic.Int64
		visit := func(i int) error {
			c, err := connect(p.addr, 0)
			if err != nil {
				return err
			}
			defer c.Close()
			came.Add(1)
			return errors.Join(c.send([]byte(fmt.Sprintf("GET /%d HTTP/1.0\r\n\r\n", i))), c.ends(fin))
		}
		ok(t, forAll(200, visit))
		end := keepOn(visit)
		k.holds("arbitrary clients")
		ok(t, end())
		k.check()
		p.reaches(stats{"end_arbitrary": float64(came.Load()), "bad": 0})
	})
}
