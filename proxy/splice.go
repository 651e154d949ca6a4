package proxy

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// pipeSize is what a pipe is asked to hold, in bytes: the most that fs.pipe-max-size allows everybody by default. Where the
	// kernel refuses it (that limit, fs.pipe-user-pages-soft) half of it is tried, and so on.
	pipeSize = 1 << 20
	// pipeSizeMin is the smallest pipe that is worth its system calls. An account over its limit gets pipes of two pages.
	pipeSizeMin = 64 << 10
	// pipesSpare is how many empty pipes are kept while there are tunnels.
	pipesSpare = 32
	// pipesHold is how many bytes a loop's pipes hold together at most.
	pipesHold = 32 << 20
	// pipeRetry is how long no pipe is asked for after the kernel had none.
	pipeRetry = int64(100 * time.Millisecond)
)

// pipe carries bytes of a tunnelled flow from its source to its sink within the kernel, splice(2).
type pipe struct {
	in, out int32
	size    int // bytes that it can hold, in pages: one byte may take a page
	held    int // bytes in it
	next    *pipe
}

// pages is how many pieces fit, so at least as many bytes.
func (p *pipe) pages() int { return p.size >> 12 }

// pipePool is a loop's pipes. A flow has a pipe exactly while bytes are in it, so an idle tunnel has none.
type pipePool struct {
	sys     kernel
	most    int // pipes there may be
	made    int // pipes there are
	free    *pipe
	spare   int   // length of free
	held    int   // bytes in all pipes
	retryAt int64 // no pipe is made before
}

// get takes an empty pipe, or returns nil when there are enough or the kernel has none.
func (l *pipePool) get(now int64) *pipe {
	if p := l.free; p != nil {
		l.free, p.next = p.next, nil
		l.spare--
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
	return p
}

// put takes a pipe back. One with bytes left in it cannot be used again.
func (l *pipePool) put(p *pipe) {
	if p.held > 0 || l.spare >= pipesSpare {
		l.held -= p.held
		l.made--
		l.close(p)
		return
	}
	p.next = l.free
	l.free = p
	l.spare++
}

// clear closes the pipes that nobody uses.
func (l *pipePool) clear() {
	for l.free != nil {
		p := l.free
		l.free = p.next
		l.close(p)
		l.made--
	}
	l.spare = 0
}

// limit is how many bytes may be put into an empty pipe: like readLimit, so that many stalled tunnels do not pin the memory
// that their pipes could hold. Each pipe can have pipeSizeMin, whatever others hold.
func (l *pipePool) limit(p *pipe) int {
	return min(p.size, max(pipeSizeMin, (pipesHold-l.most*pipeSizeMin-l.held)/8))
}

// open makes a pipe, or returns nil.
func (l *pipePool) open() *pipe {
	var fds [2]int32
	if errno := l.sys.pipe(&fds); errno != 0 {
		return nil
	}
	p := &pipe{in: fds[1], out: fds[0]}
	for p.size = pipeSize; p.size >= pipeSizeMin; p.size >>= 1 {
		if l.sys.setPipeSize(p.in, p.size) == 0 {
			return p
		}
	}
	l.close(p)
	return nil
}

func (l *pipePool) close(p *pipe) {
	l.sys.close(p.in, false)
	l.sys.close(p.out, false)
}

// A pipe's bytes are moved with its ends not blocking, and SPLICE_F_NONBLOCK says nothing about a socket: whether that blocks is
// up to O_NONBLOCK of its file (tcp_splice_read and splice_to_socket of the kernel), so sockets must have it. SPLICE_F_MORE is
// never given: it would hold back the last part of what there is for up to 200 ms.
func splice(from, to int32, most int) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(most), unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
	return int(n), errno
}

// receiveSpliced moves what side d has sent into a pipe and on to the other side. It returns the bytes read.
func (m *direct) receiveSpliced(s *session, d side, p *pipe) int {
	n, errno := m.sys.splice(s.fd[d], p.in, m.pipes.limit(p))
	if errno != 0 || n == 0 {
		m.pipes.put(p)
		m.nothing(s, d, errno)
		return 0
	}
	p.held = n
	m.pipes.held += n
	s.flow[d].pipe = p
	m.accept(s, d, n)
	m.pace.add(d, n, d == server && s.paced)
	// Less than was asked for may be all that fitted, in pieces smaller than a page.
	if n < p.pages() && !s.eng.final[d] {
		s.eng.readable[d] = false
	}
	m.pour(s, d)
	return n
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
	if errno != 0 {
		n = 0
	}
	p.held -= n
	m.pipes.held -= n
	if p.held > 0 {
		s.eng.writable[d^1] = false
	} else {
		m.dropPipe(f)
	}
	if n > 0 {
		m.moved(s)
	}
}

// dropPipe gives back flow f's pipe, with whatever is in it.
func (c *core) dropPipe(f *flow) {
	if f.pipe != nil {
		c.pipes.put(f.pipe)
		f.pipe = nil
	}
}
