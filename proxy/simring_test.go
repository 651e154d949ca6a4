package proxy

import (
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"fooproxy/ring"
)

// The kernel's side of simUring: what becomes of the operations that the engine hands over.

// simOp is one submitted operation.
type simOp struct {
	sqe       ring.SQE
	cn        *simConn
	d         side
	vec       [][]byte // what is to be sent: the kernel reads the memory itself
	cancelled bool
	late      bool  // a cancel has come too late for it
	tried     bool  // of a cancel: it has been carried out
	result    int32 // of a cancel
	doubts    int   // of a multishot receive: so many completions may yet miss the end behind the last bytes
	missed    bool  // one has, and so waits for another event
	sawRST    bool  // the end that it has missed was an RST
	stoppedAt int   // it waits at an urgent byte for more to arrive than so much; 0 = it does not
	lent      bool  // it was sent without a copy, and its notification is to come
	from, to  int   // of the stream, what was sent so
}

// Completions is of ring.Hook.
func (u *simUring) Completions([]ring.CQE) {}

// Enter has the kernel take no more entries now and then.
func (u *simUring) Enter() unix.Errno {
	if oneIn(u, 32) {
		return unix.EAGAIN
	}
	return 0
}

// Submission takes an entry that the engine hands over.
func (u *simUring) Submission(e *ring.SQE) {
	o := &simOp{sqe: *e}
	if e.Opcode == ring.OpAsyncCancel {
		u.ops = append(u.ops, o)
		return
	}
	for _, other := range u.ops {
		if other.sqe.Opcode != ring.OpAsyncCancel && other.sqe.UserData == e.UserData {
			u.Fatalf("operation %d is in flight twice", ref(e.UserData).op())
		}
	}
	var sock *simSocket
	o.cn, o.d, sock = u.socket(e.Fd)
	if sock.nonblock && o.cn.class == classTunnel && e.Opcode != ring.OpPollAdd {
		u.Fatalf("operation %d on a socket that it does not wait for", e.Opcode)
	}
	switch e.Opcode {
	case ring.OpRecv:
		if e.IOPrio&ring.RecvMultishot != 0 {
			o.doubts = 2 // its first attempt, and what comes between that and its waiting
		}
	case ring.OpSend:
		o.vec = [][]byte{u.memory(e.Addr, uint64(e.Len))}
	case ring.OpSendZC:
		if o.cn.bare[o.d] {
			u.Fatalf("a send without a copy, though the kernel has said that they are no use")
		}
		if end := e.Addr + uint64(e.Len) - ring.Addr(u.slab.mem); end > uint64(u.engine.lender.segs)*segSize {
			u.Fatalf("a send without a copy of memory that is not registered")
		}
		o.vec = [][]byte{u.memory(e.Addr, uint64(e.Len))}
		u.loans++
	case ring.OpSendmsg:
		msg := *(**ring.Msghdr)(unsafe.Pointer(&e.Addr))
		for _, v := range unsafe.Slice(*(**ring.Iovec)(unsafe.Pointer(&msg.Iov)), msg.Iovlen) {
			o.vec = append(o.vec, u.memory(v.Base, v.Len))
		}
	}
	u.ops = append(u.ops, o)
}

// memory is what lies at an address in the loop's slab.
func (u *simUring) memory(addr, length uint64) []byte {
	at := addr - ring.Addr(u.slab.mem)
	return u.slab.mem[at : at+length]
}

// cancel carries out what is to be cancelled, as the kernel does when it is submitted; the completions follow.
func (u *simUring) cancel() {
	for _, o := range u.ops {
		if o.sqe.Opcode != ring.OpAsyncCancel || o.tried {
			continue
		}
		o.tried, o.result = true, -int32(syscall.ENOENT)
		for _, t := range u.ops {
			switch {
			case t.sqe.Opcode == ring.OpAsyncCancel || t.sqe.UserData != o.sqe.Addr || t.lent:
			case !t.late && oneIn(u, 16):
				t.late, o.result = true, -int32(syscall.EALREADY)
			default:
				t.cancelled, o.result = true, 0
			}
		}
	}
}

