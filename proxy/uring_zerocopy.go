package proxy

import (
	"golang.org/x/sys/unix"

	"fooproxy/ring"
	"fooproxy/stats"
)

const (
	// lendLeast is how many bytes a send has to have to go without a copy: the notification costs a completion, and pages by
	// reference cost more than a copy of few bytes.
	lendLeast = 32 << 10
	// lendMemory is how much of the slab a loop registers with the kernel, in bytes. Where the limit on locked memory is lower,
	// half of it is tried, and so on down to lendMemoryMin.
	lendMemory    = 16 << 20
	lendMemoryMin = 1 << 20
)

// lender sends large data without a copy: the kernel reads segments of the slab, which are registered, until it says in a
// second completion, the notification, that it has let go of them. That may be long after the send itself, since it has to
// keep what the peer has not acknowledged. Until then these segments are on loan: a flow that has sent them gives them up, but
// they are not free (slab.lend). A loan outlives its session, so that no close has to wait for a peer.
type lender struct {
	least int    // bytes that a send has to have
	segs  int32  // so many segments from the first on are registered, 0 = nothing is lent
	loans []loan // by the number in the user data of their completions
	free  []int32
}

// loan is count neighbouring segments that the kernel reads.
type loan struct {
	of           ref // the session, and as its op the side that the flow comes from
	first, count int32
}

// openLender registers memory. Without it everything is copied, as on a kernel or a socket that cannot do otherwise.
func (e *uringEngine) openLender() {
	if !e.cfg.mayLend() || !e.setup.sendZC {
		return
	}
	var err error
	for size := min(lendMemory, len(e.slab.mem)); size >= lendMemoryMin; size >>= 1 {
		if err = e.ring.RegisterBuffers(e.slab.mem[:size]); err == nil {
			e.lender.segs, e.lender.least = int32(size/segSize), lendLeast
			return
		}
	}
	e.local[stats.ZeroCopyDenied]++
	e.cfg.Logger.Warn("no memory can be locked for zero-copy send, so everything is copied; raise RLIMIT_MEMLOCK (ulimit -l, LimitMEMLOCK=)",
		"err", err, "least", lendMemoryMin)
}

// lends says whether large data of flow d goes out without a copy.
func (e *uringEngine) lends(s *session, d side) bool { return e.lender.segs > 0 && !s.eng.copies[d^1] }

// chooseCopies has sends to peers on this host copy, unless the operator insists: the kernel would copy what it delivers to them.
func (e *uringEngine) chooseCopies(s *session) {
	if e.cfg.ZeroCopy == ZeroCopyAuto {
		s.eng.copies[client] = e.domain[client] == unix.AF_UNIX || s.client.Addr().IsLoopback()
		s.eng.copies[server] = e.domain[server] == unix.AF_UNIX || e.core.upstream.Addr().IsLoopback()
	}
}

// lend prepares a send without a copy of the front of flow d's queue, if that is long enough and lies in one piece of
// registered memory. The kernel is asked to report whether it copied after all.
func (e *uringEngine) lend(s *session, d side) bool {
	f := &s.flow[d]
	if !e.lends(s, d) || f.queue.bytes < e.lender.least {
		return false
	}
	first, count, size := f.queue.head, int32(0), 0
	for id := first; id == first+count && id < e.lender.segs; {
		g := &e.slab.segs[id]
		if count > 0 && g.off > 0 {
			break
		}
		size += int(g.end - g.off)
		count++
		if id = g.next; g.end < segSize {
			break
		}
	}
	if size < e.lender.least {
		return false
	}
	start := int(first)*segSize + int(e.slab.segs[first].off)
	n := e.newLoan(loan{newRef(uint8(d), s.gen, s.slot), first, count})
	sqe := e.ring.PrepSendZCFixed(int(s.fd[d^1]), e.slab.mem[start:start+size], 0, unix.MSG_NOSIGNAL, uint64(newRef(opLend, 0, n)))
	sqe.IOPrio |= ring.SendReportUsage
	e.slab.lend(first, count)
	s.eng.lent[d] = n + 1
	e.local[stats.ZeroCopySends]++
	return true
}

func (e *uringEngine) newLoan(l loan) int32 {
	m := &e.lender
	if len(m.free) == 0 {
		m.loans = append(m.loans, l)
		return int32(len(m.loans) - 1)
	}
	n := m.free[len(m.free)-1]
	m.free = m.free[:len(m.free)-1]
	m.loans[n] = l
	return n
}

// endLoan: the kernel reads the segments no longer.
func (e *uringEngine) endLoan(n int32) {
	l := &e.lender.loans[n]
	e.slab.repay(l.first, l.count)
	*l = loan{}
	e.lender.free = append(e.lender.free, n)
}

// onLend handles either completion of a send without a copy: its result, and the notification unless none follows.
func (e *uringEngine) onLend(r ref, c *ring.CQE) {
	n := r.slot()
	of := e.lender.loans[n].of
	if c.Flags&ring.FlagNotif != 0 {
		if uint32(c.Res)&ring.NotifCopied != 0 {
			e.local[stats.ZeroCopyCopied]++
			if s := e.table.find(of); s != nil && !e.setup.lendAlways {
				s.eng.copies[of.op()^1] = true
			}
		}
		e.endLoan(n)
		return
	}
	if !c.More() {
		e.endLoan(n)
	}
	s, d := e.table.find(of), of.op()
	s.eng.lent[d] = 0
	switch c.Errno() {
	case unix.EOPNOTSUPP, unix.EINVAL, unix.ENOMEM, unix.ENOBUFS, unix.EFAULT: // not a matter of the connection: copy
		e.local[stats.ZeroCopyDenied]++
		s.eng.copies[d^1] = true
		c.Res = -int32(unix.EAGAIN)
	}
	e.onSend(newRef(opSend+d, s.gen, s.slot), c)
}
