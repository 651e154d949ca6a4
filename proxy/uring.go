package proxy

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"fooproxy/ring"
	"fooproxy/ring/ringtest"
)

// What a completion is about: the op of its ref. Receives and sends have the side in the lowest bit: the side read from, and
// the flow being sent.
const (
	opRecv    = 0
	opSend    = 2
	opConnect = 4
	opCancel  = 5
	opAccept  = 6
	opUnblock = 7 // the worker's wake-up
	opPoll    = 8
	opRoom    = 10
	opLend    = 12 // a send without a copy; its slot is the number of a loan
)

const (
	uringEntries   = 256
	uringVector    = 64 // segments that one send gathers
	uringBuffers   = 64 // segments given to the kernel for receiving: what one turn can use up, half of an L2 cache
	uringGroup     = 1  // of the buffer ring
	buffersPerRecv = 32 // segments that one receive of bulk data may take
	buffersScarce  = 8  // segments given when memory is scarce
	sqesPerServe   = 4  // the most entries that serving a session once prepares
	deadPeerCheck  = int64(100 * time.Millisecond)
	scarceFor      = int64(time.Second)
)

// uringEngine is the completion loop: receives stay armed and take buffers from a shared ring when data comes, sends gather a
// flow's queue, and one system call a turn hands over what is prepared and fetches what is done.
//
// A session is closed as a join: everything in flight is cancelled once, and the descriptors go when the last completion has
// come back. Until then the slot keeps its generation, so a completion always finds its session.
type uringEngine struct {
	*core
	worker   *worker
	ring     *ring.Ring
	bufs     *ring.BufRing
	waker    *ring.Waker
	arena    *ring.Arena
	upstream *ring.Sockaddr
	target   *address
	setup    uringSetup
	direct   direct // of tunnels
	lender   lender
	scratch  []byte // of drain; nil = no draining

	ready    []ref // sessions that completions have touched
	serving  []ref // the ready list being served
	starved  []ref // flows whose receive found no buffer; op is the side
	given    []int32
	acceptAt int64 // accepting rests until then, 0 = it does not
	// accepting and waking are true exactly from submitting the operation to its final completion.
	accepting bool
	waking    bool
	stopping  bool // the accept has been asked to end
	killed    bool // every session has been ended on order
	turns     uint32
	scarce    int64 // descriptors have run out lately: accept one at a time until then
	waiting   int   // sessions without a descriptor for their upstream
}

// uringSetup is how much of io_uring there is to use, and how big.
type uringSetup struct {
	params          ring.Params
	acceptMultishot bool
	recvMultishot   bool
	recvBundle      bool
	sendZC          bool
	buffers         int
	lendAlways      bool   // for tests: the kernel's report that it copied is not heeded
	faults          uint64 // seed of faults made for tests, 0 = none
	loops           int
	report          *ring.Report
	grace           *ring.Grace // for the rings of all loops together
}

func newUringSetup(report *ring.Report, loops int) uringSetup {
	return uringSetup{
		report: report, loops: loops, grace: ring.NewGrace(),
		params:  report.Params(ring.Params{Entries: uringEntries, Iovecs: uringVector}),
		buffers: uringBuffers,

		acceptMultishot: report.Has(ring.FeatAcceptMultishot),
		recvMultishot:   report.Has(ring.FeatRecvMultishot),
		recvBundle:      report.Has(ring.FeatRecvBundle),
		sendZC:          report.Has(ring.FeatSendZC) && report.Has(ring.FeatRegisteredBuffers),
	}
}

func newUringEngine(c *core, w *worker, target *address, setup uringSetup) (*uringEngine, error) {
	waker, err := ring.NewWaker()
	if err != nil {
		return nil, err
	}
	e := &uringEngine{core: c, direct: direct{core: c}, worker: w, target: target, setup: setup, waker: waker}
	e.direct.init()
	return e, nil
}

