package proxy

import (
	"slices"
	"syscall"

	"fooproxy/ring"
)

// simUring serves sessions the way the io_uring engine does, and uses its handling of completions where that needs no ring.
type simUring struct {
	*simWorld
	engine  *uringEngine
	ops     []*simOp // in flight
	bufs    []int32  // segments given to the kernel, in the order of their use
	starved []*simConn
	turns   uint32
}

// simOp is one submitted operation.
type simOp struct {
	cn        *simConn
	op        uint8
	vec       [][]byte // what a send has still to send: the kernel reads the memory itself
	done      int      // bytes that it has sent
	target    uint8    // the operation that a cancel ends
	cancelled bool
}

// simBuffers is how many segments the kernel has for receiving.
const simBuffers = 4

func newSimUring(w *simWorld) *simUring {
	u := &simUring{simWorld: w, engine: &uringEngine{core: w.core}}
	u.refill()
	return u
}

func (u *simUring) submit(o *simOp) {
	for _, other := range u.ops {
		if other.cn == o.cn && other.op == o.op && o.op != opCancel {
			u.Fatalf("operation %d is in flight twice", o.op)
		}
	}
	u.ops = append(u.ops, o)
	o.cn.s.eng.inFlight++
}

func (u *simUring) begin(cn *simConn) {
	cn.s.eng.dial = dialSubmitted
	u.submit(&simOp{cn: cn, op: opConnect})
	u.touch(cn)
}

func (u *simUring) touch(cn *simConn) { u.engine.touch(cn.s) }
func (u *simUring) inKernel() int     { return len(u.bufs) }
func (u *simUring) idle() bool        { return len(u.ops) == 0 && len(u.engine.ready) == 0 }

func (u *simUring) progress(cn *simConn, d side) int {
	for _, o := range u.ops {
		if o.cn == cn && o.op == opSend+uint8(d) {
			return o.done
		}
	}
	return 0
}

func (u *simUring) turn(eager bool) {
	u.turns++
	for _, o := range u.ops {
		if o.op == opCancel { // the kernel does that when it is submitted; the completions follow
			for _, t := range u.ops {
				t.cancelled = t.cancelled || t.cn == o.cn && t.op == o.target
			}
		}
	}
	batch := slices.Clone(u.ops)
	for i := range batch {
		j := i + u.pick(len(batch)-i)
		batch[i], batch[j] = batch[j], batch[i]
		if eager || oneIn(u, 2) {
			u.complete(batch[i], eager)
		}
	}
	u.fire(func(cn *simConn) {
		u.findDead(cn)
		u.touch(cn)
	})
	ready := u.engine.ready
	u.engine.ready = nil
	for _, r := range ready {
		if s := u.table.find(r); s != nil {
			s.eng.queued = false
			u.serve(u.find(s))
		}
	}
	u.refill()
	if len(u.bufs) > 0 {
		for _, cn := range u.starved {
			if cn.s != nil {
				cn.s.eng.starved = [2]bool{}
				u.touch(cn)
			}
		}
		u.starved = nil
	}
}

func (u *simUring) refill() {
	for len(u.bufs) < simBuffers {
		id := u.slab.get(ownKernel)
		if id == noSeg {
			return
		}
		u.bufs = append(u.bufs, id)
	}
}

// final takes an operation out of what is in flight and returns the user data of its completion.
func (u *simUring) final(o *simOp) ref {
	i := slices.Index(u.ops, o)
	if i < 0 {
		u.Fatalf("operation %d completes twice", o.op)
	}
	u.ops = slices.Delete(u.ops, i, i+1)
	return o.cn.ref | newRef(o.op, 0, 0)
}

// complete has the kernel go on with an operation as far as it can.
func (u *simUring) complete(o *simOp, eager bool) {
	u.events++
	cn := o.cn
	switch o.op {
	case opConnect:
		u.dialled(o)
	case opCancel:
		u.final(o)
		u.engine.settle(cn.s)
	case opRecv, opRecv + 1:
		u.recv(o, side(o.op-opRecv), eager)
	case opSend, opSend + 1:
		u.sendSome(o, side(o.op-opSend))
	}
}

func (u *simUring) dialled(o *simOp) {
	cn, c := o.cn, ring.CQE{Res: -int32(o.cn.refused)}
	if o.cancelled && oneIn(u, 2) {
		c.Res = -int32(syscall.ECANCELED)
	}
	wanted := cn.s.flow[client].sink == open
	r := u.final(o)
	if wanted && c.Res != 0 {
		u.note(cn, connectCause(cn.refused))
	}
	if wanted && c.Res == 0 {
		cn.up, cn.moved = true, u.now
	}
	u.event(cn, server, "connected", int(c.Res))
	u.engine.onConnect(r, &c)
}

// recv is a receive that has data or an end; it may deliver data even after it was cancelled.
func (u *simUring) recv(o *simOp, d side, eager bool) {
	cn, s, k := o.cn, o.cn.s, &o.cn.sock[d]
	end := func() {
		s.eng.armed[d], s.eng.cancelled[d] = false, false
		u.final(o)
		u.engine.settle(s)
	}
	if o.cancelled && oneIn(u, 2) {
		end()
		return
	}
	single := d == client && u.cfg.MaxPending > 0
	bundle := 1 + u.pick(3)
	if single {
		bundle = 1
	}
	for range bundle {
		if k.sent == k.read {
			break
		}
		if len(u.bufs) == 0 {
			end()
			s.eng.starved[d] = true
			u.starved = append(u.starved, cn)
			return
		}
		id, from := u.bufs[0], k.read
		u.bufs = u.bufs[1:]
		limit := segSize
		if !eager {
			limit = size(u, segSize)
		}
		n, _ := k.recv(limit)
		copy(u.slab.mem[int(id)*segSize:(int(id)+1)*segSize], k.stream.data[from:from+n])
		g := u.slab.move(id, ownKernel, ownFlow)
		g.end = uint16(n)
		g.end = uint16(u.received(cn, d, u.slab.bytes(id)))
		u.engine.enqueue(s, d, id)
		u.engine.touch(s)
		if single {
			end()
			return
		}
	}
	if k.sent > k.read || !k.fin && !k.rst {
		if o.cancelled || oneIn(u, 6) { // a multishot receive may end by itself
			end()
		}
		return
	}
	_, errno := k.recv(1)
	if back := &s.flow[d^1]; k.rst && back.sink == open { // the connection's state tells
		errno = syscall.ECONNRESET
	}
	end()
	if s.flow[d].source == ended {
		return
	}
	u.ended(cn, d, errno)
	if errno == 0 {
		s.recheck = u.now + deadPeerCheck
		u.rearm(s)
	}
}

