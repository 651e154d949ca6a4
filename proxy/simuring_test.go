package proxy

import (
	"slices"

	"fooproxy/ring"
)

// simUring is the io_uring engine over a ring without a kernel: what it submits comes here, and goes on in any order.
type simUring struct {
	simKernel
	engine *uringEngine
	addr   *ring.Sockaddr
	ops    []*simOp // in flight
	head   uint16   // of the buffer ring: how many buffers the kernel has used
}

// simBuffers is how many segments the kernel has for receiving, simLoan the least that is sent without a copy.
const (
	simBuffers = 4
	simLoan    = 100
)

func newSimUring(w *simWorld) *simUring {
	u := &simUring{simKernel: simKernel{w}, addr: new(ring.Sockaddr)}
	w.drains = true
	r, err := ring.Detached(ring.Params{Entries: []uint32{64, 8, 4}[w.pick(3)], Iovecs: 3}, u)
	if err != nil {
		w.Fatal(err)
	}
	e := &uringEngine{core: w.core, direct: direct{core: w.core}, ring: r}
	e.setup = uringSetup{buffers: simBuffers, recvMultishot: !oneIn(w, 4), recvBundle: !oneIn(w, 4), lendAlways: oneIn(w, 2)}
	e.direct.init()
	e.direct.budget, e.direct.large = simBudget, simLarge
	if !oneIn(w, 4) {
		e.scratch = e.direct.scratch
	}
	if w.cfg.ZeroCopy != ZeroCopyOff {
		e.lender.least, e.lender.segs = simLoan, int32(size(w, len(w.slab.segs)))
	}
	if e.bufs, err = r.NewBufRing(uringGroup, w.slab.mem, segSize, simBuffers, false); err != nil {
		w.Fatal(err)
	}
	u.engine = e
	e.refill()
	return u
}

func (u *simUring) close() {
	if err := u.engine.bufs.Close(); err != nil {
		panic(err)
	}
	if err := u.engine.ring.Close(); err != nil {
		panic(err)
	}
}

func (u *simUring) begin(cn *simConn) {
	s := cn.s
	for !u.engine.room(1) { // the kernel takes nothing now
	}
	u.engine.ring.PrepConnect(int(s.fd[server]), u.addr, uint64(newRef(opConnect, s.gen, s.slot)))
	s.eng.dial = dialSubmitted
	s.eng.inFlight++
	u.touch(cn)
}

func (u *simUring) touch(cn *simConn) { u.engine.touch(cn.s) }

func (u *simUring) idle() bool {
	return len(u.ops) == 0 && len(u.engine.ready) == 0 && u.engine.ring.Prepared() == 0
}

func (u *simUring) inKernel() int {
	n := u.engine.bufs.InKernel()
	for _, o := range u.ops {
		if o.sqe.Opcode != ring.OpSendZC {
			continue
		}
		l := &u.engine.lender.loans[ref(o.sqe.UserData).slot()]
		for id := l.first; id < l.first+l.count; id++ {
			if u.slab.segs[id].owner == ownLoan && !u.shared(o, id) {
				n++
			}
		}
	}
	return n
}

// shared says whether an earlier send without a copy reads segment id too.
func (u *simUring) shared(than *simOp, id int32) bool {
	for _, o := range u.ops {
		if o == than {
			return false
		}
		if o.sqe.Opcode == ring.OpSendZC {
			if l := &u.engine.lender.loans[ref(o.sqe.UserData).slot()]; id >= l.first && id < l.first+l.count {
				return true
			}
		}
	}
	return false
}

func (u *simUring) inFlight(fd int32) bool {
	return slices.ContainsFunc(u.ops, func(o *simOp) bool { return o.sqe.Opcode != ring.OpAsyncCancel && o.sqe.Fd == fd && !o.lent })
}

// awaits: an operation is in flight, or begun as soon as others have ended or buffers are back.
func (u *simUring) awaits(cn *simConn, d side, to bool) bool {
	s := cn.s
	eng, f := &s.eng, &s.flow[d]
	if to {
		f = &s.flow[d^1]
		return eng.queued || f.sending || eng.roomArmed[d^1] || !eng.direct && s.class == classTunnel
	}
	return eng.queued || eng.armed[d] && !u.overlooks(cn, d) || eng.starved[d] || eng.bulk[d] > 0 && f.held() || !eng.direct && s.class == classTunnel
}

// overlooks says whether side d's receive waits for an end that it has missed, and nobody has asked it to end.
func (u *simUring) overlooks(cn *simConn, d side) bool {
	return !cn.s.eng.cancelled[d] && slices.ContainsFunc(u.ops, func(o *simOp) bool {
		return o.sqe.Opcode == ring.OpRecv && o.cn == cn && o.d == d && o.waits(&cn.sock[d])
	})
}

func (u *simUring) turn(eager bool) {
	e := u.engine
	e.turns++
	e.ring.Submit()
	u.cancel()
	batch := slices.Clone(u.ops)
	for i := range batch {
		j := i + u.pick(len(batch)-i)
		batch[i], batch[j] = batch[j], batch[i]
		if eager || oneIn(u, 2) {
			u.complete(batch[i], eager)
		}
	}
	u.fire(func(cn *simConn) {
		e.findDead(cn.s)
		e.touch(cn.s)
	})
	scarce := e.slab.free == 0
	e.serveReady()
	if scarce || e.slab.free == 0 { // for want of memory nothing may have been read
		for _, cn := range u.conns {
			cn.sock[client].again, cn.sock[server].again = 0, 0
		}
	}
	e.refill()
	e.feedStarved()
	u.checkEnding()
}

// checkEnding: a session that has finished has asked everything of its that is in flight to end.
func (u *simUring) checkEnding() {
	if u.engine.ring.Prepared() > 0 {
		return
	}
	for _, o := range u.ops {
		if o.sqe.Opcode == ring.OpAsyncCancel || o.lent || o.cancelled || !o.cn.s.finished() || o.cn.s.eng.queued {
			continue
		}
		if !slices.ContainsFunc(u.ops, func(c *simOp) bool { return c.sqe.Opcode == ring.OpAsyncCancel && c.sqe.Addr == o.sqe.UserData }) {
			u.Fatalf("a session has finished and waits for its operation %d", ref(o.sqe.UserData).op())
		}
	}
}
