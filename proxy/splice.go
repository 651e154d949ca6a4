package proxy

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"fooproxy/stats"
)

const (
	// pipeSize is what a pipe is asked to hold, in bytes: the most that fs.pipe-max-size allows everybody by default. Where the
	// kernel refuses it (that limit, fs.pipe-user-pages-soft) half of it is tried, and so on.
	pipeSize = 1 << 20
	// pipeSizeMin is the smallest pipe that is worth its system calls. An account over its limit gets pipes of two pages.
	pipeSizeMin = 64 << 10
	// pipesSpare is how many empty pipes are kept while there are tunnels, pipeIdle how long one that nobody needs, in ns.
	pipesSpare = 32
	pipeIdle   = int64(time.Second)
	// pipesHold is how many bytes a loop's pipes can hold together at most, in pages: so much memory they take at most where a byte
	// takes a page. Where it takes a block of the sender's, of up to 32 KiB (skb_page_frag_refill of the kernel), it is more.
	pipesHold = 32 << 20
	// pipeRetry is how long no pipe is asked for after the kernel had none.
	pipeRetry = int64(100 * time.Millisecond)
)

// pipe carries bytes of a flow from its source to its sink within the kernel, splice(2): of a tunnel, or of long Data, see long.go.
type pipe struct {
	in, out int32
	size    int // bytes that it can hold, in pages: one byte may take a page
	held    int // bytes in it
	next    *pipe
}

// pages is how many pieces fit, so at least as many bytes.
func (p *pipe) pages() int { return p.size / pageSize }

var pageSize = os.Getpagesize() // 16 or 64 KiB on some arm64

// pipePool is a loop's pipes. A flow has a pipe exactly while bytes are in it, so an idle tunnel has none.
type pipePool struct {
	sys     kernel
	most    int   // pipes there may be
	made    int   // pipes there are
	size    int   // what they can hold together
	held    int   // bytes in them
	free    *pipe // larger ones first
	closed  *pipe // what described pipes that there were, for others that there will be
	spare   int   // length of free
	unused  int   // how many of them nobody has needed since the last look
	lookAt  int64 // when to look for those, 0 = there is none to spare
	retryAt int64 // no pipe is made before
	fds     [2]int32
}

// get takes an empty pipe, or returns nil when there are enough or the kernel has none.
func (l *pipePool) get(now int64) *pipe {
	if p := l.free; p != nil {
		l.free, p.next = p.next, nil
		l.spare--
		l.unused = min(l.unused, l.spare)
		return p
	}
	if l.made >= l.most || now < l.retryAt {
		return nil
	}
	p := l.open()
	if p == nil {
		l.retryAt = now + pipeRetry
		return nil
	}
	l.made++
	l.size += p.size
	return p
}

// filled notes that n bytes have come into p, or gone out of it.
func (l *pipePool) filled(p *pipe, n int) {
	p.held += n
	l.held += n
}

// put takes a pipe back. One with bytes left in it cannot be used again.
func (l *pipePool) put(p *pipe, now int64) {
	if p.held > 0 || l.spare >= pipesSpare {
		l.drop(p)
		return
	}
	at := &l.free
	for *at != nil && (*at).size > p.size {
		at = &(*at).next
	}
	p.next, *at = *at, p
	l.spare++
	if l.lookAt == 0 {
		l.lookAt = now + pipeIdle
	}
}

// trim closes the pipes that nobody has needed from one look to the next; what is left are the larger ones.
func (l *pipePool) trim(now int64) {
	if l.lookAt == 0 || now < l.lookAt {
		return
	}
	at := &l.free
	for range l.spare - l.unused {
		at = &(*at).next
	}
	for *at != nil {
		p := *at
		*at = p.next
		l.drop(p)
	}
	l.spare -= l.unused
	l.unused = l.spare
	l.lookAt = 0
	if l.spare > 0 {
		l.lookAt = now + pipeIdle
	}
}

// clear closes the pipes that nobody uses.
func (l *pipePool) clear() {
	l.unused = l.spare
	l.trim(l.lookAt)
}

