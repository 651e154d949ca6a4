package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"fooproxy/bench/sys"
)

// Run generates load and returns what it measured. A *Failure is the target's fault. When ctx ends, the measured window
// ends early and what was found so far is the result.
func Run(ctx context.Context, opt Options) (*Result, error) {
	if err := opt.Check(); err != nil {
		return nil, err
	}
	loops, err := prepare(&opt)
	defer func() {
		for _, l := range loops {
			l.close()
		}
	}()
	if err != nil {
		return nil, err
	}
	var m meeting
	m.missing.Store(int32(len(loops)))
	m.running.Store(int32(len(loops)))
	parts := make([]measured, len(loops))
	var running sync.WaitGroup
	for i, l := range loops {
		running.Go(func() {
			core := -1
			if len(opt.Cores) > 0 {
				core = opt.Cores[i%len(opt.Cores)]
			}
			// Locked and never unlocked: the pinned thread ends with its goroutine.
			if err := sys.LockThread(core); err != nil {
				m.abort.Store(true)
				parts[i].err = err
				return
			}
			parts[i] = l.run(&m)
		})
	}
	finished := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() { watch(ctx, &opt, &m, loops, finished) })
	running.Wait()
	close(finished)
	watching.Wait()
	if err := firstFailure(parts); err != nil {
		return nil, err
	}
	if parts[0].until.at == parts[0].from.at {
		return nil, errors.New("stopped before anything was measured")
	}
	return summarise(&opt, loops, parts), nil
}

// prepare resolves the addresses and opens what every thread needs before any starts.
func prepare(opt *Options) (loops []*loop, err error) {
	target, err := sys.Resolve(opt.Target)
	if err != nil {
		return nil, err
	}
	var respond *sys.Addr
	if opt.Respond != "" {
		if respond, err = sys.Resolve(opt.Respond); err != nil {
			return nil, err
		}
	}
	for i := range opt.Threads {
		l, err := newLoop(opt, i, target)
		if err != nil {
			return loops, err
		}
		loops = append(loops, l)
		// Several threads share a TCP port by SO_REUSEPORT; a unix socket has one owner.
		if respond != nil && (i == 0 || respond.IsTCP()) {
			if err := l.openResponder(respond); err != nil {
				return loops, fmt.Errorf("built-in upstream: %w", err)
			}
		}
	}
	return loops, nil
}

// firstFailure prefers the error that ended a thread over the errors of those that ended because of it.
func firstFailure(parts []measured) error {
	var aborted error
	for _, p := range parts {
		if p.err != nil && !errors.Is(p.err, errAborted) {
			return p.err
		}
		aborted = errors.Join(aborted, p.err)
	}
	return aborted
}

// watch reports progress and passes the end of ctx on.
func watch(ctx context.Context, opt *Options, m *meeting, loops []*loop, finished chan struct{}) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	done := ctx.Done()
	began := time.Now()
	last, lastAt := uint64(0), began
	for {
		select {
		case <-finished:
			return
		case <-done:
			m.stop.Store(true)
			done = nil
		case at := <-tick.C:
			if opt.Progress == nil {
				continue
			}
			p := Progress{Elapsed: time.Since(began)}
			for _, l := range loops {
				p.Answers += l.live.answered.Load()
				p.Outstand += l.live.waiting.Load()
				if phase := l.live.phase.Load(); phase != nil {
					p.Phase = *phase
				}
			}
			p.PerSec = float64(p.Answers-last) / at.Sub(lastAt).Seconds()
			last, lastAt = p.Answers, at
			opt.Progress(p)
		}
	}
}