// open makes the ring, on the worker's thread, which is the only one that may use it. What it does not get for want of a resource is
// a *ring.Unusable.
func (e *uringEngine) open() (err error) {
	err = e.setup.grace.Try(func() (err error) {
		e.ring, err = ring.Setup(e.setup.params)
		return err
	})
	if err != nil {
		return e.setup.short(ring.FeatSetup, e.index, err)
	}
	if e.setup.faults != 0 {
		e.ring.SetHook(ringtest.New(e.setup.faults+uint64(e.index), everyFault))
	}
	err = e.setup.grace.Try(func() (err error) {
		e.bufs, err = e.ring.NewBufRing(uringGroup, e.slab.mem, segSize, e.setup.buffers, false)
		return err
	})
	if err != nil {
		return e.setup.short(ring.FeatBufRing, e.index, err)
	}
	if e.arena, err = ring.NewArena(4096); err != nil {
		return e.setup.short(ring.FeatSetup, e.index, err)
	}
	e.upstream = ring.NewSockaddrRaw(e.arena, e.target.bytes())
	if e.ring.Flags()&ring.SetupDeferTaskrun != 0 {
		e.scratch = e.direct.scratch
	}
	e.readClock()
	e.wheel.init(e.now)
	return nil
}

func (e *uringEngine) wake() { e.waker.Wake() }

func (e *uringEngine) close() {
	if e.ring != nil {
		_ = e.ring.Close()
	}
	if e.arena != nil {
		_ = e.arena.Free()
	}
	_ = e.waker.Close()
}

func (e *uringEngine) run() error {
	for {
		if done, err := e.turn(); done || err != nil {
			return err
		}
	}
}

// turn is one round of the loop: hand over and collect, handle completions, serve the sessions they touched, give back
// buffers, obey, publish. It says true when the loop is to end.
func (e *uringEngine) turn() (bool, error) {
	e.turns++
	e.armLoop()
	if errno := e.collect(); errno != 0 && !ring.Transient(errno) {
		return false, fmt.Errorf("io_uring_enter: %w", errno)
	}
	e.readClock()
	e.handleReady()
	e.fireTimers() // after the completions: what has just moved is not idle
	e.serveReady()
	e.refill()
	e.feedStarved()
	done := e.obey()
	e.publish(e.bufs.InKernel())
	return done, nil
}

func (e *uringEngine) handleReady() {
	for batch := e.ring.Ready(); len(batch) > 0; batch = e.ring.Ready() {
		for i := range batch {
			e.handle(&batch[i])
		}
		e.ring.Advance(len(batch))
	}
}

// collect hands over what is prepared and fetches completions, first without blocking; it waits only when there is nothing
// to do: shortly behind the Go scheduler's back, then with its knowledge.
func (e *uringEngine) collect() unix.Errno {
	e.rest()
	errno := e.ring.Collect()
	if errno != 0 || len(e.ring.Ready()) > 0 || e.ring.Pending() || len(e.ready) > 0 {
		return errno
	}
	limit := e.patience()
	if e.acceptAt != 0 && !e.draining {
		limit = sooner(limit, e.acceptAt, e.now)
	}
	e.out.Idle(true)
	defer e.out.Idle(false)
	short := ring.RawWaitMax
	if limit >= 0 && limit < short {
		return e.ring.WaitRaw(limit)
	}
	if errno = e.ring.WaitRaw(short); errno != 0 || len(e.ring.Ready()) > 0 {
		return errno
	}
	if limit >= 0 {
		limit -= short
	}
	return e.ring.Wait(limit)
}

// room makes sure that n entries can be prepared, and says whether it could.
func (e *uringEngine) room(n int) bool {
	if e.ring.Room() >= n {
		return true
	}
	e.ring.Submit()
	return e.ring.Room() >= n
}

func (e *uringEngine) handle(c *ring.CQE) {
	r := ref(c.UserData)
	switch op := r.op(); op {
	case opRecv, opRecv + 1:
		e.onRecv(r, c)
	case opSend, opSend + 1:
		e.onSend(r, c)
	case opPoll, opPoll + 1:
		e.onPoll(r, c)
	case opRoom, opRoom + 1:
		e.onRoom(r)
	case opLend:
		e.onLend(r, c)
	case opConnect:
		e.dialled(r, *c)
	case opCancel:
		e.onCancel(r, c)
	case opAccept:
		e.onAccept(c)
	case opUnblock:
		e.waker.Drain()
		e.waking = c.More()
	}
}

