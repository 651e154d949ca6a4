package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// end is how a stream ended, as its reader saw it.
type end string

const (
	fin end = "FIN"
	rst end = "RST"
)

// stream is what TCP and unix connections have in common here.
type stream interface {
	net.Conn
	syscall.Conn
	CloseWrite() error
}

// peer is one scripted end of a connection: a client of the proxy or its server. Every call fails after the suite's limit.
type peer struct {
	stream
	name string
}

func newPeer(t testing.TB, c net.Conn, name string) *peer {
	p := &peer{c.(stream), name}
	t.Cleanup(func() { p.Close() })
	return p
}

// split turns an address as the proxy's flags have it into one for package net.
func split(addr string) (network, address string) {
	if path, isUnix := strings.CutPrefix(addr, "unix:"); isUnix {
		return "unix", path
	}
	return "tcp", addr
}

// dialer connects clients; rcvbuf > 0 is set before the handshake so that it bounds the window.
func dialer(rcvbuf int) *net.Dialer {
	d := &net.Dialer{Timeout: limit}
	if rcvbuf > 0 {
		d.Control = func(_, _ string, c syscall.RawConn) (err error) {
			cerr := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, rcvbuf) })
			return errors.Join(cerr, err)
		}
	}
	return d
}

// dialSmall connects a client with a receive buffer of 4 KiB and segments of 536 bytes: by the segment size the kernel sizes
// the send buffer of the other side, which takes MiBs otherwise.
func dialSmall(t testing.TB, addr string) *peer {
	t.Helper()
	d := dialer(4096)
	small := d.Control
	d.Control = func(network, address string, c syscall.RawConn) (err error) {
		cerr := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, 536) })
		return errors.Join(cerr, err, small(network, address, c))
	}
	c, err := d.Dial("tcp", addr)
	ok(t, err)
	return newPeer(t, c, "client")
}

func dial(t testing.TB, addr string, rcvbuf int) *peer {
	t.Helper()
	p, err := connect(addr, rcvbuf)
	ok(t, err)
	t.Cleanup(func() { p.Close() })
	return p
}

// connect is dial for other goroutines than the test's; the caller closes.
func connect(addr string, rcvbuf int) (*peer, error) {
	network, address := split(addr)
	c, err := dialer(rcvbuf).Dial(network, address)
	if err != nil {
		return nil, err
	}
	return &peer{c.(stream), "client"}, nil
}

// soon sets the deadline of the next read. Reads and writes have their own: a peer may do both at once.
func (p *peer) soon() { _ = p.SetReadDeadline(time.Now().Add(limit)) }

func (p *peer) send(b []byte) error {
	_ = p.SetWriteDeadline(time.Now().Add(limit))
	if n, err := p.Write(b); err != nil {
		return fmt.Errorf("%s: sending %d bytes, %d sent: %w", p.name, len(b), n, err)
	}
	return nil
}

// sendAll sends the whole of r; each MiB has the suite's limit.
func (p *peer) sendAll(r io.Reader) error {
	buf := make([]byte, 1<<20)
	for {
		n, err := io.ReadFull(r, buf)
		if n > 0 {
			if err := p.send(buf[:n]); err != nil {
				return err
			}
		}
		if err != nil {
			return nil
		}
	}
}

