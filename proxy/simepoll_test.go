package proxy

import "syscall"

// simEpoll serves sessions the way the epoll engine does.
type simEpoll struct {
	*simWorld
	ready   []*simConn
	scratch []byte
}

// simBudget is what one flow may move per wake-up.
const simBudget = 2 * segSize

func newSimEpoll(w *simWorld) *simEpoll {
	return &simEpoll{simWorld: w, scratch: make([]byte, w.cfg.MaxBuffer)}
}

func (e *simEpoll) begin(cn *simConn) {
	cn.sock[client].edge, cn.sock[server].edge = true, true
	e.serve(cn)
}

func (e *simEpoll) touch(cn *simConn)           { e.serve(cn) }
func (e *simEpoll) progress(*simConn, side) int { return 0 }
func (e *simEpoll) inKernel() int               { return 0 }
func (e *simEpoll) idle() bool                  { return len(e.ready) == 0 }

func (e *simEpoll) turn(eager bool) {
	for _, cn := range e.conns {
		for d := range cn.sock {
			if cn.s != nil && cn.sock[d].edge && (eager || oneIn(e, 2)) {
				cn.sock[d].edge = false
				e.handle(cn, side(d), eager)
			}
		}
	}
	e.fire(e.serve)
	ready := e.ready
	e.ready = nil
	for _, cn := range ready {
		if cn.s != nil {
			cn.s.eng.queued = false
			e.serve(cn)
		}
	}
}

func (e *simEpoll) handle(cn *simConn, d side, eager bool) {
	s, k := cn.s, &cn.sock[d]
	e.events++
	if d == server && !cn.up && s.flow[client].sink == open {
		if !eager && oneIn(e, 2) {
			k.edge = true // not yet
			return
		}
		e.connected(cn)
	}
	eng := &s.eng
	if d == client || cn.up {
		eng.readable[d] = eng.readable[d] || k.sent > k.read || k.fin || k.rst
		eng.writable[d] = eng.writable[d] || k.space > k.taken-k.heard || k.rst
		eng.final[d] = eng.final[d] || k.fin || k.rst
	}
	if k.rst && s.heardFIN(d) {
		e.event(cn, d, "RST after FIN", 0)
		cn.moved = e.now
		e.sourceRST(s, d)
	}
	e.serve(cn)
}

func (e *simEpoll) serve(cn *simConn) {
	s := cn.s
	budget := [2]int{simBudget, simBudget}
	for {
		e.serveFlow(cn, client, &budget[client])
		if !e.serveFlow(cn, server, &budget[server]) {
			break
		}
	}
	if s.finished() {
		e.closed(cn)
		return
	}
	if min(budget[client], budget[server]) <= 0 && !s.eng.queued {
		s.eng.queued = true
		e.ready = append(e.ready, cn)
	}
	if e.cfg.TimeoutIdle > 0 && s.timer.tick == 0 {
		e.rearm(s)
	}
}

func (e *simEpoll) serveFlow(cn *simConn, d side, budget *int) (moved bool) {
	s := cn.s
	for ; ; moved = true {
		a := s.want(d)
		switch {
		case a&actSend != 0 && s.eng.writable[d^1]:
			e.flush(cn, d)
		case a&actShut != 0:
			e.shutdown(cn, d)
		case a&actAbort != 0 && e.delivered(cn, d):
			e.sinkAborted(s, d)
		case a&actRecv != 0 && s.eng.readable[d] && *budget > 0:
			*budget -= e.receive(cn, d)
		default:
			return moved
		}
	}
}

func (e *simEpoll) receive(cn *simConn, d side) int {
	s, k := cn.s, &cn.sock[d]
	limit := min(e.recvLimit(d), len(e.scratch))
	from := k.read
	n, errno := k.recv(limit)
	switch {
	case errno == syscall.EAGAIN:
		s.eng.readable[d] = false
		return 0
	case errno != 0 || n == 0:
		s.eng.readable[d] = false
		e.ended(cn, d, errno)
		return 0
	}
	data := e.scratch[:copy(e.scratch, k.stream.data[from:from+n])]
	if n < limit && !s.eng.final[d] {
		s.eng.readable[d] = false
	}
	if ok := e.received(cn, d, data); ok > 0 {
		e.forward(cn, d, data[:ok])
	}
	return n
}

func (e *simEpoll) forward(cn *simConn, d side, data []byte) {
	s, f := cn.s, &cn.s.flow[d]
	if f.queue.bytes == 0 && s.eng.writable[d^1] && f.sink == open && (d == server || s.connected && s.class != classUnknown) {
		n, errno := cn.sock[d^1].send(e, len(data))
		if e.sendFailed(cn, d, errno) {
			return
		}
		e.took(cn, d, data[:n])
		cn.moved = e.now
		if data = data[n:]; len(data) == 0 {
			return
		}
		s.eng.writable[d^1] = false
		cn.sock[d^1].short = true
	}
	if f.queue.write(e.slab, data) < len(data) {
		e.Fatalf("no memory for side %d: %d segments free, %d held", d, e.slab.free, f.queue.segs)
	}
	e.queued(s, d, highWater)
}

func (e *simEpoll) flush(cn *simConn, d side) {
	s, f, k := cn.s, &cn.s.flow[d], &cn.sock[d^1]
	data := contents(e.slab, &f.queue)
	n, errno := k.send(e, len(data))
	if e.sendFailed(cn, d, errno) {
		return
	}
	if n < len(data) {
		s.eng.writable[d^1] = false
		k.short = true
	}
	if n > 0 {
		e.took(cn, d, data[:n])
		cn.moved = e.now
		e.sent(s, d, n, lowWater)
	}
}

func (e *simEpoll) sendFailed(cn *simConn, d side, errno syscall.Errno) bool {
	if errno == 0 || errno == syscall.EAGAIN {
		return false
	}
	e.event(cn, d^1, "send fails", int(errno))
	cn.failed[d], cn.moved = true, e.now
	e.note(cn, causeClientRST+cause(d^1))
	cn.s.eng.readable[d^1], cn.s.eng.final[d^1] = true, true
	e.sinkFailed(cn.s, d)
	return true
}
