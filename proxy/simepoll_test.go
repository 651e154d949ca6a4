package proxy

import "golang.org/x/sys/unix"

// simEpoll is the epoll engine, with events that the simulator makes.
type simEpoll struct {
	*simWorld
	engine *epollEngine
}

// simBudget is what one flow may move per wake-up.
const simBudget = 2 * segSize

func newSimEpoll(w *simWorld) *simEpoll {
	e := &simEpoll{simWorld: w, engine: &epollEngine{direct: direct{core: w.core}}}
	e.engine.direct.init()
	e.engine.budget, e.engine.large = simBudget, simLarge
	return e
}

func (e *simEpoll) begin(cn *simConn) {
	for d := range cn.sock {
		cn.sock[d].edge, cn.sock[d].nonblock = true, true
	}
	e.engine.serve(cn.s)
}

func (e *simEpoll) touch(cn *simConn)   { e.engine.serve(cn.s) }
func (e *simEpoll) inKernel() int       { return 0 }
func (e *simEpoll) inFlight(int32) bool { return false }
func (e *simEpoll) idle() bool          { return len(e.engine.ready) == 0 }
func (e *simEpoll) close()              {}

// awaits: an edge is still to be reported, or comes when the peer receives what filled the socket.
func (e *simEpoll) awaits(cn *simConn, d side, to bool) bool {
	k := &cn.sock[d]
	return k.edge || cn.s.eng.queued || to && k.short && !k.rst
}

func (e *simEpoll) turn(eager bool) {
	for _, cn := range e.conns {
		for d := range cn.sock {
			if cn.s != nil && cn.sock[d].edge && (eager || oneIn(e, 2)) {
				cn.sock[d].edge = false
				e.report(cn, side(d), eager)
			}
		}
	}
	e.fire(func(cn *simConn) { e.engine.serve(cn.s) })
	e.engine.serveReady()
}

// report has the engine handle an event: what epoll says of a socket now.
func (e *simEpoll) report(cn *simConn, d side, eager bool) {
	s, k := cn.s, &cn.sock[d]
	e.events++
	var events uint32
	if d == server && !cn.up {
		if s.flow[client].sink != open {
			return
		}
		if !eager && oneIn(e, 2) {
			k.edge = true // not yet
			return
		}
		e.dialled(cn)
		events = unix.EPOLLOUT
		if cn.refused != 0 {
			events |= unix.EPOLLIN | unix.EPOLLERR | unix.EPOLLHUP
		}
	}
	if d == client || cn.up {
		for _, one := range [...]struct {
			is bool
			of uint32
		}{
			{k.sent > k.read || k.fin || k.rst, unix.EPOLLIN},
			{k.urgent > 0, unix.EPOLLPRI},
			{k.fin || k.rst, unix.EPOLLRDHUP},
			{k.space > k.taken-k.heard || k.rst, unix.EPOLLOUT},
			{k.rst || k.fin && k.shut, unix.EPOLLHUP},
			{k.err, unix.EPOLLERR},
		} {
			if one.is {
				events |= one.of
			}
		}
		k.short = k.short || k.space == k.taken-k.heard // a full socket that is asked says when it has space (tcp_poll)
		if k.err && s.heardFIN(d) {
			e.event(cn, d, "RST after FIN", 0)
			cn.moved = e.now
		}
	}
	ev := newEpollEvent(events, newRef(uint8(d), s.gen, s.slot))
	e.engine.handle(&ev)
}