// sendSome is a send that waits for all of its bytes to go, unless something ends it.
func (u *simUring) sendSome(o *simOp, d side) {
	cn, k := o.cn, &o.cn.sock[d^1]
	var errno syscall.Errno
	for len(o.vec) > 0 && errno == 0 {
		var n int
		if n, errno = k.send(u, len(o.vec[0])); errno == 0 {
			u.took(cn, d, o.vec[0][:n])
			o.done += n
			if o.vec[0] = o.vec[0][n:]; len(o.vec[0]) == 0 {
				o.vec = o.vec[1:]
			} else if !oneIn(u, 8) {
				break
			}
		}
	}
	c := ring.CQE{Res: int32(o.done)}
	switch {
	case len(o.vec) == 0 || oneIn(u, 10) && o.done > 0: // all, or a short send
	case o.cancelled && o.done == 0:
		c.Res = -int32(syscall.ECANCELED)
	case o.cancelled || o.done > 0 && errno != 0 && errno != syscall.EAGAIN:
	case errno != 0 && errno != syscall.EAGAIN:
		c.Res = -int32(errno)
		if cn.s.flow[d].sink != gone {
			u.note(cn, causeClientRST+cause(d^1))
			cn.failed[d], cn.moved = true, u.now
		}
	default:
		return
	}
	u.event(cn, d^1, "send is done", int(c.Res))
	if c.Res > 0 && cn.s.flow[d].sink != gone {
		cn.moved = u.now
	}
	u.engine.onSend(u.final(o), &c)
}

func (u *simUring) findDead(cn *simConn) {
	for d := range cn.sock {
		k := &cn.sock[d]
		if !cn.s.heardFIN(side(d)) {
			continue
		}
		if k.err {
			k.err = false
			u.event(cn, side(d), "RST after FIN", 0)
			cn.moved = u.now
			u.sourceRST(cn.s, side(d))
			continue
		}
		cn.s.recheck = u.now + deadPeerCheck
		u.rearm(cn.s)
	}
}

func (u *simUring) serve(cn *simConn) {
	s := cn.s
	for again := true; again; {
		again = u.relay(cn, client)
		again = u.relay(cn, server) || again
	}
	if s.finished() {
		u.finish(cn)
		return
	}
	u.arm(cn, client)
	u.arm(cn, server)
	if u.cfg.TimeoutIdle > 0 && s.timer.tick == 0 {
		u.rearm(s)
	}
}

func (u *simUring) relay(cn *simConn, d side) bool {
	s, f := cn.s, &cn.s.flow[d]
	if f.sending {
		return false
	}
	switch a := s.want(d); {
	case a&actSend != 0:
		o := &simOp{cn: cn, op: opSend + uint8(d)}
		for id := f.queue.head; id != noSeg && len(o.vec) < 3; id = u.slab.segs[id].next {
			o.vec = append(o.vec, u.slab.bytes(id))
		}
		u.submit(o)
		f.sending = true
		s.eng.sentTurn[d] = u.turns
	case a&actShut != 0:
		u.shutdown(cn, d)
		return true
	case a&actAbort != 0 && u.delivered(cn, d):
		u.sinkAborted(s, d)
		return true
	}
	return false
}

func (u *simUring) arm(cn *simConn, d side) {
	s, eng := cn.s, &cn.s.eng
	if s.flow[d].sending && eng.sentTurn[d] != u.turns {
		u.queued(s, d, u.readLimit())
	}
	if s.want(d)&actRecv == 0 {
		u.disarm(cn, d)
		return
	}
	if eng.armed[d] || eng.starved[d] {
		return
	}
	if d == server && !cn.up {
		u.Fatalf("a receive on a socket that is not connected")
	}
	eng.armed[d] = true
	u.submit(&simOp{cn: cn, op: opRecv + uint8(d)})
}

func (u *simUring) disarm(cn *simConn, d side) {
	if eng := &cn.s.eng; eng.armed[d] && !eng.cancelled[d] {
		eng.cancelled[d] = true
		u.submit(&simOp{cn: cn, op: opCancel, target: opRecv + uint8(d)})
	}
}

func (u *simUring) finish(cn *simConn) {
	s := cn.s
	if s.eng.inFlight == 0 {
		for _, o := range u.ops {
			if o.cn == cn {
				u.Fatalf("a session is closed while its operation %d is in flight", o.op)
			}
		}
		u.closed(cn)
		return
	}
	if s.eng.closing {
		return
	}
	s.eng.closing = true
	for d := range s.flow {
		u.disarm(cn, side(d))
		if s.flow[d].sending {
			u.submit(&simOp{cn: cn, op: opCancel, target: opSend + uint8(d)})
		}
	}
	if s.eng.dial == dialSubmitted {
		u.submit(&simOp{cn: cn, op: opCancel, target: opConnect})
	}
}
