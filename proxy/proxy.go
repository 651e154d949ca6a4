package proxy

import (
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"fooproxy/accesslog"
	"fooproxy/stats"
)

const (
	// sharedSegs is how many segments of 8 KiB a loop has for all its flows together, beside the one it keeps for each.
	sharedSegs = 4096
	// settleLimit bounds how long a snapshot waits for busy loops to publish.
	settleLimit = 20 * time.Millisecond
	// logRingBytes is the size of a loop's part of the request log: some 40,000 lines wait for the disk.
	logRingBytes = 4 << 20
	// quietLead is how long before the end of a drain requests stop, so that what was accepted can still be answered.
	quietLead = 2 * time.Second
)

// Info tells what a Proxy turned out to be.
type Info struct {
	Engine   string
	Fallback string // why io_uring is not used, "" when it is or was not asked for
	Loops    int
	Listen   string // bound address, with the real port
	Splice   string // Config.Splice, or "off" where nothing can come of it
	Start    time.Time
}

// Proxy is a set of loops that relay between clients and one upstream. Its methods may be called from any goroutine.
type Proxy struct {
	cfg      Config
	info     Info
	stats    *stats.Set
	log      *accesslog.Log
	workers  []*worker
	acceptor *acceptor
	listen   *address
	target   *address // the upstream
	conns    atomic.Int64
	gate     *gate
	running  sync.WaitGroup
	done     chan struct{}
	failed   chan error
	err      error
	pace     pace // what a loop begins with
	quiet    atomic.Pointer[time.Timer]
	draining atomic.Bool
	uring    *uringSetup // nil = the loops run on epoll
}

// New opens the listeners and the loops' engines; clients can connect from then on and are served after Start. Errors are one
// line that says what to do.
func New(cfg Config) (*Proxy, error) {
	p, err := build(cfg)
	if err != nil {
		return nil, err
	}
	if err = p.open(); err != nil {
		p.release()
		return nil, err
	}
	p.info.Splice = p.splices()
	return p, nil
}

// build makes a Proxy whose loops have no threads yet.
func build(cfg Config) (_ *Proxy, err error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	p := &Proxy{cfg: cfg, gate: newGate(&cfg), done: make(chan struct{})}
	defer func() {
		if err != nil {
			p.closeEngines()
			p.release()
		}
	}()
	if p.target, err = parseAddress(cfg.Forward); err != nil {
		return nil, fmt.Errorf("forward: %w", err)
	}
	if len(cfg.Inherited) == 0 {
		if p.listen, err = parseAddress(cfg.Listen); err != nil {
			return nil, fmt.Errorf("listen: %w", err)
		}
	}
	cpus, err := loopCPUs(cfg.Loops, cfg.Pin)
	if err != nil {
		return nil, err
	}
	p.info = Info{Engine: cfg.Engine, Loops: len(cpus), Start: time.Now()}
	p.stats = stats.NewSet(len(cpus))
	p.failed = make(chan error, len(cpus))
	if err = p.chooseEngine(); err != nil {
		return nil, err
	}
	if cfg.Log != "" {
		p.log, err = accesslog.Open(accesslog.Options{
			Path: cfg.Log, Format: cfg.LogFormat, Overflow: cfg.LogOverflow, Rings: len(cpus), RingBytes: logRingBytes,
			Sample: cfg.LogSample, Data: min(cfg.LogData, logDataMax), Logger: cfg.Logger,
		})
		if err != nil {
			return nil, fmt.Errorf("request log: %w", err)
		}
	}
	listeners, err := p.openListeners(len(cpus))
	if err != nil {
		return nil, err
	}
	p.choosePace(listeners, p.target)
	if cfg.Accept == AcceptSingle {
		p.acceptor = &acceptor{listener: listeners[0], proxy: p, ended: make(chan struct{})}
	}
	for i, cpu := range cpus {
		w := &worker{cpu: cpu, listener: -1, ended: make(chan struct{})}
		p.workers = append(p.workers, w)
		if p.acceptor == nil {
			w.listener = listeners[i]
		}
		if err = p.prepare(w, i); err != nil {
			return nil, err
		}
	}
	for _, w := range p.workers {
		w.all = p.workers
	}
	return p, p.makeEngines()
}

// prepare gives a worker its core.
func (p *Proxy) prepare(w *worker, index int) error {
	reserved := 2 * p.cfg.MaxConn
	memory, err := newSlab(sharedSegs + reserved)
	if err != nil {
		return err
	}
	c := &core{
		cfg: &p.cfg, index: index, loops: p.info.Loops, slab: memory, reserved: reserved, atOnce: recvAtOnce(l2Size(cpuCaches(w.cpu))), table: newTable(),
		out: p.stats.Core(index), conns: &p.conns, load: new(atomic.Int64), gate: p.gate, upstream: p.target.ip, domain: [2]int{p.listen.domain, p.target.domain},
		rights: p.mayCarryRights(),
		sys:    linux{}, pipes: pipePool{sys: linux{}, most: p.cfg.MaxPipes}, pace: p.pace, mayPeek: p.cfg.MayPeek(),
		wallZero: time.Now().UnixMicro() - stats.Now()/int64(time.Microsecond),
	}
	c.table.genFirst = p.cfg.FirstGeneration & genMask
	w.core = c
	if p.log != nil {
		c.log = p.log.Ring(index)
	}
	if p.Tracking() {
		c.enableTracking()
	}
	c.notes = make([]violationNote, p.cfg.Violations)
	return nil
}