// done completes an operation: for good, unless more is to come.
func (u *simUring) done(o *simOp, res int32, flags uint32) {
	i := slices.Index(u.ops, o)
	if i < 0 {
		u.Fatalf("operation %d completes twice", o.sqe.Opcode)
	}
	if flags&ring.FlagMore == 0 {
		u.ops = slices.Delete(u.ops, i, i+1)
	}
	u.engine.handle(&ring.CQE{UserData: o.sqe.UserData, Res: res, Flags: flags})
	if o.cn != nil && o.cn.s != nil {
		u.samplePauses(o.cn)
	}
}

// complete has the kernel go on with an operation as far as it can.
func (u *simUring) complete(o *simOp, eager bool) {
	u.events++
	if o.sqe.Opcode == ring.OpAsyncCancel {
		if o.tried {
			u.done(o, o.result, 0)
		}
		return
	}
	k := &o.cn.sock[o.d]
	switch {
	case o.lent:
		u.notify(o, k)
	case o.cancelled && oneIn(u, 2):
		u.done(o, -int32(syscall.ECANCELED), 0)
	case o.sqe.Opcode == ring.OpConnect:
		u.connect(o)
	case o.sqe.Opcode == ring.OpRecv:
		u.receive(o, k, eager)
	case o.sqe.Opcode == ring.OpPollAdd:
		u.poll(o, k)
	default:
		u.transmit(o, k)
	}
}

// connect ends a connection attempt. One that fails may look as if it had not, until the socket is asked.
func (u *simUring) connect(o *simOp) {
	u.dialled(o.cn)
	if oneIn(u, 2) {
		u.done(o, 0, 0)
		return
	}
	o.cn.sock[server].err = false
	u.done(o, -int32(o.cn.refused), 0)
}

func (u *simUring) poll(o *simOp, k *simSocket) {
	var is uint32
	if k.sent > k.read || k.fin || k.rst {
		is |= unix.POLLIN
	}
	if k.urgent > 0 {
		is |= unix.POLLPRI
	}
	if k.space > k.taken-k.heard || k.rst {
		is |= unix.POLLOUT
	}
	if is &= o.sqe.OpFlags; is != 0 {
		if seen := [4]int{k.read, k.sent, k.urgent, int(is)}; is&unix.POLLIN != 0 && k.told == seen {
			if k.again++; k.again > 3 {
				u.Fatalf("side %d is polled again and again, and nothing of it is read", o.d)
			}
		} else if is&unix.POLLIN != 0 {
			k.told, k.again = seen, 0
		}
		u.event(o.cn, o.d, "is ready", int(is))
		u.done(o, int32(is), 0)
	} else if o.cancelled {
		u.done(o, -int32(syscall.ECANCELED), 0)
	}
}

// receive has a receive bring data or an end; it may bring data even after it was cancelled.
func (u *simUring) receive(o *simOp, k *simSocket, eager bool) {
	cn, d := o.cn, o.d
	_, first, ok := u.engine.bufs.Published(u.head)
	switch {
	case o.waits(k):
		if o.cancelled {
			u.done(o, -int32(syscall.ECANCELED), 0)
		}
	case !ok && (k.sent > k.read || oneIn(u, 2)):
		u.event(cn, d, "no buffer", 0)
		u.done(o, -int32(syscall.ENOBUFS), 0)
	case k.sent == k.read:
		_, errno := k.recv(1)
		if cn.s.flow[d^1].sink == open && u.domain[d] != unix.AF_UNIX && oneIn(u, 3) {
			errno = 0 // another operation has taken the error; the connection's state still tells
		}
		if cn.s.flow[d].source != ended {
			u.ended(cn, d, errno)
		}
		u.done(o, -int32(errno), 0)
	default:
		n := k.reach(k.sent - k.read)
		if !eager {
			n = size(u, n)
		}
		if o.sqe.IOPrio&ring.RecvBundle == 0 {
			n = min(n, segSize)
		}
		n = u.fill(k, n)
		tunnel := cn.class == classTunnel // which takes all that is received at once
		for done := 0; done < n && (done == 0 || tunnel || !u.deaf(cn, d)); done += segSize {
			u.heard(cn, d, min(segSize, n-done))
		}
		flags := ring.FlagBuffer | uint32(first)<<16
		nonempty := k.sent > k.read || k.fin && u.domain[d] != unix.AF_UNIX // TCP counts a FIN as something to receive
		if nonempty {
			flags |= ring.FlagNonempty
		}
		if o.sqe.IOPrio&ring.RecvMultishot != 0 && !o.cancelled && !oneIn(u, 6) { // which may end by itself
			flags |= ring.FlagMore
			u.miss(o, k, nonempty)
			if o.stoppedAt = 0; k.atUrgent() && k.sent > k.read && oneIn(u, 3) { // a signal is pending
				o.stoppedAt = k.sent
			}
		}
		u.done(o, int32(n), flags)
	}
}

