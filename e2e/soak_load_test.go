package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// progress is a count that one goroutine raises and another waits for.
type progress struct {
	mu    sync.Mutex
	moved sync.Cond
	n     int
	over  bool
}

func newProgress() *progress {
	p := new(progress)
	p.moved.L = &p.mu
	return p
}

func (p *progress) add(n int) {
	p.mu.Lock()
	p.n += n
	p.mu.Unlock()
	p.moved.Broadcast()
}

// finish says that the count will not rise any more.
func (p *progress) finish() {
	p.mu.Lock()
	p.over = true
	p.mu.Unlock()
	p.moved.Broadcast()
}

// await waits until the count has reached n and reports whether it has.
func (p *progress) await(n int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.n < n && !p.over {
		p.moved.Wait()
	}
	return p.n >= n
}

// reached is await without waiting.
func (p *progress) reached(n int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n >= n
}

// read reads p to its end and wants what is read to be a prefix of want; lines counts what came.
func (s *sight) read(p *peer, want io.Reader, lines *progress) error {
	defer lines.finish()
	got, should := make([]byte, 32<<10), make([]byte, 32<<10)
	for {
		p.soon()
		n, err := p.Read(got)
		w, _ := io.ReadFull(want, should[:n])
		if d := differ(got[:n], should[:w]); d >= 0 {
			return fmt.Errorf("%s: byte %d: got %q, want %q", p.name, s.in+int64(d), excerpt(got[:n], d), excerpt(should[:w], d))
		}
		s.in += int64(n)
		if whole := bytes.Count(got[:n], []byte("\n")); whole > 0 {
			s.linesIn += whole
			lines.add(whole)
		}
		switch {
		case err == nil:
			continue
		case errors.Is(err, io.EOF):
			s.end = fin
		case isReset(err):
			s.end = rst
		case !errors.Is(err, net.ErrClosed): // by this end itself
			return fmt.Errorf("%s: after %d bytes and %d lines: %w", p.name, s.in, s.linesIn, err)
		}
		return nil
	}
}

// write sends b and reports whether to go on.
func (s *sight) write(p *peer, b []byte) (bool, error) {
	_ = p.SetWriteDeadline(time.Now().Add(limit))
	n, err := p.Write(b)
	s.out += int64(n)
	s.linesOut += bytes.Count(b[:n], []byte("\n"))
	switch {
	case err == nil:
		return true, nil
	case isReset(err):
		s.broken = true
	case !errors.Is(err, net.ErrClosed):
		return false, fmt.Errorf("%s: after %d bytes sent: %w", p.name, s.out, err)
	}
	return false, nil
}

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// dialSoak connects the client of t, from a loopback address that no other talk has: it is the talk's name in the log. One that
// stalls has a small window and small segments, see dialSmall.
func dialSoak(t *talk, addr string) (*peer, error) {
	d := dialer(0)
	if t.client == clientStall || t.client == clientStallReset {
		d = dialer(4096)
		small := d.Control
		d.Control = func(network, address string, c syscall.RawConn) (err error) {
			cerr := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, 536) })
			return errors.Join(cerr, err, small(network, address, c))
		}
	}
	d.LocalAddr = &net.TCPAddr{IP: t.source()}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &peer{c.(stream), "client"}, nil
}

// playClient plays the client's part of t to its end.
func playClient(t *talk, p *peer) error {
	defer p.Close()
	lines := newProgress()
	return together(
		func() error { return t.clientReads(p, lines) },
		func() error { return t.clientWrites(p, lines) },
	)
}

func (t *talk) clientReads(p *peer, lines *progress) error {
	switch t.client {
	case clientStall:
		if t.goOn != nil {
			<-t.goOn
		}
		time.Sleep(t.pause)
		if err := p.widen(); err != nil {
			return err
		}
	case clientStallReset:
		return nil
	}
	return t.atClient.read(p, t.returns(), lines)
}