// share is what a pipe that is made now may hold: less and less the more there are, so that many stalled tunnels cannot pin the
// memory of as many large pipes, and pipeSizeMin whatever the others take.
func (l *pipePool) share() int {
	rest := pipesHold - l.size - (l.most-l.made)*pipeSizeMin
	return max(pipeSizeMin, min(pipeSize, rest/8))
}

// open makes a pipe, or returns nil.
func (l *pipePool) open() *pipe {
	if errno := l.sys.pipe(&l.fds); errno != 0 {
		return nil
	}
	p := l.closed
	if p == nil {
		p = new(pipe)
	} else {
		l.closed = p.next
	}
	*p = pipe{in: l.fds[1], out: l.fds[0]}
	share := l.share()
	for p.size = pipeSize; p.size >= pipeSizeMin; p.size >>= 1 {
		if p.size <= share && l.sys.setPipeSize(p.in, p.size) == 0 {
			return p
		}
	}
	l.close(p)
	return nil
}

func (l *pipePool) drop(p *pipe) {
	l.made--
	l.size -= p.size
	l.held -= p.held
	l.close(p)
}

func (l *pipePool) close(p *pipe) {
	l.sys.close(p.in, false)
	l.sys.close(p.out, false)
	p.next, l.closed = l.closed, p
}

// A pipe's bytes are moved with its ends not blocking, and SPLICE_F_NONBLOCK says nothing about a socket: whether that blocks is
// up to O_NONBLOCK of its file (tcp_splice_read and splice_to_socket of the kernel), so sockets must have it. SPLICE_F_MORE is
// never given: it would hold back the last part of what there is for up to 200 ms.
func splice(from, to int32, most int) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(most), unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
	return int(n), errno
}

// receiveSpliced moves what side d has sent into a pipe and on to the other side. It returns the bytes read. When there are none it may
// not tell why: at a byte that TCP calls urgent (PRI) a splice finds nothing, or the end behind the data, and only a recv gets past it.
func (m *direct) receiveSpliced(s *session, d side, p *pipe) (n int, tells bool) {
	n, errno := m.sys.splice(s.fd[d], p.in, p.size)
	if errno != 0 || n == 0 {
		m.pipes.put(p, m.now)
		if errno == 0 || errno == unix.EAGAIN && s.eng.final[d] {
			return 0, false
		}
		m.nothing(s, d, errno)
		return 0, true
	}
	m.pipes.filled(p, n)
	s.flow[d].pipe = p
	m.accept(s, d, n)
	m.pace.add(d, n, d == server && s.paced)
	// Less than was asked for may be all that fitted, in pieces smaller than a page. Behind descriptors there may be more (recvUnix).
	if n < p.pages() && !s.eng.final[d] && !m.rights[d] {
		s.eng.readable[d] = false
	}
	m.pour(s, d)
	return n, true
}

// pour moves the bytes in flow d's pipe to their destination, as far as that takes them.
func (m *direct) pour(s *session, d side) {
	f := &s.flow[d]
	p := f.pipe
	m.cork(s, d^1)
	n, errno := m.sys.splice(p.out, s.fd[d^1], p.held)
	if errno == unix.EINTR || m.sendFailed(s, d, errno) {
		return
	}
	if n <= 0 {
		s.eng.writable[d^1] = false
		m.stuck(s, d)
		return
	}
	// Less than was asked for is no sign of a full socket: a signal cuts a splice short as well (splice_to_socket of the kernel), and
	// nothing would tell of room that there has always been.
	if m.pipes.filled(p, -n); p.held == 0 {
		m.dropPipe(f)
		f.paused = f.queue.bytes > 0
		if d == client {
			m.holdsNoMore(s)
		}
	}
	m.moved(s)
}

// stuck notes that flow d's destination takes no more of what its pipe holds, so that its source is not read.
func (c *core) stuck(s *session, d side) {
	c.holds(s, d)
	if f := &s.flow[d]; !f.paused {
		f.paused = true
		c.local[stats.ReadPauses]++
	}
}

// dropPipe gives back flow f's pipe, with whatever is in it.
func (c *core) dropPipe(f *flow) {
	if f.pipe != nil {
		c.pipes.put(f.pipe, c.now)
		f.pipe = nil
	}
}
