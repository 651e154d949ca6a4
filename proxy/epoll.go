package proxy

import (
	"fmt"
	"net/netip"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"fooproxy/stats"
)

// What an epoll event is about: the op of its ref. A session's two sides are ops 0 and 1.
const (
	opListener = 2
	opWake     = 3
)

const (
	epollEvents = 512
	// readBudget is how many bytes one flow may move per wake-up before others get their turn.
	readBudget = 512 << 10
	// acceptBudget is how many connections are accepted per wake-up.
	acceptBudget = 64
	// acceptPause is how long accepting rests after the kernel had no descriptor or memory, or maxconn was reached.
	acceptPause = int64(50 * time.Millisecond)
	// rawWait is how many ms the loop may wait without the Go scheduler knowing.
	rawWait = 3
	// epollEdges is what a session's sockets are registered for, once. A recv stops at a byte that TCP calls urgent (PRI), whatever is
	// behind it, and no edge tells of that.
	epollEdges = unix.EPOLLIN | unix.EPOLLPRI | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET
)

// epollEngine is the readiness loop: edge-triggered, every socket registered once. It remembers what the kernel has
// announced (engineState) and reads or writes until the kernel says EAGAIN.
type epollEngine struct {
	direct
	worker   *worker
	fd       int
	wakeFD   int
	target   *address // the upstream
	events   [epollEvents]unix.EpollEvent
	peer     unix.RawSockaddrAny
	ready    []ref // sessions with work left after their budget
	serving  []ref // the ready list being served
	given    []int32
	acceptAt int64 // accepting rests until then, 0 = it does not
	backlog  bool  // the accept queue may hold connections
}

func newEpollEngine(c *core, w *worker, target *address) (_ *epollEngine, err error) {
	e := &epollEngine{direct: direct{core: c}, worker: w, target: target, fd: -1, wakeFD: -1}
	defer func() {
		if err != nil {
			e.close()
		}
	}()
	e.direct.init()
	if e.fd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	if e.wakeFD, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	if err = e.watch(e.wakeFD, newRef(opWake, 0, 0), unix.EPOLLIN|unix.EPOLLET); err != nil {
		return nil, err
	}
	if w.listener >= 0 {
		// EXCLUSIVE: loops that share a unix listener are not all woken for one connection.
		if err = e.watch(w.listener, newRef(opListener, 0, 0), unix.EPOLLIN|unix.EPOLLET|unix.EPOLLEXCLUSIVE); err != nil {
			return nil, err
		}
	}
	return e, nil
}

func (e *epollEngine) watch(fd int, r ref, events uint32) error {
	ev := newEpollEvent(events, r)
	if _, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(e.fd), unix.EPOLL_CTL_ADD, uintptr(fd), uintptr(unsafe.Pointer(&ev)), 0, 0); errno != 0 {
		return fmt.Errorf("epoll_ctl: %w", errno)
	}
	return nil
}

func newEpollEvent(events uint32, r ref) unix.EpollEvent {
	return unix.EpollEvent{Events: events, Fd: int32(uint32(r)), Pad: int32(uint32(r >> 32))}
}

func eventRef(ev *unix.EpollEvent) ref {
	return ref(uint32(ev.Fd)) | ref(uint32(ev.Pad))<<32
}

func (e *epollEngine) wake() {
	one := uint64(1)
	_, _, _ = unix.RawSyscall(unix.SYS_WRITE, uintptr(e.wakeFD), uintptr(unsafe.Pointer(&one)), 8)
}

func (e *epollEngine) close() {
	for _, fd := range [...]int{e.fd, e.wakeFD} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

// open has nothing left to do: the epoll set belongs to no thread.
func (e *epollEngine) open() error {
	e.readClock()
	e.wheel.init(e.now)
	return nil
}

func (e *epollEngine) run() error {
	for {
		if done, err := e.turn(); done || err != nil {
			return err
		}
	}
}

// turn is one round of the loop: collect events, handle them, serve who was over budget, accept, obey, publish. It says true
// when the loop is to end.
func (e *epollEngine) turn() (bool, error) {
	n, errno := e.collect()
	if errno != 0 {
		return false, fmt.Errorf("epoll_pwait: %w", errno)
	}
	e.readClock()
	for i := range e.events[:n] {
		e.handle(&e.events[i])
	}
	e.fireTimers() // after the events: what has just moved is not idle
	e.serveReady()
	if e.backlog && e.now >= e.acceptAt {
		e.acceptAll()
	}
	done := e.obey()
	e.publish(0)
	return done, nil
}

// collect fetches events. It waits only when there is nothing else to do: shortly behind the Go scheduler's back, which
// returns at once when events are there and saves the runtime's monitor from taking the processor away and giving it back,
// then with its knowledge, so that a garbage collection never waits for an idle loop.
func (e *epollEngine) collect() (int, syscall.Errno) {
	e.rest()
	if len(e.ready) > 0 {
		return e.wait(0, false)
	}
	limit := e.patience()
	if e.backlog {
		limit = sooner(limit, e.acceptAt, e.now)
	}
	ms := -1
	if limit >= 0 {
		ms = int((limit + time.Millisecond - 1) / time.Millisecond)
	}
	e.out.Idle(true)
	defer e.out.Idle(false)
	if ms >= 0 && ms <= rawWait {
		return e.wait(ms, false)
	}
	if n, errno := e.wait(rawWait, false); n > 0 || errno != 0 {
		return n, errno
	}
	return e.wait(ms, true)
}

func (e *epollEngine) wait(ms int, blocking bool) (int, syscall.Errno) {
	call := unix.RawSyscall6
	if blocking {
		call = unix.Syscall6
	}
	n, _, errno := call(unix.SYS_EPOLL_PWAIT, uintptr(e.fd), uintptr(unsafe.Pointer(&e.events[0])), epollEvents, uintptr(ms), 0, 0)
	if errno == unix.EINTR { // Go preempts threads by signal
		return 0, 0
	}
	return int(n), errno
}

func (e *epollEngine) handle(ev *unix.EpollEvent) {
	r := eventRef(ev)
	switch r.op() {
	case opListener:
		e.backlog = true
		return
	case opWake:
		var count uint64
		_, _, _ = unix.RawSyscall(unix.SYS_READ, uintptr(e.wakeFD), uintptr(unsafe.Pointer(&count)), 8)
		return
	}
	s := e.table.find(r)
	if s == nil {
		return
	}
	d := side(r.op())
	if d == server && !s.connected && s.flow[client].sink == open {
		e.connectEvent(s, ev.Events)
	}
	if d == client && ev.Events&(unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		s.clientGone = true
	}
	if ev.Events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		s.eng.readable[d] = true
	}
	if ev.Events&(unix.EPOLLPRI|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		s.eng.final[d] = true
	}
	if ev.Events&(unix.EPOLLOUT|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		s.eng.writable[d] = true
	}
	if ev.Events&unix.EPOLLERR != 0 && s.heardFIN(d) {
		e.sourceRST(s, d)
	}
	e.serve(s)
}