// clientWrites sends the script as the talk wants it sent, and the talk's end.
func (t *talk) clientWrites(p *peer, answered *progress) error {
	s, script := &t.atClient, t.sends()
	buf := make([]byte, t.chunk)
	for left := t.cut; ; {
		want := buf
		if t.quits() {
			want = buf[:min(int64(len(buf)), left)]
		}
		n, err := script.Read(want)
		if n == 0 || err != nil {
			break
		}
		left -= int64(n)
		if t.window > 0 {
			answered.await(s.linesOut - t.window + 1)
		}
		if on, err := s.write(p, want[:n]); !on {
			return err
		}
		if t.rest > 0 {
			select {
			case <-time.After(t.rest):
			case <-t.hurry:
			case <-t.still:
				<-t.hurry
			}
		}
		if t.chunk == 1 && s.out%16 == 0 {
			time.Sleep(time.Millisecond) // the pace of somebody typing, quickly
		}
	}
	switch t.client {
	case clientReset:
		return p.reset()
	case clientDrop:
		return p.Close()
	case clientStallReset:
		time.Sleep(t.pause)
		return p.reset()
	case clientBad, clientArbitrary:
		return nil // the proxy ends it
	}
	if t.late {
		answered.await(t.answers())
	}
	_ = p.CloseWrite() // fails where the other side has reset the connection
	return nil
}

// named finds the talk's id at the beginning of its first request, half matches what there may be of one.
var (
	named = regexp.MustCompile(`^(?:REQ|PUT) 0 c([0-9]+)\.`)
	half  = regexp.MustCompile(`^(|R|RE|P|PU|(REQ|PUT)(| | 0| 0 | 0 c[0-9]*))$`)
)

// whose reads from p until it is known which talk this is; ok is false when the stream ends before that.
func whose(p *peer) (id int, head []byte, ok bool, err error) {
	buf := make([]byte, 64)
	for {
		p.soon()
		n, err := p.Read(buf[len(head):])
		head = buf[:len(head)+n]
		if m := named.FindSubmatch(head); m != nil {
			id, _ = strconv.Atoi(string(m[1]))
			return id, head, true, nil
		}
		switch {
		case err == nil && len(head) < len(buf):
		case (errors.Is(err, io.EOF) || err != nil && isReset(err)) && half.Match(head):
			return 0, nil, false, nil
		default:
			return 0, nil, false, fmt.Errorf("%s: %q is no beginning of a request: %w", p.name, head, err)
		}
	}
}

// playServer plays the server's part of t; head is what has been read.
func playServer(t *talk, p *peer, head []byte) error {
	defer p.Close()
	lines := newProgress()
	p.stream = &replay{p.stream, head}
	return together(
		func() error { return t.serverReads(p, lines) },
		func() error { return t.serverWrites(p, lines) },
	)
}

// replay is a stream whose first bytes have been read already.
type replay struct {
	stream
	head []byte
}

func (r *replay) Read(p []byte) (int, error) {
	if len(r.head) > 0 {
		n := copy(p, r.head)
		r.head = r.head[n:]
		return n, nil
	}
	return r.stream.Read(p)
}

func (t *talk) serverReads(p *peer, lines *progress) error {
	if t.server == serverStall {
		// Room for two segments of the loopback device at least: with less, what overflows leaves the kernel with a window of 8 KiB for
		// good, and the other side's kernel, whose segments are of 48, sends so much each 200 ms.
		c := p.stream.(*replay).stream.(*net.TCPConn)
		_ = c.SetReadBuffer(128 << 10)
		time.Sleep(t.pause)
		_ = c.SetReadBuffer(1 << 20)
	}
	return t.atServer.read(p, t.arrives(), lines)
}

// serverWrites answers what has come, as far as the talk wants it, and then does what the talk wants.
func (t *talk) serverWrites(p *peer, arrived *progress) error {
	s, n := &t.atServer, t.answers()
	if t.withhold != nil {
		<-t.withhold
	}
	var buf []byte
	for j := 0; j < n; {
		if !arrived.await(t.order(j) + 1) {
			break // the client has ended before
		}
		for buf = buf[:0]; j < n && len(buf) < 64<<10 && arrived.reached(t.order(j)+1); j++ {
			buf = t.appendAnswer(buf, t.order(j))
		}
		if on, err := s.write(p, buf); !on {
			return err
		}
	}
	if s.linesOut == n {
		switch t.server {
		case serverHalfClose:
			s.did = true
			_ = p.CloseWrite()
			return nil
		case serverReset:
			s.did = true
			_ = p.stream.(*replay).stream.(*net.TCPConn).SetLinger(0)
			return p.Close()
		case serverBad:
			s.did = true
			_, err := s.write(p, []byte(t.badLine.line+"\nACK 99 never\n"))
			s.linesOut = n
			return err
		}
	}
	arrived.await(1 << 60) // the end of what the client sends
	_ = p.CloseWrite()
	return nil
}
