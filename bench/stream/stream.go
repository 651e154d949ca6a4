package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"fooproxy/bench/load"
	"fooproxy/bench/sys"
)

// Options is what to do.
type Options struct {
	Target, Respond string // addresses: of the target, and where the upstream's ends listen
	Conns           int
	Both            bool // streams both ways on every connection
	Duration        time.Duration
	Warmup          time.Duration
	Core            int // of the generator, -1 = any
	PID             int // of the target, 0 = not measured
	TargetCore      int // what others use of it is measured, -1 = not
	Spin            bool
	Turns           func(done *load.Turn) bool // as load.Options.Turns
}

// unit is what a result counts, in bytes.
const unit = 1 << 20

// patience is how long no byte may move; tests have less.
var patience = 5 * time.Second

const waitMax = 3 * time.Millisecond

type loop struct {
	Options
	target     *sys.Addr
	poll       sys.Poller
	events     []unix.EpollEvent
	listen     int32
	ends       []*end
	buf        []byte
	arrived    uint64 // bytes
	still      bool   // between two turns: nothing is sent
	idle, last int64  // ns without anything to do; when a byte last moved
}

// Run makes the streams for the measured window, ends them, and wants every byte sent to have arrived.
func Run(ctx context.Context, o Options) (*load.Result, error) {
	if o.Conns < 1 || o.Conns > 1<<16 || o.Duration <= 0 || o.Respond == "" {
		return nil, errors.New("want 1 to 65536 connections, a time above 0, and an address for the upstream")
	}
	if err := sys.LockThread(o.Core); err != nil {
		return nil, err
	}
	l := &loop{Options: o, events: make([]unix.EpollEvent, 512), buf: make([]byte, pieceMax)}
	defer l.close()
	if err := l.open(); err != nil {
		return nil, err
	}
	var sum mark
	turns, err := l.takeTurns(ctx, &sum)
	if err != nil {
		return nil, err
	}
	if err := l.finish(ctx); err != nil {
		return nil, err
	}
	return l.result(&sum, turns), nil
}

func (l *loop) open() (err error) {
	if l.poll, err = sys.NewPoller(); err != nil {
		return err
	}
	respond, err := sys.Resolve(l.Respond)
	if err != nil {
		return err
	}
	if l.target, err = sys.Resolve(l.Target); err != nil {
		return err
	}
	if l.listen, err = respond.Listen(4096); err != nil {
		return err
	}
	if errno := l.poll.Add(l.listen, unix.EPOLLIN, 0, -1, 0); errno != 0 {
		return errno
	}
	for id := range l.Conns {
		fd, errno := l.target.Socket()
		if errno != 0 {
			return errno
		}
		e := &end{fd: fd, sends: true}
		e.setName(id)
		if errno := l.target.Connect(fd); errno != 0 && errno != unix.EINPROGRESS {
			return fmt.Errorf("cannot connect to %s: %w", l.target, errno)
		}
		if err := l.add(e); err != nil {
			return err
		}
	}
	l.last = sys.Now()
	return nil
}

func (l *loop) add(e *end) error {
	l.ends = append(l.ends, e)
	e.events = l.wanted(e)
	if errno := l.poll.Add(e.fd, e.events, 0, int32(len(l.ends)-1), 0); errno != 0 {
		return errno
	}
	return nil
}

// wanted is what an end waits for. A client's end that only sends looks for the end of the other stream once it has finished.
func (l *loop) wanted(e *end) (events uint32) {
	if !e.over && (e.upstream || l.Both || e.finished) {
		events = unix.EPOLLIN
	}
	if e.sends && !e.finished && !l.still {
		events |= unix.EPOLLOUT
	}
	return events
}

func (l *loop) until(ctx context.Context, when int64) error {
	for now := sys.Now(); now < when; now = sys.Now() {
		if err := l.turn(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (l *loop) turn(ctx context.Context) error {
	n := l.poll.Poll(l.events)
	if n == 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		from := sys.Now()
		if from-l.last > int64(patience) {
			return fmt.Errorf("no byte has moved for %v", patience)
		}
		if !l.Spin {
			n = l.poll.Wait(l.events, waitMax)
		}
		l.idle += sys.Now() - from
	}
	for i := range n {
		_, slot, _ := sys.Data(&l.events[i])
		if slot < 0 {
			if err := l.accept(); err != nil {
				return err
			}
			continue
		}
		if err := l.serve(slot, l.events[i].Events); err != nil {
			return err
		}
	}
	if n > 0 {
		l.last = sys.Now()
	}
	return nil
}

func (l *loop) accept() error {
	for {
		fd, errno := sys.Accept(l.listen)
		if errno == unix.EAGAIN {
			return nil
		}
		if errno != 0 {
			return errno
		}
		if err := l.add(&end{fd: fd, upstream: true}); err != nil {
			return err
		}
	}
}

func (l *loop) serve(slot int32, events uint32) error {
	e := l.ends[slot]
	if e.sends && !e.finished && !l.still && events&(unix.EPOLLOUT|unix.EPOLLERR|unix.EPOLLHUP) != 0 {
		if err := e.send(); err != nil {
			return err
		}
	}
	if !e.over && events&(unix.EPOLLIN|unix.EPOLLERR|unix.EPOLLHUP) != 0 {
		n, err := e.receive(l.buf)
		if err != nil {
			return err
		}
		l.arrived += uint64(n)
		if e.upstream && e.named == headerSize && l.Both && !e.finished {
			e.sends = true
		}
	}
	return l.watch(slot)
}

// watch registers an end for what it waits for now.
func (l *loop) watch(slot int32) error {
	e := l.ends[slot]
	if events := l.wanted(e); events != e.events {
		e.events = events
		if errno := l.poll.Modify(e.fd, events, 0, slot, 0); errno != 0 {
			return errno
		}
	}
	return nil
}

// finish ends every stream and waits until all have arrived.
func (l *loop) finish(ctx context.Context) error {
	l.last = sys.Now()
	for {
		open := 0
		for slot, e := range l.ends {
			if !e.finished && (e.upstream || e.named == headerSize) && (!e.upstream || e.over || e.sends) {
				e.finished = true
				sys.ShutWrite(e.fd)
				if err := l.watch(int32(slot)); err != nil {
					return err
				}
			}
			if !e.over || !e.finished {
				open++
			}
		}
		if open == 0 {
			return l.balance()
		}
		if err := l.turn(ctx); err != nil {
			return fmt.Errorf("%d ends still open: %w", open, err)
		}
	}
}

// balance compares what every end has sent with what the other has received.
func (l *loop) balance() error {
	var out, in [2]map[int]uint64
	for i := range out {
		out[i], in[i] = map[int]uint64{}, map[int]uint64{}
	}
	for _, e := range l.ends {
		side := 0
		if e.upstream {
			side = 1
		}
		out[side][e.id], in[1-side][e.id] = e.out, e.in
	}
	for side := range out {
		for id, n := range out[side] {
			if in[side][id] != n {
				return fmt.Errorf("connection %d: %d bytes sent, %d arrived", id, n, in[side][id])
			}
		}
	}
	return nil
}

func (l *loop) close() {
	for _, e := range l.ends {
		sys.Close(e.fd)
	}
	if l.listen > 0 {
		sys.Close(l.listen)
	}
	l.poll.Close()
}
