package proxy

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"fooproxy/stats"
)

// A flow is read again when all it had queued is sent: the kernel's own buffers hold enough for a peer to go on meanwhile.
const (
	highWater = 1
	lowWater  = 0
)

// sendVector is how many segments one send gathers.
const sendVector = 64

// direct moves bytes by plain system calls between sockets with O_NONBLOCK, by what is known of their readiness (readable,
// writable and final of engineState): everything on epoll, tunnels on either engine.
type direct struct {
	*core
	budget  int    // bytes that a flow may move per wake-up
	large   int    // bytes that a receive brings of data in bulk, and of long Data
	uid     uint32 // as whom the proxy runs
	copied  int    // bytes that one receive may bring of what is copied
	scratch []byte // where every recv goes; what cannot be sent at once is copied to the slab
	iov     [sendVector]unix.Iovec
	msg     unix.Msghdr
}

func (m *direct) init() {
	m.budget, m.large, m.uid = readBudget, bulkRecv, uint32(os.Geteuid())
	m.copied = max(min(m.cfg.MaxBuffer, m.atOnce), segSize)
	size := m.copied
	if m.mayPeek {
		size = max(size, min(m.cfg.MaxBuffer, peekAtOnce))
	}
	m.scratch = make([]byte, size)
	m.msg.Iov = &m.iov[0]
}

// serveFlows moves what it can both ways, within a budget each. It says whether a budget was used up, so that there may be more.
func (m *direct) serveFlows(s *session) (more bool) {
	budget := [2]int{m.budget, m.budget}
	for {
		m.serveFlow(s, client, &budget[client])
		if !m.serveFlow(s, server, &budget[server]) {
			break // nothing happened that could give the client's flow something new to do
		}
	}
	if m.cfg.Cork {
		m.uncork(s)
	}
	return min(budget[client], budget[server]) <= 0
}

// serveFlow moves what it can in one direction, within budget bytes. It says whether it did anything.
func (m *direct) serveFlow(s *session, d side, budget *int) (moved bool) {
	eng := &s.eng
	for ; ; moved = true {
		a := s.want(d)
		switch {
		case a&actSend != 0 && eng.writable[d^1]:
			m.flush(s, d)
		case a&actShut != 0:
			m.sys.shutdownWrite(s.fd[d^1])
			m.sinkShut(s, d)
		case a&actAbort != 0 && m.delivered(s, d):
			m.sinkAborted(s, d)
		case a&actRecv != 0 && eng.readable[d] && *budget > 0:
			*budget -= m.receive(s, d)
		default:
			return moved
		}
	}
}

// receive reads once from side d, has it checked, and sends on what is valid. It returns the bytes read.
func (m *direct) receive(s *session, d side) int {
	if f := &s.flow[d]; s.class == classTunnel && f.source == reading && f.queue.bytes == 0 {
		p := m.pipes.get(m.now)
		if p == nil {
			m.local[stats.NoPipe]++
		} else if n, tells := m.receiveSpliced(s, d, p); tells {
			return n
		}
	}
	limit := m.limit(s, d)
	if limit == 0 { // what the ring has received takes all memory, see await; on epoll readLimit keeps a segment for every flow
		s.eng.readable[d] = false
		return 0
	}
	data, peeked, errno := m.take(s, d, limit)
	if errno == unix.EAGAIN && s.eng.final[d] { // at a byte that TCP calls urgent a pending signal has the kernel say that as well
		data, peeked, errno = m.take(s, d, limit)
	}
	n := len(data)
	if n == 0 {
		m.nothing(s, d, errno)
		return 0
	}
	if n < limit && !s.eng.final[d] {
		s.eng.readable[d] = false // an edge comes with the next byte
	}
	data = m.check(s, d, data)
	if peeked && len(data) < n {
		s.eng.readable[d] = true // the rest still lies in the socket, and no edge tells of it
	}
	switch {
	case len(data) == 0:
	case peeked:
		m.carry(s, d, data)
	default:
		m.forward(s, d, data)
	}
	return n
}

// check returns what of data, which side d has sent, is to be forwarded.
func (m *direct) check(s *session, d side, data []byte) []byte {
	lines := s.lines(d)
	ok := m.received(s, d, data)
	m.learn(s, d, len(data), s.lines(d)-lines)
	return data[:ok]
}

// nothing handles a read from side d that has brought no bytes: it is empty, or its stream has ended.
func (m *direct) nothing(s *session, d side, errno syscall.Errno) {
	if errno == unix.EINTR {
		return
	}
	s.eng.readable[d] = false
	switch errno {
	case unix.EAGAIN:
	case 0:
		m.sourceFIN(s, d)
	default:
		m.sourceRST(s, d)
	}
}

// forward sends data behind what flow d has queued; what the kernel does not take now is copied into the queue.
func (m *direct) forward(s *session, d side, data []byte) {
	f := &s.flow[d]
	if f.queue.bytes == 0 && s.eng.writable[d^1] && f.sink == open && (d == server || s.connected && s.class != classUnknown) {
		m.cork(s, d^1)
		n, errno := m.sys.send(s.fd[d^1], data)
		if m.sendFailed(s, d, errno) {
			return
		}
		if errno == 0 {
			data = data[n:]
		}
		if len(data) == 0 {
			return
		}
		s.eng.writable[d^1] = errno == unix.EINTR
	}
	if f.queue.write(m.slab, data) < len(data) {
		m.kill(s, causeError) // no more is received than there are segments free, so this cannot be
		return
	}
	m.queued(s, d, highWater)
}

// flush sends once what flow d holds.
func (m *direct) flush(s *session, d side) {
	f := &s.flow[d]
	if f.pipe != nil {
		m.pour(s, d)
		return
	}
	count, size := f.queue.gather(m.slab, m.iov[:])
	m.msg.SetIovlen(count)
	m.cork(s, d^1)
	n, errno := m.sys.sendmsg(s.fd[d^1], &m.msg)
	if errno == unix.EINTR || m.sendFailed(s, d, errno) {
		return
	}
	if errno == unix.EAGAIN {
		n = 0
	}
	if n < size {
		s.eng.writable[d^1] = false
	}
	if n > 0 {
		m.sent(s, d, n, lowWater)
	}
}

// sendFailed ends flow d when errno says that its destination is gone.
func (m *direct) sendFailed(s *session, d side, errno syscall.Errno) bool {
	if errno == 0 || errno == unix.EAGAIN || errno == unix.EINTR {
		return false
	}
	s.eng.readable[d^1] = true // read it to its end
	s.eng.final[d^1] = true
	m.sinkFailed(s, d)
	return true
}
