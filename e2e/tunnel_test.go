package e2e

import (
	"fmt"
	"net"
	"os"
	"testing"
)

// --tunnel relays whatever comes, Foo too, and counts no message.
func TestTunnelFromTheFirstByte(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr, "--tunnel")
		c, s := p.pair(u)
		ok(t, s.send([]byte("220 the server speaks first\r\n")))
		ok(t, c.expectText("220 the server speaks first\r\n"))
		ok(t, c.send([]byte("REQ 1\nnonsense\n")))
		ok(t, s.expectText("REQ 1\nnonsense\n"))
		finish(t, c, s)
		p.reaches(stats{"msg_total": 0, "bad": 0, "class_tunnel": 1, "bytes_tunnel_in": 15, "bytes_tunnel_out": 29, "connections": 0})
	})
}

// FIN and RST, either way, come behind every byte although the reader is slow; RST also after a half-close.
func TestTunnelEndsBehindTheData(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr, "--tunnel")
		for i := range 6 {
			c := dial(t, p.addr, 4096)
			s := u.accept()
			stream := func() *messages { return acks(i, 60+10*i, 990) }
			from, to := s, c
			if i%2 == 0 {
				from, to = c, s
			}
			ok(t, from.sendAll(stream()))
			ok(t, from.CloseWrite())
			ok(t, from.delivered())
			ok(t, to.expect(stream()))
			ok(t, to.ends(fin))
			resets(t, to, from, func() *messages { return requests(i, 10, 500) })

			c = dial(t, p.addr, 4096)
			s = u.accept()
			resets(t, s, c, stream)
			c, s = p.pair(u)
			resets(t, c, s, stream)
		}
		p.reaches(stats{"connections": 0, "buffered_bytes": 0})
	})
}

// A thousand tunnels whose clients stop reading, and then read on: more than there are pipes.
func TestThousandTunnels(t *testing.T) {
	eachEngineAlone(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		const loops = 2
		p := launchPlain(t, engine, u.addr, []string{"--tunnel", fmt.Sprint("--loops=", loops)})
		t.Cleanup(p.check)
		const n, each, size = 1000, 4, 64 << 10
		clients, servers := make([]*peer, n), make([]*peer, n)
		for i := range n {
			clients[i] = dialSmall(t, p.addr)
			servers[i] = u.accept()
			ok(t, servers[i].stream.(*net.TCPConn).SetWriteBuffer(16<<10))
		}
		poured := make(chan error, 1)
		go func() {
			poured <- forAll(n, func(i int) error { return servers[i].sendAll(acks(i, each, size)) })
		}()
		eventually(t, "pipes have run out", func() bool { return p.stats()["no_pipe"] > 0 })
		steady(t, "the bytes in pipes", func() int64 { return int64(p.piped()) })
		if n, pages := p.pipes(); n <= loops*64 || pages*os.Getpagesize() > loops*perPipes {
			t.Errorf("%d pipes can take %d pages, want more than %d and at most %d", n, pages, loops*64, loops*perPipes/os.Getpagesize())
		}
		ok(t, forAll(n, func(i int) error {
			if err := clients[i].widen(); err != nil {
				return err
			}
			return clients[i].expect(acks(i, each, size))
		}))
		ok(t, <-poured)
		for i := range n {
			clients[i].Close()
			servers[i].Close()
		}
		p.reaches(stats{"connections": 0, "buffered_bytes": 0})
	})
}
