package load

import (
	"math/bits"
	"strconv"

	"golang.org/x/sys/unix"

	"fooproxy/bench/sys"
)

const (
	copyMax     = 4 << 10   // messages up to this size are copied together; longer data is sent from the pattern itself
	scratchSize = 256 << 10 // bytes gathered for one system call, from copied messages
	gatherMax   = 1 << 20   // bytes offered in one system call
	iovMax      = 64
	patternLen  = 61 // prime, so that neighbouring requests carry different data
)

// seqOf is what request n of a connection is called on the wire.
func (l *loop) seqOf(c *conn, n uint64) uint64 { return n<<l.shift | uint64(c.slot) }

// wireSize is how many bytes a request of a wanted size takes: at least its type, its Seq and its LF.
func wireSize(seq uint64, size int32) int32 { return max(size, int32(4+digits(seq)+1)) }

// digits counts the decimal digits of v.
func digits(v uint64) int {
	// 1233/4096 approximates log10(2).
	n := bits.Len64(v|1) * 1233 >> 12
	if v >= pow10[n] {
		n++
	}
	return max(n, 1)
}

var pow10 = func() (p [20]uint64) {
	p[0] = 1
	for i := 1; i < len(p); i++ {
		p[i] = p[i-1] * 10
	}
	return p
}()

// dataOf is what follows Seq in a request, up to but without its LF: nothing, or a blank and the pattern.
func (l *loop) dataOf(c *conn, seq uint64) []byte {
	left := int(c.at(seq>>l.shift).size) - 4 - digits(seq) - 1
	if left <= 0 {
		return nil
	}
	return l.pattern[seq%patternLen*patternStride:][:left]
}

// patternStride is the distance of two patterns: each begins with the blank that ends Seq.
const patternStride = 64

// newPattern fills the bytes that requests carry: printable text, a blank every patternStride bytes. Request seq takes them
// from (seq mod patternLen)·patternStride on. The text repeats every patternLen bytes, which shares no factor with the
// stride, so all patternLen beginnings differ.
func newPattern(largest int) []byte {
	b := make([]byte, largest+patternLen*patternStride)
	for i := range b {
		if i%patternStride == 0 {
			b[i] = ' '
		} else {
			b[i] = byte('>' + i%patternLen)
		}
	}
	return b
}

// flush sends what c may send: until nothing is queued, the depth is reached, or the socket is full.
func (l *loop) flush(c *conn, now int64) error {
	for !c.blocked && c.state == open && c.pause <= now {
		last := min(c.queued, c.done+uint64(l.opt.Depth))
		if c.sent >= last {
			return nil
		}
		if l.script.has(c, c.sent) {
			at, offered := l.script.gather(l, c, last, now)
			n, errno := sys.SendFile(c.fd, l.script.fd, at, offered)
			if errno == 0 {
				offered = n // less than offered is no sign of a full socket here: try again until EAGAIN
			}
			if err := l.took(c, n, offered, errno); err != nil {
				return err
			}
			continue
		}
		offered := l.gather(c, last, now)
		if l.opt.Split > 0 && c.rest == 0 {
			offered /= 2
			l.iov[0].SetLen(offered)
			c.pause = now + int64(l.opt.Split)
			l.paused = append(l.paused, c.slot)
		}
		var n int
		var errno unix.Errno
		if len(l.iov) == 1 {
			n, errno = sys.Send(c.fd, iovBytes(&l.iov[0]))
		} else {
			n, errno = sys.SendVector(c.fd, l.iov)
		}
		if err := l.took(c, n, offered, errno); err != nil {
			return err
		}
	}
	return nil
}

// took judges what the kernel has taken of what was offered.
func (l *loop) took(c *conn, n, offered int, errno unix.Errno) error {
	if errno == unix.EAGAIN {
		n = 0
	} else if errno != 0 {
		return l.lost(c, errno)
	}
	if n < offered {
		c.blocked = true
	}
	l.account(c, n)
	return nil
}

// resume sends the second halves that are due.
func (l *loop) resume() error {
	n := 0
	for ; n < len(l.paused) && l.conns[l.paused[n]].pause <= l.now; n++ {
		if err := l.flush(&l.conns[l.paused[n]], l.now); err != nil {
			return err
		}
	}
	// flush may have paused others meanwhile: those stand behind.
	l.paused = l.paused[:copy(l.paused, l.paused[n:])]
	return nil
}

// gather lays out requests from number sent on, without what has left already, as l.iov, and stamps those that begin now.
// It returns the bytes offered.
func (l *loop) gather(c *conn, last uint64, now int64) (offered int) {
	l.scratch, l.iov, l.ends = l.scratch[:0], l.iov[:0], l.ends[:0]
	run := 0 // where the bytes begin that are copied but not in l.iov yet
	skip := c.rest
	for n := c.sent; n < last; n++ {
		if cap(l.scratch)-len(l.scratch) < copyMax || len(l.iov) > iovMax-3 || offered >= gatherMax {
			break
		}
		r, seq := c.at(n), l.seqOf(c, n)
		if skip == 0 {
			r.size = wireSize(seq, r.size)
			r.sent = now
		}
		data := l.dataOf(c, seq)
		begin := len(l.scratch)
		l.scratch = append(l.scratch, 'R', 'E', 'Q', ' ')
		l.scratch = strconv.AppendUint(l.scratch, seq, 10)
		if int(r.size) <= copyMax {
			l.scratch = append(append(l.scratch, data...), '\n')
			l.scratch = l.dropFront(begin, skip)
		} else {
			// What has left already may end in the head, in the data, or just before the LF.
			head := len(l.scratch) - begin
			l.scratch = l.dropFront(begin, min(skip, head))
			l.addPiece(l.scratch[run:])
			l.addPiece(data[min(max(skip-head, 0), len(data)):])
			run = len(l.scratch)
			l.scratch = append(l.scratch, '\n')
		}
		offered += int(r.size) - skip
		l.ends = append(l.ends, int32(offered))
		skip = 0
	}
	l.addPiece(l.scratch[run:])
	return offered
}

// dropFront removes n bytes at begin from the scratch.
func (l *loop) dropFront(begin, n int) []byte {
	if n == 0 {
		return l.scratch
	}
	return append(l.scratch[:begin], l.scratch[begin+n:]...)
}

func (l *loop) addPiece(b []byte) {
	if len(b) > 0 {
		iov := unix.Iovec{Base: &b[0]}
		iov.SetLen(len(b))
		l.iov = append(l.iov, iov)
	}
}

// account moves the connection on by n bytes that the kernel took of what gather laid out.
func (l *loop) account(c *conn, n int) {
	l.bytesOut += uint64(n)
	if k := len(l.ends); k > 0 && n == int(l.ends[k-1]) {
		c.sent += uint64(k)
		c.rest = 0
		return
	}
	before := 0
	for _, end := range l.ends {
		if n < int(end) {
			break
		}
		c.sent++
		c.rest = 0
		before = int(end)
	}
	c.rest += n - before
}
