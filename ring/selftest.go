package ring

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// stream is a self-test of one way to receive: a pattern sent in uneven pieces through a TCP connection comes out of a
// small buffer ring byte by byte as it went in, starvation included, and then ends.
type stream struct {
	multishot, bundle, incremental bool

	br       *BufRing
	from, to int // sockets
	sent     int
	received int
	random   uint32
	held     []int32
	armed    bool
	ended    bool
	starved  int
	bundles  int
}

const (
	streamBufs  = 4
	streamSize  = 1024
	streamBytes = 128 << 10 // many times around the ring, at most some milliseconds
	endPatience = 200 * time.Millisecond
)

// selfTest runs the stream. The first half gives buffers back only when the kernel has complained of having none, so that
// each round starves and begins with a partly filled buffer; the second gives them back at once. Kernels 6.13.11 to 6.14.8
// put data into the wrong buffers of a bundle when pieces did not fill them.
func (l *lab) selfTest(s stream) error {
	if err := l.open(); err != nil {
		return err
	}
	var err error
	if s.from, s.to, err = l.pair(); err != nil {
		return err
	}
	mem := l.arena.Bytes(streamBufs*streamSize, 64)
	if s.br, err = l.r.NewBufRing(0, mem, streamSize, 0, s.incremental); err != nil {
		return err
	}
	for id := range s.br.Count() {
		s.br.Add(int32(id))
	}
	s.br.Publish()
	s.random = 1
	for end := time.Now().Add(l.patience); !s.ended; {
		if time.Now().After(end) {
			return fmt.Errorf("%w: %d of %d bytes received", errLate, s.received, streamBytes)
		}
		if err := s.turn(l.r); err != nil {
			return err
		}
	}
	return s.verdict()
}

// turn sends what the socket takes, receives, checks, and gives buffers back.
func (s *stream) turn(r *Ring) error {
	if err := s.feed(); err != nil {
		return err
	}
	if !s.armed {
		if s.multishot {
			r.PrepRecvMultishot(s.to, s.br.Group(), s.bundle, 1)
		} else {
			r.PrepRecv(s.to, s.br.Group(), s.bundle, 1)
		}
		s.armed = true
	}
	if errno := r.Wait(100 * time.Millisecond); errno != 0 && !Transient(errno) {
		return fmt.Errorf("io_uring_enter: %w", errno)
	}
	giveBack := s.received > streamBytes/2
	for batch := r.Ready(); len(batch) > 0; batch = r.Ready() {
		for i := range batch {
			if err := s.completion(&batch[i]); err != nil {
				return err
			}
			giveBack = giveBack || batch[i].Errno() == unix.ENOBUFS
		}
		r.Advance(len(batch))
	}
	if giveBack {
		for _, id := range s.held {
			s.br.Add(id)
		}
		s.held = s.held[:0]
	}
	s.br.Publish()
	return nil
}

// feed sends some pieces, and the end after the last.
func (s *stream) feed() error {
	var piece [3 * streamSize]byte
	for range 8 {
		if s.sent == streamBytes {
			return nil
		}
		s.random = s.random*1664525 + 1013904223
		n := min(1+int(s.random>>16)%len(piece), streamBytes-s.sent)
		for i := range n {
			piece[i] = streamByte(s.sent + i)
		}
		n, err := unix.Write(s.from, piece[:n])
		if err == unix.EAGAIN || err == unix.EINTR {
			return nil
		}
		if err != nil {
			return fmt.Errorf("sending to ourselves: %w", err)
		}
		if s.sent += n; s.sent == streamBytes {
			return unix.Shutdown(s.from, unix.SHUT_WR)
		}
	}
	return nil
}

func (s *stream) completion(c *CQE) error {
	if s.ended {
		return errors.New("a completion after the end of the stream")
	}
	s.armed = c.More()
	pieces := 0
	for seg := s.br.Segments(c); seg.Next(); pieces++ {
		for i, got := range seg.Data {
			if want := streamByte(s.received + i); got != want {
				return fmt.Errorf("data reordered: byte %d is %#x, not %#x (kernels 6.13.11 to 6.14.8 do this to bundles)",
					s.received+i, got, want)
			}
		}
		s.received += len(seg.Data)
		if seg.Ours {
			s.held = append(s.held, seg.Buffer)
		}
	}
	if pieces > 1 {
		s.bundles++
	}
	switch {
	case c.Errno() == unix.ENOBUFS:
		s.starved++
	case c.Res < 0:
		return c.Errno()
	case c.Res == 0:
		s.ended = true
	}
	if c.Res <= 0 && c.More() {
		return fmt.Errorf("a receive that ended with %d says it goes on", c.Res)
	}
	return nil
}

func (s *stream) verdict() error {
	switch {
	case s.received != streamBytes:
		return fmt.Errorf("the stream ended after %d of %d bytes", s.received, streamBytes)
	case s.br.InKernel()+len(s.held) != streamBufs:
		return fmt.Errorf("%d buffers are gone", streamBufs-s.br.InKernel()-len(s.held))
	case s.starved == 0:
		return fmt.Errorf("starving: %w", errNoProof)
	case s.bundle && s.bundles == 0:
		return fmt.Errorf("filling several buffers at once: %w", errNoProof)
	}
	return nil
}

// endWithData has some bytes and an abortive end wake a multishot receive both, before it runs.
func (l *lab) endWithData() error {
	from, to, err := l.pair()
	if err != nil {
		return err
	}
	br, err := l.r.NewBufRing(1, l.arena.Bytes(streamBufs*streamSize, 64), streamSize, 0, false)
	if err != nil {
		return err
	}
	for id := range br.Count() {
		br.Add(int32(id))
	}
	br.Publish()
	l.r.PrepRecvMultishot(to, br.Group(), false, 1)
	if errno := l.r.Submit(); errno != 0 {
		return errno
	}
	if _, err := unix.Write(from, make([]byte, 100)); err != nil {
		return fmt.Errorf("sending to ourselves: %w", err)
	}
	_ = unix.SetsockoptLinger(from, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	l.fds = slices.DeleteFunc(l.fds, func(fd int) bool { return fd == from })
	if err := unix.Close(from); err != nil {
		return err
	}
	if err := l.expect(1, 100); err != nil {
		return err
	}
	l.patience = endPatience
	switch c, err := l.next(); {
	case errors.Is(err, errLate):
		return errors.New("a reset right behind data is not reported (liburing issue 1549)")
	case err != nil:
		return err
	case c.Res > 0 || c.More():
		return fmt.Errorf("result %d with flags %#x where the end should be", c.Res, c.Flags)
	}
	return nil
}

// streamByte is the byte at a place of the pattern; it differs between any two places near each other.
func streamByte(at int) byte { return byte(at) ^ byte(at>>8)*31 ^ byte(at>>16)*17 }
