package proxy

import (
	"syscall"

	"golang.org/x/sys/unix"

	"fooproxy/stats"
)

// Long Data is copied once, to be inspected, and goes on within the kernel: a receive peeks at it (MSG_PEEK), and what is valid of it is
// spliced through a pipe. The copy back into the kernel is spared, up to a third of the CPU time (docs/zerocopy.md).
//
// Pages are handed on that way, not copied: a sender on this host that has put its own into the socket (sendfile, splice, vmsplice) can
// still write to them after they were inspected. No system call says whose a page is. So it is done only for what comes from the
// proxy's own user or from root, who could as well write to the proxy's memory, or for everybody where the operator says so.

const (
	// longLine is how long the lines of long Data are on average: what is cheap for few large pieces of memory costs more than
	// a copy for many small ones.
	longLine = 8 << 10
	// longPatience is how many receives in a row may bring little before a flow is no longer in long Data.
	longPatience = 16
	// peekAtOnce is how many bytes are peeked at in one go. They are not read again by a send, so they need not stay in the cache.
	peekAtOnce = 256 << 10
)

// MayPeek says whether the long Data of some peers may go on within the kernel, through pipes.
func (c *Config) MayPeek() bool { return c.mayPeek(l2Size(cpuCaches(-1))) }

// mayPeek is MayPeek on a processor with an L2 cache of l2 bytes, 0 = nobody says.
func (c *Config) mayPeek(l2 int) bool {
	if c.Splice == SpliceAuto {
		return 0 < l2 && l2 < recvLargeL2
	}
	return c.Splice == SpliceOn
}

// trust says whether the long Data of a side may go on within the kernel.
type trust uint8

const (
	trustUnknown trust = iota
	trustYes
	trustNo
)

// trusts looks once who is at the other end of side d's socket. At the end of a unix socket that the proxy has connected it is told
// who listens there (unix(7)): that can be root, who has left it to somebody else to accept and to send.
func (m *direct) trusts(s *session, d side) bool {
	t := &s.eng.trust[d]
	if *t == trustUnknown {
		*t = trustNo
		if m.cfg.Splice == SpliceOn {
			*t = trustYes
		} else if d == client || m.domain[d] != unix.AF_UNIX {
			if uid, ok := m.sys.peerUID(s.fd[d]); ok && (uid == 0 || uid == m.uid) {
				*t = trustYes
			}
		}
	}
	return *t == trustYes
}

// peeking says whether the next receive of flow d may be a look only.
func (m *direct) peeking(s *session, d side) bool {
	return s.eng.long[d] > 0 && s.flow[d].source == reading
}

// limit is how many bytes the next receive from side d may bring into the scratch buffer, 0 when there is no memory to keep them.
func (m *direct) limit(s *session, d side) int {
	most := m.copied
	if m.peeking(s, d) {
		most = len(m.scratch)
	}
	return min(m.recvLimit(d), most, m.slab.free*segSize)
}

// take receives up to limit bytes of side d into the scratch buffer. Long Data is only peeked at: the bytes stay in the socket and are
// to be carried on.
func (m *direct) take(s *session, d side, limit int) (data []byte, peeked bool, errno syscall.Errno) {
	n, cut := 0, false
	peeked = limit >= m.large && m.peeking(s, d)
	switch {
	case m.rights[d]:
		n, cut, errno = m.sys.recvUnix(s.fd[d], m.scratch[:limit], peeked)
		s.eng.final[d] = s.eng.final[d] || cut
	case peeked:
		n, errno = m.sys.peek(s.fd[d], m.scratch[:limit])
	default:
		n, errno = m.sys.recv(s.fd[d], m.scratch[:limit])
	}
	return m.scratch[:max(n, 0)], peeked, errno
}

// carry moves data, which lies at the front of side d's socket and was accepted, to flow d's destination. What that does not take
// stays in a pipe, and what does not fit there, or finds none, is copied to the queue behind it.
func (m *direct) carry(s *session, d side, data []byte) {
	f := &s.flow[d]
	for len(data) > 0 && !f.held() && f.sink == open {
		p := m.pipes.get(m.now)
		if p == nil {
			m.local[stats.NoPipe]++
			break
		}
		n, errno := m.sys.splice(s.fd[d], p.in, len(data))
		if n <= 0 || errno != 0 { // a signal, or a byte that a splice does not get past (TCP's urgent ones)
			m.pipes.put(p, m.now)
			s.reset[d] = s.reset[d] || errno == unix.ECONNRESET || errno == unix.EPIPE // which is told once
			break
		}
		m.pipes.filled(p, n)
		f.pipe = p
		data = data[n:]
		m.local[stats.BytesSpliced] += uint64(n)
		for f.pipe != nil && s.eng.writable[d^1] {
			m.pour(s, d)
		}
	}
	if len(data) > 0 && f.sink == open {
		m.copyOn(s, d, data)
	}
}

// copyOn queues data, which lies in the scratch buffer and at the front of side d's socket, and takes it out of the socket.
func (m *direct) copyOn(s *session, d side, data []byte) {
	n := len(data)
	if s.flow[d].queue.write(m.slab, data) < n {
		m.kill(s, causeError) // no more is received than there are segments free, so this cannot be
		return
	}
	m.queued(s, d, highWater)
	for n > 0 {
		got, errno := m.sys.recv(s.fd[d], m.scratch[:n])
		// The bytes are there, so EAGAIN tells of a signal as EINTR does: at a byte that TCP calls urgent.
		if got <= 0 && errno != unix.EINTR && errno != unix.EAGAIN {
			return // the socket has nothing left to be read twice
		}
		n -= max(got, 0)
	}
}

// learn tells by a receive of flow d, of n bytes in which lines ended, whether it is in the middle of long Data.
func (m *direct) learn(s *session, d side, n int, lines uint64) {
	long := &s.eng.long[d]
	switch {
	case !m.mayPeek || s.class != classFoo:
	case n < m.large:
		*long = max(*long, 1) - 1
	case lines*longLine > uint64(n) || !m.trusts(s, d):
		*long = 0
	default:
		if !s.eng.unblocked { // splice would wait for a socket
			s.eng.unblocked = true
			m.sys.setNonblock(s.fd[client])
			m.sys.setNonblock(s.fd[server])
		}
		*long = longPatience
	}
}

// lines is how many messages of flow d have been counted.
func (s *session) lines(d side) uint64 {
	if d == client {
		return s.count.Req
	}
	return s.count.Ack + s.count.Nak
}

// peek copies what recv would return and leaves it where it is.
func peek(fd int32, buf []byte) (int, syscall.Errno) { return recvFlags(fd, buf, unix.MSG_PEEK) }
