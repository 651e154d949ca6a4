package e2e

import (
	"encoding/binary"
	"io"
	"os"
	"slices"
	"strconv"
)

// runID makes the payloads of two runs differ.
var runID = uint64(os.Getpid())

// mix is the finalizer of splitmix64: a cheap pseudo-random function.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// appendMessage appends a message whose Data is size bytes long and belongs to this connection, type and seq alone: it
// begins with their names as far as they fit, and every later byte is a pseudo-random function of them and its place.
func appendMessage(dst []byte, typ string, conn, seq, size int) []byte {
	dst = slices.Grow(dst, size+64)
	dst = append(dst, typ...)
	dst = append(dst, ' ')
	dst = strconv.AppendInt(dst, int64(seq), 10)
	dst = append(dst, ' ')
	start := len(dst)
	dst = append(dst, 'c')
	dst = strconv.AppendInt(dst, int64(conn), 10)
	dst = append(dst, '.', typ[0])
	dst = strconv.AppendInt(dst, int64(seq), 10)
	dst = append(dst, ':')
	key := mix(runID ^ mix(uint64(conn)^mix(uint64(seq)^uint64(typ[0])<<56)))
	for i := uint64(0); len(dst)-start < size; i++ { // eight characters from '0' to 'o' at a time
		dst = binary.LittleEndian.AppendUint64(dst, mix(key+i)&0x3f3f3f3f3f3f3f3f+0x3030303030303030)
	}
	return append(dst[:start+size], '\n')
}

// messages is the stream of n messages of one connection and type, Seq first, first+1, …; read it to send it, and read
// another one to know what must arrive.
type messages struct {
	typ      string
	conn     int
	first, n int
	size     int // bytes of Data each; with spread, at most
	spread   bool
	buf      []byte
	off      int
}

func requests(conn, n, size int) *messages {
	return &messages{typ: "REQ", conn: conn, n: n, size: size}
}

func acks(conn, n, size int) *messages { return &messages{typ: "ACK", conn: conn, n: n, size: size} }

func (m *messages) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if m.off == len(m.buf) {
			if m.n == 0 {
				break
			}
			size := m.size
			if m.spread {
				size = int(mix(uint64(m.first)^uint64(m.conn)<<32) % uint64(m.size+1))
			}
			m.buf, m.off = appendMessage(m.buf[:0], m.typ, m.conn, m.first, size), 0
			m.first++
			m.n--
		}
		c := copy(p[n:], m.buf[m.off:])
		n, m.off = n+c, m.off+c
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// bytes is the whole rest of the stream.
func (m *messages) bytes() []byte {
	b, _ := io.ReadAll(m)
	return b
}