// miss has a receive that takes the last bytes miss the end that stands behind them, as Linux 6.18 does: while it is being armed,
// and when it goes on after an interruption, having found more each time.
func (u *simUring) miss(o *simOp, k *simSocket, nonempty bool) {
	switch {
	case nonempty:
		o.doubts = max(o.doubts, 1)
	case o.doubts > 0:
		o.doubts--
		o.missed = (k.fin || k.rst) && oneIn(u, 2)
		o.sawRST = k.rst
	}
}

// waits says whether there is nothing that a receive would tell.
func (o *simOp) waits(k *simSocket) bool {
	if o.stoppedAt > 0 && o.stoppedAt == k.sent && !k.fin && !k.rst {
		return true
	}
	return k.sent == k.read && !k.fin && !k.rst || o.missed && o.sawRST == k.rst
}

// deaf says whether the session drops what comes after the segments that the oracle knows of: it looks at each by itself.
func (u *simUring) deaf(cn *simConn, d side) bool {
	s := cn.s
	return cn.violated[d] || cn.class == classArbitrary || d == server && s.noRequests && cn.pending() == 0 && !s.flow[client].held()
}

// fill receives up to n bytes into the next buffers, and returns how many there was room for.
func (u *simUring) fill(k *simSocket, n int) (filled int) {
	if k.atUrgent() {
		k.urgent = 0
	}
	for filled < n {
		id, _, ok := u.engine.bufs.Published(u.head)
		if !ok {
			break
		}
		u.head++
		got := copy(u.slab.mem[int(id)*segSize:(int(id)+1)*segSize], k.stream.data[k.read:k.read+n-filled])
		k.read += got
		filled += got
	}
	return filled
}

// transmit has a send take what the socket has room for: it ends with the first bytes that it could send.
func (u *simUring) transmit(o *simOp, k *simSocket) {
	cn, d := o.cn, o.d^1
	if o.sqe.Opcode == ring.OpSendZC && oneIn(u, 24) {
		cn.bare[o.d] = true
		u.event(cn, o.d, "no send without a copy", 0)
		u.lend(o, -int32([]syscall.Errno{syscall.EOPNOTSUPP, syscall.ENOMEM, syscall.ENOBUFS}[u.pick(3)]))
		return
	}
	total := 0
	for _, v := range o.vec {
		total += len(v)
	}
	n, errno := k.send(u, total)
	switch {
	case errno == syscall.EAGAIN:
		if o.cancelled {
			u.done(o, -int32(syscall.ECANCELED), 0)
		}
		return
	case errno != 0:
		u.untaken(cn, d, errno)
		u.lend(o, -int32(errno))
		return
	}
	data := make([]byte, 0, total)
	for _, v := range o.vec {
		data = append(data, v...)
	}
	u.took(cn, d, data[:n])
	o.from, o.to = k.taken-n, k.taken
	u.lend(o, int32(n))
}

// lend completes a send, and has one without a copy keep its memory.
func (u *simUring) lend(o *simOp, res int32) {
	if o.sqe.Opcode != ring.OpSendZC || res < 0 && oneIn(u, 2) {
		u.done(o, res, 0)
		return
	}
	o.lent = true
	u.done(o, res, ring.FlagMore)
}

// notify: the kernel lets go of memory once the peer has what lies there. Until then it must not have changed.
func (u *simUring) notify(o *simOp, k *simSocket) {
	if k.heard < o.to && !k.rst && !k.closed {
		return
	}
	if string(o.vec[0][:o.to-o.from]) != string(o.cn.stream[o.d^1].data[o.from:o.to]) {
		u.Fatalf("what the kernel sends to side %d without a copy has changed", o.d)
	}
	res := int32(0)
	if oneIn(u, 3) {
		res = -1 << 31 // ring.NotifCopied
		o.cn.bare[o.d] = o.cn.bare[o.d] || !u.engine.setup.lendAlways
	}
	u.event(o.cn, o.d, "notification", int(res))
	u.done(o, res, ring.FlagNotif)
}
