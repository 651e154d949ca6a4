package e2e

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// eachPipe visits the child's pipes, those that it was started with aside, through a descriptor of the visitor's own.
func (p *proxy) eachPipe(visit func(fd int)) {
	p.t.Helper()
	dir, seen := fmt.Sprintf("/proc/%d/fd", p.pid()), map[string]bool{}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		name, _ := os.Readlink(path)
		if !strings.HasPrefix(name, "pipe:") || seen[name] || strings.Contains(p.fdList, name) {
			continue
		}
		seen[name] = true
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err == nil { // else closed meanwhile
			visit(fd)
			_ = unix.Close(fd)
		}
	}
}

// piped is how many bytes lie in the child's pipes (FIONREAD, pipe(7)).
func (p *proxy) piped() (n int) {
	p.t.Helper()
	p.eachPipe(func(fd int) {
		held, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
		ok(p.t, err)
		n += held
	})
	return n
}

// pipes is how many pipes the child has and what they can hold together, in pages.
func (p *proxy) pipes() (n, pages int) {
	p.t.Helper()
	p.eachPipe(func(fd int) {
		size, err := unix.FcntlInt(uintptr(fd), unix.F_GETPIPE_SZ, 0)
		ok(p.t, err)
		n++
		pages += size / os.Getpagesize()
	})
	return n, pages
}

// fillPipe has from send pieces until some of it stays in a pipe of the proxy's, since nobody reads, and a little more, which stays
// before that pipe. It returns how many bytes that were; all of them are in the proxy's kernel.
func fillPipe(t *testing.T, p *proxy, from *peer, stream io.Reader, piece int) (sent int64) {
	t.Helper()
	const most = 64 << 20
	send := func(piece int) {
		b := make([]byte, piece)
		_, err := io.ReadFull(stream, b)
		ok(t, err)
		ok(t, from.send(b))
		ok(t, from.delivered())
		sent += int64(piece)
	}
	for p.piped() == 0 || steady(t, "the pipe", func() int64 { return int64(p.piped()) }) == 0 {
		if sent >= most {
			t.Fatalf("%d bytes for a reader that does not read, and none of them is in a pipe", sent)
		}
		send(piece)
	}
	send(16 << 10) // the kernel has room for that
	return sent
}

// An end that comes while a pipe is full waits for what is in it, and for what is before it: every byte arrives, and then FIN for a
// FIN and RST for an RST, either way. After a FIN the other direction goes on.
func TestTunnelEndsBehindAFullPipe(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr, "--tunnel")
		endsBehindAFullPipe(t, p, 32<<10, func() (c, s *peer) { return dialSmall(t, p.addr), u.accept() })
	})
}

// The same with the pipe of a flow that is in the middle of long Data.
func TestLongDataEndsBehindAFullPipe(t *testing.T) {
	eachSpliced(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr)
		beside(t, p, u)
		endsBehindAFullPipe(t, p, 64<<10, func() (c, s *peer) { return p.longPair(u) })
	})
}

func endsBehindAFullPipe(t *testing.T, p *proxy, piece int, pair func() (c, s *peer)) {
	t.Helper()
	for _, row := range []struct {
		from string
		how  end
	}{{"client", fin}, {"client", rst}, {"server", fin}, {"server", rst}} {
		from, to := pair()
		stream, reply := func() io.Reader { return requests(0, 64, 1<<20) }, "ACK 0 still here\n"
		if row.from == "server" {
			from, to = to, from
			stream, reply = func() io.Reader { return acks(0, 64, 1<<20) }, "REQ 0 still here\n"
		}
		sent := fillPipe(t, p, from, stream(), piece)
		if row.how == fin {
			ok(t, from.CloseWrite())
		} else {
			ok(t, from.reset())
		}
		if p.piped() == 0 {
			t.Fatalf("%s, %s: the pipe is empty before the end", row.from, row.how)
		}
		ok(t, to.widen())
		ok(t, to.expect(io.LimitReader(stream(), sent)))
		ok(t, to.ends(row.how))
		if row.how == fin {
			ok(t, to.send([]byte(reply)))
			ok(t, to.CloseWrite())
			ok(t, from.expectText(reply))
			ok(t, from.ends(fin))
			from.Close()
		}
		to.Close()
		p.reaches(stats{"connections": 0, "buffered_bytes": 0})
	}
	p.counts(stats{"no_pipe": 0})
}

// A tunnel that stays open and idle keeps none of the pipes that its bytes, and other tunnels', went through.
func TestIdleTunnelHasNoPipe(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr, "--tunnel")
		c, s := p.pair(u)
		for i := range 2 {
			var clients, servers [8]*peer
			for j := range clients {
				clients[j], servers[j] = p.pair(u)
			}
			ok(t, forAll(len(clients), func(j int) error {
				return together(
					func() error { return clients[j].sendAll(requests(j, 4, 1<<20)) },
					func() error { return servers[j].expect(requests(j, 4, 1<<20)) },
				)
			}))
			ok(t, together(
				func() error { return c.sendAll(requests(i, 4, 1<<20)) },
				func() error { return s.expect(requests(i, 4, 1<<20)) },
				func() error { return s.sendAll(acks(i, 4, 1<<20)) },
				func() error { return c.expect(acks(i, 4, 1<<20)) },
			))
			for j := range clients {
				finish(t, clients[j], servers[j])
			}
			p.reaches(stats{"connections": 1, "no_pipe": 0})
			eventually(t, "no pipe is left", func() bool { n, _ := p.pipes(); return n == 0 })
		}
		finish(t, c, s)
	})
}
