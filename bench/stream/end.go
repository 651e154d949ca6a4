package stream

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"golang.org/x/sys/unix"

	"fooproxy/bench/sys"
)

const (
	// pieceMax is how many bytes one system call is given.
	pieceMax = 256 << 10
	// period is the length of the pattern, prime, so that no buffer's size divides it: bytes that are lost, doubled or moved by
	// less than that do not go unnoticed.
	period = 1<<20 - 3
	// headerSize is how long a stream's name is, which comes before its bytes and begins with one that no Foo message has.
	headerSize = 4
)

// end is one end of a connection: it sends one stream, receives the other, or both.
type end struct {
	fd       int32
	id       int
	upstream bool
	events   uint32 // what it is registered for
	sends    bool
	finished bool // FIN sent
	over     bool // FIN received
	out, in  uint64
	header   [headerSize]byte
	named    int // bytes of the header that have been sent or received
}

// pattern is period bytes and then the same again, so that every piece is one slice.
var pattern = func() []byte {
	b := make([]byte, period+pieceMax)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(b[:period])
	copy(b[period:], b)
	return b
}()

// at is what the stream from one side of connection id has at an offset, at most most bytes of it.
func at(id int, fromUpstream bool, offset uint64, most int) []byte {
	start := uint64(id) * 7919
	if fromUpstream {
		start += period / 2
	}
	first := (start + offset) % period
	return pattern[first : first+uint64(min(most, pieceMax))]
}

func (e *end) setName(id int) {
	e.id = id
	e.header = [headerSize]byte{0x16, 'S'}
	binary.BigEndian.PutUint16(e.header[2:], uint16(id))
}

// send sends as much as the socket takes of one piece.
func (e *end) send() error {
	if !e.upstream && e.named < headerSize {
		n, errno := sys.Send(e.fd, e.header[e.named:])
		if errno != 0 && errno != unix.EAGAIN {
			return e.broken(errno)
		}
		e.named += n
		return nil
	}
	n, errno := sys.Send(e.fd, at(e.id, e.upstream, e.out, pieceMax))
	if errno != 0 && errno != unix.EAGAIN {
		return e.broken(errno)
	}
	e.out += uint64(n)
	return nil
}

// receive reads one piece into buf and compares it. It returns how many bytes of the stream have come.
func (e *end) receive(buf []byte) (int, error) {
	n, errno := sys.Read(e.fd, buf)
	if errno == unix.EAGAIN {
		return 0, nil
	}
	if errno != 0 {
		return 0, e.broken(errno)
	}
	if n == 0 {
		e.over = true
		return 0, nil
	}
	got := buf[:n]
	if e.upstream && e.named < headerSize {
		k := copy(e.header[e.named:], got)
		e.named += k
		got = got[k:]
		if e.named == headerSize {
			e.id = int(binary.BigEndian.Uint16(e.header[2:]))
			if e.header[0] != 0x16 || e.header[1] != 'S' {
				return 0, fmt.Errorf("the upstream was sent a stream that begins with %q", e.header)
			}
		}
	}
	for left := got; len(left) > 0; {
		want := at(e.id, !e.upstream, e.in, len(left))
		if !bytes.Equal(left[:len(want)], want) {
			return 0, fmt.Errorf("connection %d: wrong bytes within %d after byte %d", e.id, len(want), e.in)
		}
		e.in += uint64(len(want))
		left = left[len(want):]
	}
	return len(got), nil
}

func (e *end) broken(errno unix.Errno) error {
	return fmt.Errorf("connection %d broke after %d bytes out and %d in: %w", e.id, e.out, e.in, errno)
}