// sendSegments sends b in segments of size bytes: TCP_NODELAY is Go's default.
func (p *peer) sendSegments(b []byte, size int) error {
	for len(b) > 0 {
		n := min(size, len(b))
		if err := p.send(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// expect reads exactly what r holds, and no more.
func (p *peer) expect(r io.Reader) error {
	want, got := make([]byte, 64<<10), make([]byte, 64<<10)
	for off := 0; ; {
		n, err := io.ReadFull(r, want)
		if n == 0 && err != nil {
			return nil
		}
		p.soon()
		g, err := io.ReadFull(p, got[:n])
		if d := differ(got[:g], want[:g]); d >= 0 {
			return fmt.Errorf("%s: byte %d: got %q, want %q", p.name, off+d, excerpt(got[:g], d), excerpt(want[:n], d))
		}
		if err != nil {
			return fmt.Errorf("%s: after %d bytes, want %q next: %w", p.name, off+g, excerpt(want[:n], g), err)
		}
		off += n
	}
}

func (p *peer) expectBytes(b []byte) error { return p.expect(bytes.NewReader(b)) }
func (p *peer) expectText(s string) error  { return p.expect(strings.NewReader(s)) }

// rest reads to the end of the stream.
func (p *peer) rest() ([]byte, end, error) {
	p.soon()
	b, err := io.ReadAll(p)
	switch {
	case err == nil:
		return b, fin, nil
	case errors.Is(err, syscall.ECONNRESET):
		return b, rst, nil
	}
	return b, "", fmt.Errorf("%s: no end of the stream after %d more bytes %q: %w", p.name, len(b), excerpt(b, 0), err)
}

// next reads n bytes, or none and the end of the stream.
func (p *peer) next(n int) ([]byte, end, error) {
	p.soon()
	b := make([]byte, n)
	got, err := io.ReadFull(p, b)
	switch {
	case err == nil:
		return b, "", nil
	case got == 0 && errors.Is(err, io.EOF):
		return nil, fin, nil
	case got == 0 && errors.Is(err, syscall.ECONNRESET):
		return nil, rst, nil
	}
	return b[:got], "", fmt.Errorf("%s: %d of %d bytes: %w", p.name, got, n, err)
}

// ends wants no further byte and then one of the given ends.
func (p *peer) ends(in ...end) error {
	b, e, err := p.rest()
	if err != nil {
		return err
	}
	if len(b) > 0 {
		return fmt.Errorf("%s: %d bytes too many: %q", p.name, len(b), excerpt(b, 0))
	}
	for _, want := range in {
		if e == want {
			return nil
		}
	}
	return fmt.Errorf("%s: the stream ended with %s, want %v", p.name, e, in)
}

// asks has the kernel ask every second whether the other side of a TCP connection is still there: an RST that was lost does not
// come again.
func asks(c net.Conn) error {
	if tcp, isTCP := c.(*net.TCPConn); isTCP {
		return tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: time.Second, Interval: time.Second})
	}
	return nil
}

// reset makes the kernel send an RST.
func (p *peer) reset() error {
	if c, isTCP := p.stream.(*net.TCPConn); isTCP {
		if err := c.SetLinger(0); err != nil {
			return err
		}
	}
	return p.Close()
}

// widen lets a client that connected with a small receive buffer read at full speed from now on.
func (p *peer) widen() error { return p.stream.(*net.TCPConn).SetReadBuffer(1 << 20) }

// delivered waits until the other side's kernel has acknowledged everything sent.
func (p *peer) delivered() error {
	raw, err := p.SyscallConn()
	if err != nil {
		return err
	}
	queued := -1
	if holds(func() bool {
		cerr := raw.Control(func(fd uintptr) { queued, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
		return cerr != nil || err != nil || queued == 0
	}) {
		return err
	}
	return fmt.Errorf("%s: %d bytes never acknowledged", p.name, queued)
}

// differs says where got is not what want holds.
func differs(got []byte, want io.Reader) error {
	w, _ := io.ReadAll(want)
	if d := differ(got, w); d >= 0 {
		return fmt.Errorf("byte %d: got %q, want %q", d, excerpt(got, d), excerpt(w, d))
	}
	return nil
}

// differ is the first place where a and b are not the same, or -1.
func differ(a, b []byte) int {
	if bytes.Equal(a, b) {
		return -1
	}
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// excerpt is b around at.
func excerpt(b []byte, at int) []byte {
	return b[max(0, min(at-16, len(b))):min(len(b), at+48)]
}