// connectEvent looks how a connection attempt has ended.
func (e *epollEngine) connectEvent(s *session, events uint32) {
	if events&(unix.EPOLLERR|unix.EPOLLHUP) != 0 {
		if errno := e.sys.socketError(s.fd[server]); errno != 0 {
			e.connectFailed(s, errno)
			return
		}
	}
	if events&unix.EPOLLOUT != 0 {
		e.connectDone(s)
	}
}

func (e *epollEngine) serveReady() {
	e.serving, e.ready = e.ready, e.serving[:0]
	for _, r := range e.serving {
		if s := e.table.find(r); s != nil {
			s.eng.queued = false
			e.serve(s)
		}
	}
}

func (e *epollEngine) fireTimers() {
	for s := e.wheel.expired(&e.table, e.now); s != nil; s = e.wheel.expired(&e.table, e.now) {
		e.expire(s)
		e.serve(s)
	}
	e.pipes.trim(e.now)
}

// obey carries out orders from outside; it says true when the loop is to end.
func (e *epollEngine) obey() bool {
	e.worker.hear()
	order := e.worker.order.Load()
	if e.worker.gifts.Load() {
		e.adopt(false)
	}
	if order == orderRun {
		return false
	}
	if !e.draining {
		e.stopAccepting()
	}
	switch {
	case order == orderStop:
		e.table.each(func(s *session) {
			e.kill(s, causeStopped)
			e.closeSession(s)
		})
	case order == orderQuiet && !e.quiet:
		e.quiet = true
		e.table.each(func(s *session) {
			e.stopRequests(s, causeStopped)
			e.serve(s)
		})
	}
	return e.table.used == 0
}

// stopAccepting takes the connections that clients already believe to have, as far as maxconn lets them in, and closes the
// listener.
func (e *epollEngine) stopAccepting() {
	e.draining = true
	e.adopt(true)
	if e.worker.listener < 0 {
		return
	}
	for e.backlog = true; e.backlog && e.acceptAt <= e.now; {
		e.acceptAll()
	}
	e.backlog = false
	closeSocket(int32(e.worker.listener), false)
	e.worker.listener = -1
}

// adopt takes over the descriptors that others have accepted for this loop.
func (e *epollEngine) adopt(last bool) {
	e.given = e.worker.take(e.given, last)
	for _, fd := range e.given {
		e.begun(fd, peerName(fd))
		e.load.Add(-1)
	}
}

// acceptAll accepts until the queue is empty or the budget is used up.
func (e *epollEngine) acceptAll() {
	e.acceptAt = 0
	for range acceptBudget {
		if !e.admit() {
			e.pauseAccept()
			return
		}
		fd, errno := accept(e.worker.listener, &e.peer)
		if errno == 0 {
			if !e.worker.passOn(fd) {
				e.begun(fd, peerAddr(&e.peer))
			}
			continue
		}
		e.conns.Add(-1)
		switch errno {
		case unix.EAGAIN:
			e.backlog = false
			return
		case unix.ECONNABORTED, unix.EINTR:
			e.local[stats.AcceptErrors]++
		default: // EMFILE, ENFILE, ENOBUFS, ENOMEM and whatever else: rest, then try again
			e.local[stats.AcceptErrors]++
			e.pauseAccept()
			return
		}
	}
}

func (e *epollEngine) pauseAccept() {
	e.local[stats.AcceptPauses]++
	e.acceptAt = e.now + acceptPause
}

// begun makes a session for an accepted descriptor and begins to connect its upstream.
func (e *epollEngine) begun(fd int32, from netip.AddrPort) {
	if e.refused(fd, from) {
		return
	}
	s := e.begin(fd, from)
	e.choosePaceOf(s)
	up, errno := upstreamSocket(e.target, e.cfg, unix.SOCK_NONBLOCK)
	s.fd[server] = up
	if errno == 0 {
		errno = connect(up, e.target)
	}
	if e.watch(int(fd), newRef(uint8(client), s.gen, s.slot), epollEdges) != nil {
		e.kill(s, causeError)
	}
	switch errno {
	case 0: // a unix socket connects at once
		e.connectDone(s)
	case unix.EINPROGRESS:
	default:
		e.connectFailed(s, errno)
	}
	if up >= 0 && e.watch(int(up), newRef(uint8(server), s.gen, s.slot), epollEdges) != nil {
		e.kill(s, causeError)
	}
	e.rearm(s)
	e.serve(s)
}