// openListeners opens what the loops accept from: a socket for each where the kernel spreads connections over them
// (SO_REUSEPORT, TCP only), else one that all share or that the acceptor has.
func (p *Proxy) openListeners(loops int) ([]int, error) {
	if len(p.cfg.Inherited) > 0 {
		return p.shareInherited(loops)
	}
	spread := p.cfg.Accept != AcceptSingle && p.listen.domain != unix.AF_UNIX && loops > 1
	share := shareNot
	if spread {
		share = shareFirst
	}
	first, err := listen(p.listen, &p.cfg, share)
	if err != nil {
		return nil, err
	}
	fds := []int{first}
	if p.listen, err = boundAddress(first, p.listen); err != nil {
		closeAll(fds)
		return nil, err
	}
	p.info.Listen = p.listen.String()
	for len(fds) < loops && p.cfg.Accept != AcceptSingle {
		var fd int
		if spread {
			fd, err = listen(p.listen, &p.cfg, shareNext)
		} else if fd, err = unix.FcntlInt(uintptr(first), unix.F_DUPFD_CLOEXEC, 0); err != nil {
			err = fmt.Errorf("share the listener: %w", err)
		}
		if err != nil {
			closeAll(fds)
			return nil, err
		}
		fds = append(fds, fd)
	}
	return fds, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}

// Start runs the loops.
func (p *Proxy) Start() {
	// A loop's thread keeps its scheduler slot while it is in a short system call; the others need slots beside.
	runtime.GOMAXPROCS(len(p.workers) + 2)
	for _, w := range p.workers {
		p.running.Add(1)
		go func() {
			defer p.running.Done()
			if err := w.do(w.run); err != nil {
				p.failed <- err
				p.tell(orderStop)
			}
		}()
	}
	if p.acceptor != nil {
		p.acceptor.start()
	}
	if p.gate != nil {
		go p.gate.report(p.cfg.Logger, p.done)
	}
	go p.finish()
}

// finish waits for the loops and gives back what they used.
func (p *Proxy) finish() {
	p.running.Wait()
	select {
	case p.err = <-p.failed:
	default:
	}
	p.release()
	close(p.done)
}

func (p *Proxy) release() {
	if timer := p.quiet.Load(); timer != nil {
		timer.Stop()
	}
	for _, w := range p.workers {
		w.dismiss()
		if w.listener >= 0 {
			_ = unix.Close(w.listener)
		}
		if w.core != nil {
			w.core.pipes.clear()
			_ = w.core.slab.close()
		}
	}
	if p.listen != nil && p.listen.path != "" && p.info.Listen != "" && len(p.cfg.Inherited) == 0 {
		_ = unix.Unlink(p.listen.path)
	}
	if p.log != nil {
		if err := p.log.Close(); err != nil && p.err == nil {
			p.cfg.Logger.Error("request log", "err", err)
		}
	}
}

func (p *Proxy) tell(order int32) {
	if p.acceptor != nil {
		p.acceptor.stop() // first: what it still hands over must find loops that take it
	}
	for _, w := range p.workers {
		w.tell(order)
	}
}

// Drain stops accepting and lets connections end. Shortly before limit is over it stops their requests too, so that what was
// accepted by then can be answered; 0 = wait as long as it takes.
func (p *Proxy) Drain(limit time.Duration) {
	p.draining.Store(true)
	p.tell(orderDrain)
	if limit > 0 {
		p.quiet.Store(time.AfterFunc(limit-min(limit/2, quietLead), func() { p.tell(orderQuiet) }))
	}
}

// Stop ends all connections at once.
func (p *Proxy) Stop() {
	p.draining.Store(true)
	p.tell(orderStop)
}

// Draining says whether no new connections are taken any more.
func (p *Proxy) Draining() bool { return p.draining.Load() }

// Done is closed when every loop has ended and the log is written.
func (p *Proxy) Done() <-chan struct{} { return p.done }

// Err says, after Done, why a loop broke; nil after a clean end.
func (p *Proxy) Err() error { return p.err }

// Snapshot sums the loops' figures, after giving each the time to publish what it has done.
func (p *Proxy) Snapshot() stats.Snapshot {
	p.stats.Settle(settleLimit)
	snap := p.stats.Snapshot(stats.Now())
	if p.log != nil {
		snap.Local[stats.LogDropped] = p.log.Dropped()
	}
	return snap
}

// Tracking says whether requests are matched with their answers.
func (p *Proxy) Tracking() bool { return p.log != nil || p.cfg.Track }

// Latency makes d how long the requests that were answered took, over all loops; empty unless they are matched.
func (p *Proxy) Latency(d *stats.Distribution) {
	*d = stats.Distribution{}
	p.stats.Latency(d)
}

// Reopen reopens the request log, after it was moved away.
func (p *Proxy) Reopen() error {
	if p.log == nil {
		return nil
	}
	return p.log.Reopen()
}

// Info tells engine, loops and address.
func (p *Proxy) Info() Info { return p.info }
