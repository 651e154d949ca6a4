package e2e

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// What TCP calls urgent is a part of the stream: it arrives in its place, whether the proxy receives, splices or both, and what is
// behind it too.
func TestUrgentBytes(t *testing.T) {
	eachWay(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr)
		beside(t, p, u)
		for _, from := range []byte{'c', 's'} {
			c, s := p.longPair(u)
			interrupted(t, from, c, s)
		}
		p.counts(stats{"bad": 0})
	})
}

func TestUrgentBytesInATunnel(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr, "--tunnel")
		for _, from := range []byte{'c', 's'} {
			c, s := p.pair(u)
			interrupted(t, from, c, s)
		}
	})
}

// interrupted sends a stream with a byte of it as an urgent one now and then, sometimes the next before the last has been read.
func interrupted(t *testing.T, from byte, c, s *peer) {
	t.Helper()
	w, r := sides(from, c, s)
	stream := (&messages{typ: typeOf[from], n: 8, size: 500_000}).bytes()
	write := func() error {
		for i, left := 0, stream; len(left) > 0; i++ {
			n := min(len(left), []int{2, 400, 40_000, 150_000, 300_000}[i%5])
			err := errors.Join(w.send(left[:n/2]), w.sendUrgent(left[n/2]), w.send(left[n/2+1:n]))
			if err == nil && i%2 == 0 {
				err = w.delivered()
			}
			if err != nil {
				return err
			}
			left = left[n:]
		}
		return nil
	}
	ok(t, together(write, func() error { return r.expectBytes(stream) }))
	finish(t, c, s)
}

// sendUrgent sends the next byte of the stream as an urgent one.
func (p *peer) sendUrgent(b byte) error {
	raw, err := p.SyscallConn()
	if err != nil {
		return err
	}
	cerr := raw.Write(func(fd uintptr) bool {
		err = unix.Sendto(int(fd), []byte{b}, unix.MSG_OOB, nil)
		return err != unix.EAGAIN
	})
	return errors.Join(cerr, err)
}
