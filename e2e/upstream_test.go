package e2e

import (
	"bytes"
	"fmt"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// upstream is the server side of the proxy, played by the test: it accepts, the test decides what each connection does.
type upstream struct {
	t    testing.TB
	addr string
	l    net.Listener
	n    atomic.Int64

	serving atomic.Bool
	taker   atomic.Pointer[chan *peer] // gets the next connection instead of serve's handler
}

func newUpstream(t testing.TB) *upstream {
	t.Helper()
	return listenUpstream(t, "127.0.0.1:0")
}

func listenUpstream(t testing.TB, addr string) *upstream {
	t.Helper()
	network, address := split(addr)
	l, err := net.Listen(network, address)
	ok(t, err)
	t.Cleanup(func() { l.Close() })
	u := &upstream{t: t, addr: l.Addr().String(), l: l}
	if network == "unix" {
		u.addr = addr
	}
	return u
}

// accept waits for the proxy's next connection.
func (u *upstream) accept() *peer {
	u.t.Helper()
	p, err := u.acceptErr()
	ok(u.t, err)
	return p
}

func (u *upstream) acceptErr() (*peer, error) {
	l := u.l.(interface{ SetDeadline(time.Time) error })
	_ = l.SetDeadline(time.Now().Add(limit))
	defer func() { _ = l.SetDeadline(time.Time{}) }() // it would end somebody's later Accept
	c, err := u.l.Accept()
	if err != nil {
		return nil, fmt.Errorf("no connection from the proxy: %w", err)
	}
	return newPeer(u.t, c, fmt.Sprintf("server %d", u.n.Add(1))), nil
}

// serve gives every further connection to handler, each in a goroutine of its own, until the test ends.
func (u *upstream) serve(handler func(*peer)) {
	u.serving.Store(true)
	go func() {
		_ = u.l.(interface{ SetDeadline(time.Time) error }).SetDeadline(time.Time{})
		for {
			c, err := u.l.Accept()
			if err != nil {
				return
			}
			s := newPeer(u.t, c, fmt.Sprintf("server %d", u.n.Add(1)))
			if taker := u.taker.Swap(nil); taker != nil {
				*taker <- s
				continue
			}
			go handler(s)
		}
	}()
}

// next is a new client and the connection to u that the proxy made for it, whether u serves or not. No other may be on its way.
func (u *upstream) next(p *proxy) (client, server *peer) {
	u.t.Helper()
	if !u.serving.Load() {
		return p.pair(u)
	}
	taken := make(chan *peer, 1)
	u.taker.Store(&taken)
	client = p.dial()
	select {
	case server = <-taken:
	case <-time.After(limit):
		u.t.Fatal("no connection from the proxy")
	}
	return client, server
}

// echo answers each request with an ACK that bears the rest of its line, in batches, to the end of the stream.
func echo(s *peer) {
	defer s.Close()
	_ = s.SetDeadline(time.Time{})
	buf, held := make([]byte, 256<<10), 0
	for {
		n, err := s.Read(buf[held:])
		if n == 0 && err != nil {
			return
		}
		held += n
		whole := bytes.LastIndexByte(buf[:held], '\n') + 1
		for at := 0; at < whole; {
			next := at + bytes.IndexByte(buf[at:], '\n') + 1
			copy(buf[at:next-1], "ACK")
			at = next
		}
		if _, err := s.Write(buf[:whole]); err != nil {
			return
		}
		held = copy(buf, buf[whole:held])
		if held == len(buf) {
			buf = append(buf, make([]byte, len(buf))...)
		}
	}
}

// unixPath is a short path for a unix socket: sun_path holds 108 bytes.
func unixPath(t testing.TB, name string) string {
	return filepath.Join(shortTemp(t), name)
}

// answersTo is what echo answers to these requests.
func answersTo(requests []byte) *bytes.Reader {
	b := bytes.ReplaceAll(requests, []byte("\nREQ"), []byte("\nACK"))
	copy(b, "ACK")
	return bytes.NewReader(b)
}