// onCancel: a cancel has ended. One that came while its operation was just being served (EALREADY, or ENOENT while the kernel has
// it in hand) has not stopped a multishot operation, which stays armed: what is then still in flight and unwanted is asked again.
func (e *uringEngine) onCancel(r ref, c *ring.CQE) {
	failed := c.Errno() != 0
	s := e.table.find(r)
	if s == nil { // of the accept
		e.stopping = e.stopping && !failed
		return
	}
	if failed {
		s.eng.cancelled = [2]bool{}
		s.eng.closing = false
	}
	e.settle(s)
}

// settle notes that one operation of s has had its final completion.
func (e *uringEngine) settle(s *session) {
	s.eng.inFlight--
	e.touch(s)
}

// touch has s served at the end of the batch.
func (e *uringEngine) touch(s *session) {
	if !s.eng.queued {
		s.eng.queued = true
		e.ready = append(e.ready, newRef(0, s.gen, s.slot))
	}
}

func (e *uringEngine) fireTimers() {
	for s := e.wheel.expired(&e.table, e.now); s != nil; s = e.wheel.expired(&e.table, e.now) {
		e.expire(s)
		e.findDead(s)
		e.touch(s)
	}
	e.pipes.trim(e.now)
}

// findDead looks whether a side that has sent FIN has sent RST since: no receive is left that would report it.
func (e *uringEngine) findDead(s *session) {
	for d := range s.flow {
		if !s.heardFIN(side(d)) {
			continue
		}
		if e.sys.socketError(s.fd[d]) != 0 {
			e.sourceRST(s, side(d))
			continue
		}
		s.recheck = e.now + deadPeerCheck
		e.rearm(s)
	}
	if s.blocked() {
		s.clientGone = e.sys.hungUp(s.fd[client])
		e.lookAgain(s)
	}
}

// lookAgain has a session looked at in a while of which nothing may be heard until then: a client that is not read because of its
// outstanding requests may have gone, and they may never be answered; a flow in bulk may have a peer that takes nothing.
func (e *uringEngine) lookAgain(s *session) {
	if s.recheck == 0 {
		s.recheck = e.now + deadPeerCheck
		e.rearm(s)
	}
}

func (e *uringEngine) serveReady() {
	e.serving, e.ready = e.ready, e.serving[:0]
	for _, r := range e.serving {
		if s := e.table.find(r); s != nil {
			s.eng.queued, s.eng.came = false, [2]int32{}
			e.serve(s)
		}
	}
}

// refill gives the kernel the segments it should have: fewer as the slab fills, since one receive may take them all.
func (e *uringEngine) refill() {
	target := min(e.setup.buffers, max(buffersScarce, (e.slab.free-e.reserved)/8))
	for e.bufs.InKernel() < target {
		id := e.slab.get(ownKernel)
		if id == noSeg {
			break
		}
		e.bufs.Add(id)
	}
	e.bufs.Publish()
}

// starve has flow d wait until there are buffers again.
func (e *uringEngine) starve(s *session, d side) {
	s.eng.starved[d] = true
	e.starved = append(e.starved, newRef(uint8(d), s.gen, s.slot))
}

// feedStarved arms receives again that found no buffer: the longest waiting first, and only as many as there are buffers
// for. All at once they would find none again but the first few.
func (e *uringEngine) feedStarved() {
	n := min(len(e.starved), (e.bufs.InKernel()+buffersPerRecv-1)/buffersPerRecv)
	if n == 0 {
		return
	}
	for _, r := range e.starved[:n] {
		if s := e.table.find(r); s != nil {
			s.eng.starved[r.op()] = false
			e.touch(s)
		}
	}
	e.starved = e.starved[:copy(e.starved, e.starved[n:])]
}
