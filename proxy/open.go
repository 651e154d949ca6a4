package proxy

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"fooproxy/ring"
)

// chooseEngine settles what Config.Engine means on this kernel.
func (p *Proxy) chooseEngine() error {
	p.info.Engine = EngineEpoll
	if p.cfg.Engine == EngineEpoll {
		return nil
	}
	setup, err := tryUring(p.cfg.RingTest, p.info.Loops)
	switch {
	case err == nil:
		p.uring = setup
		p.info.Engine = EngineUring
	case p.cfg.Engine == EngineUring:
		return err
	default:
		p.info.Fallback = err.Error()
	}
	return nil
}

// makeEngines gives every worker the engine that has been chosen, and the listeners what it wants of them: an accept of io_uring waits for
// one that blocks, and reports EAGAIN for another on old kernels (5.15; 6.18 waits).
func (p *Proxy) makeEngines() (err error) {
	onEpoll := p.uring == nil
	for _, w := range p.workers {
		w.name = p.info.Engine
		if onEpoll {
			w.engine, err = newEpollEngine(w.core, w, p.target)
		} else {
			w.engine, err = newUringEngine(w.core, w, p.target, *p.uring)
		}
		if err != nil {
			w.engine = nil
			return err
		}
		if w.listener >= 0 {
			_ = unix.SetNonblock(w.listener, onEpoll)
		}
	}
	if p.acceptor != nil {
		p.acceptor.flags = unix.SOCK_CLOEXEC
		if onEpoll {
			p.acceptor.flags |= unix.SOCK_NONBLOCK
		}
	}
	return nil
}

// open starts the loops' threads and opens their engines, one after the other and all of them before anything is promised: what the
// probe has found for one small ring may be too little for every loop's. Then none runs on io_uring, unless nothing else will do.
func (p *Proxy) open() error {
	for _, w := range p.workers {
		w.begin()
	}
	err := p.openEngines()
	if no := (*ring.Unusable)(nil); errors.As(err, &no) && p.cfg.Engine == EngineAuto {
		p.closeEngines()
		p.uring, p.info.Engine, p.info.Fallback = nil, EngineEpoll, no.Error()
		if err = p.makeEngines(); err == nil {
			err = p.openEngines()
		}
	}
	if err != nil {
		p.closeEngines()
		return err
	}
	p.openLenders()
	return nil
}

// splices is which long Data goes on within the kernel: none where it would not pay, or io_uring has no bulk: a receive
// that fills one buffer at a time, each in a turn of its own, never brings enough at once.
func (p *Proxy) splices() string {
	bulk := p.uring == nil || p.uring.report.Has(ring.FeatDeferTaskrun) && p.uring.report.Has(ring.FeatRecvMultishot)
	if !p.cfg.MayPeek() || !bulk {
		return SpliceOff
	}
	return p.cfg.Splice
}

func (p *Proxy) openEngines() error {
	for _, w := range p.workers {
		if err := w.do(w.open); err != nil {
			return err
		}
	}
	return nil
}

// openLenders registers memory for zero-copy send when every loop has its ring, which goes first where memory is tight.
func (p *Proxy) openLenders() {
	if p.cfg.mayLend() && (p.uring == nil || !p.uring.sendZC) {
		p.cfg.Logger.Warn("everything is copied: zero-copy send takes io_uring with the features send-zc and registered-buffers",
			"engine", p.info.Engine, "zerocopy", p.cfg.ZeroCopy)
	}
	for _, w := range p.workers {
		if e, ok := w.engine.(*uringEngine); ok {
			_ = w.do(func() error {
				e.openLender()
				return nil
			})
		}
	}
}

// closeEngines closes the engines of loops that have never run.
func (p *Proxy) closeEngines() {
	for _, w := range p.workers {
		if w.engine != nil {
			_ = w.do(func() error {
				w.engine.close()
				return nil
			})
			w.engine = nil
		}
	}
}

// short says what it means that a loop has not got from the kernel what the probe has had.
func (s *uringSetup) short(f ring.Feature, loop int, err error) error {
	return s.explain(s.report.Failed(f, fmt.Errorf("loop %d of %d: %w", loop+1, s.loops, err)))
}

// explain adds how much memory the loops lock to an error that names the limit.
func (s *uringSetup) explain(u *ring.Unusable) error {
	if u.Errno == unix.ENOMEM {
		u.Remedy += fmt.Sprintf("; the rings of all loops lock %d KiB, beside what other processes of this user do", s.loops*s.params.Locked(s.buffers)>>10)
	}
	return u
}
