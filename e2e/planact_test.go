package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// act is one connection of a script as it is played. Its client's part begins at its time; the server's part when the proxy has
// come to the server for it, which for a late connection may be never.
type act struct {
	*scriptConn
	conn  int
	stage *stage

	mu            sync.Mutex // guards the following until the connection has been played
	ends          [2]*peer   // client, server
	local, remote net.Addr   // of the client
	met           bool       // there has been a server
	over          bool       // too late for one
	began         time.Time  // when the client dialled
	acked         [2]int64   // by side: bytes that the proxy's kernel had when the side cut its connection

	served      chan error      // how the server's part went
	heardFrom   chan struct{}   // closed when the server has heard from its client enough to know its class
	sent, lines [2]atomic.Int64 // by side: bytes and whole lines sent
	got, heard  [2]int64        // by side: bytes and whole lines received
	end         [2]end          // by side: how its stream ended, "" when it left first
	gone        [2]atomic.Bool  // the side has closed
	broken      [2]atomic.Bool  // the side learnt of a reset by sending, so its stream may end as by FIN
	failed      [2]error        // by side: how it could not send
}

func newAct(g *stage, conn int, c *scriptConn) *act {
	return &act{scriptConn: c, conn: conn, stage: g, served: make(chan error, 1), heardFrom: make(chan struct{})}
}

// enters has the client of the connection come.
func (a *act) enters() error {
	began := time.Now()
	c, err := a.stage.dial(a.Rcvbuf[0])
	a.mu.Lock()
	defer a.mu.Unlock()
	a.began = began
	if err != nil {
		return err
	}
	a.ends[0], a.local, a.remote = c, c.LocalAddr(), c.RemoteAddr()
	return a.prepare(0)
}

// meets gives the connection its server, which has read head already. It says whether that is in time.
func (a *act) meets(s *peer, head string) (bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over || a.met {
		return false, nil
	}
	a.ends[1], a.met = s, true
	if opening := a.opening(a.conn, 0); !strings.HasPrefix(opening, head) {
		return true, fmt.Errorf("connection %d begins %q at its server, and was to begin %q", a.conn, head, opening)
	}
	a.got[1], a.heard[1] = int64(len(head)), int64(strings.Count(head, "\n"))
	return true, a.prepare(1)
}

// prepare sets the sizes of a side's buffers. The client's receive buffer was set before its handshake.
func (a *act) prepare(side int) error {
	c := a.ends[side].stream.(*net.TCPConn)
	if err := asks(c); err != nil {
		return err
	}
	if a.Sndbuf[side] > 0 {
		if err := c.SetWriteBuffer(a.Sndbuf[side]); err != nil {
			return err
		}
	}
	if a.Rcvbuf[side] > 0 && side == 1 {
		return c.SetReadBuffer(a.Rcvbuf[side])
	}
	return nil
}

func (a *act) play() error {
	if a.At > 0 {
		time.Sleep(time.Until(a.stage.began.Add(time.Duration(a.At) * time.Millisecond)))
		if err := a.enters(); isReset(err) {
			return nil // an upstream that has died has reset it already
		} else if err != nil {
			return fmt.Errorf("connection %d: %w", a.conn, err)
		}
	}
	err := a.performs(0)
	a.mu.Lock()
	a.over = true
	met := a.met
	a.mu.Unlock()
	if met {
		err = errors.Join(err, <-a.served)
		_ = a.ends[1].Close()
	}
	_ = a.ends[0].Close()
	if err != nil {
		return fmt.Errorf("connection %d (%s): %w", a.conn, a.End, err)
	}
	return nil
}

// performs plays a side's part.
func (a *act) performs(side int) error {
	read := make(chan struct{}) // closed when the side has seen its stream's end
	go a.widen(side)
	return together(
		func() error { return a.speaks(side, read) },
		func() error { defer close(read); return a.reads(side) },
	)
}

// serves plays the server's part, unless that has begun badly.
func (a *act) serves(err error) {
	if err == nil {
		err = a.performs(1)
	}
	a.served <- err
}

// widen gives a peer ample buffers once the faults are over: through a small window the kernel lets MiBs trickle for minutes.
func (a *act) widen(side int) {
	<-a.stage.lift
	c := a.ends[side].stream.(*net.TCPConn)
	_, _ = c.SetReadBuffer(1<<20), c.SetWriteBuffer(1<<20)
}

// cuts says whether it is a side that ends the connection in the midst of its streams.
func (a *act) cuts(side int) bool {
	return side == 0 && (a.End == endsClientRST || a.End == endsClientDrop) || side == 1 && a.End == endsServerRST
}

// speaks sends all that a side has to say and then its end; ended is closed when the other side has ended.
func (a *act) speaks(side int, ended <-chan struct{}) error {
	p, stream, cuts := a.ends[side], a.stream(a.conn, side), a.cuts(side)
	if side == 1 && a.violates(1) { // as long as its client is nobody a bad line would make a tunnel
		<-a.heardFrom
	}
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
			a.failed[side] = fmt.Errorf("%s after %d bytes: %w", p.name, a.sent[side].Load(), err)
			if !isReset(err) && !errors.Is(err, net.ErrClosed) {
				return a.failed[side]
			}
			a.broken[side].Store(true)
			return nil
		}
		time.Sleep(time.Duration(a.Pause[side]) * time.Microsecond)
	}
	switch {
	case cuts:
		return a.leaves(side)
	case a.End == endsClientFirst && side == 1 || a.End == endsServerFirst && side == 0:
		<-ended // the other side is to be first
	}
	if err := p.CloseWrite(); err != nil {
		a.failed[side] = fmt.Errorf("%s ends: %w", p.name, err)
	}
	return nil
}

// leaves has a side close its connection in the midst of its streams.
func (a *act) leaves(side int) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ends[side] == nil {
		return nil
	}
	a.acked[side] = max(0, a.sent[side].Load()-a.ends[side].queued())
	a.gone[side].Store(true)
	err := error(nil)
	if a.End == endsClientRST || a.End == endsServerRST {
		err = a.ends[side].reset()
	} else {
		err = a.ends[side].Close()
	}
	if errors.Is(err, net.ErrClosed) { // it has ended already
		return nil
	}
	return err
}

// queued is how many bytes of what was sent the other side's kernel has not acknowledged.
func (p *peer) queued() (n int64) {
	raw, err := p.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) {
			q, ioErr := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
			n = int64(q)
			if ioErr != nil {
				n = 1 << 40
			}
		})
	}
	if err != nil {
		return 1 << 40
	}
	return n
}

// reads reads all that a side gets, and wants it to be what the other side has sent.
func (a *act) reads(side int) error {
	p, want := a.ends[side], a.stream(a.conn, side^1)
	_, _ = io.CopyN(io.Discard, want, a.got[side])
	got, should := make([]byte, 64<<10), make([]byte, 64<<10)
	known := false
	knows := func() {
		if side == 1 && !known {
			known = true
			close(a.heardFrom)
		}
	}
	defer knows()
	for stall := int64(a.Stall[side]); ; {
		if a.got[side] >= 4 {
			knows()
		}
		if stall > 0 && a.got[side] >= stall {
			<-a.stage.lift
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
		case errors.Is(err, syscall.ECONNRESET):
			a.end[side] = rst
		case !errors.Is(err, net.ErrClosed) || !a.gone[side].Load():
			return fmt.Errorf("%s after %d bytes: %w", p.name, a.got[side], err)
		}
		return nil
	}
}
