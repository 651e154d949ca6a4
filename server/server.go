package server

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// A Server answers Foo requests. Each of its loops needs one of Go's processors for itself: it is cheapest when GOMAXPROCS
// is at least one more than there are loops, and whatever else the process runs all the time, when Start is called.
type Server struct {
	opts    Options
	addr    string
	cleanup func() // removes a unix socket's file
	loops   []*loop
	running sync.WaitGroup
	numbers atomic.Uint64 // connections that have sent a byte
	killed  atomic.Bool   // the loops are to close everything

	mu    sync.Mutex
	state state
}

// state is where in its life a Server is: made → started → stopped, or made → stopped.
type state uint8

const (
	made state = iota
	started
	stopped
)

// Counts are what a Server has done since it was made.
type Counts struct {
	Req, Ack, Nak uint64 // messages received and answered, each when the request's LF has come
	Bad           uint64 // connections that sent what is not Foo, and were closed for it
	Accepted      uint64 // connections
	Open          uint64 // connections now
}

// Total is the number of messages, both ways.
func (c Counts) Total() uint64 { return c.Req + c.Ack + c.Nak }

// New makes a Server that listens, and answers from Start on. The error is an *OptionError, or says why it cannot listen.
func New(o Options) (*Server, error) {
	o, err := o.normal()
	if err != nil {
		return nil, err
	}
	for _, cpu := range o.CPUs {
		if err := tryCPU(cpu); err != nil {
			return nil, &OptionError{"CPUs", err.Error()}
		}
	}
	ls, err := listen(o.Listen, o.Loops)
	if err != nil {
		return nil, err
	}
	s := &Server{opts: o, addr: ls.addr, cleanup: ls.cleanup}
	for i, fd := range ls.fds {
		l, err := newLoop(s, fd, ls.events)
		if err != nil {
			s.abandon(ls.fds[i+1:])
			return nil, fmt.Errorf("make an event loop: %w", err)
		}
		s.loops = append(s.loops, l)
	}
	return s, nil
}

// abandon undoes New halfway; rest are the listeners that no loop owns.
func (s *Server) abandon(rest []int32) {
	for _, l := range s.loops {
		l.close()
	}
	for _, fd := range rest {
		_ = unix.Close(int(fd))
	}
	s.cleanup()
}

// Addr is where the server listens, with the real port: "127.0.0.1:8000", "[::]:8000", "unix:/path".
func (s *Server) Addr() string { return s.addr }

// Loops is how many event loops there are.
func (s *Server) Loops() int { return len(s.loops) }

// Start begins to serve. It returns at once; a second call does nothing.
func (s *Server) Start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != made {
		return
	}
	s.state = started
	spare := runtime.GOMAXPROCS(0) > len(s.loops)
	for i, l := range s.loops {
		if spare {
			l.poll.raw = rawWaitMax
		}
		cpu := -1
		if n := len(s.opts.CPUs); n > 0 {
			cpu = s.opts.CPUs[i%n]
		}
		s.running.Go(func() { l.run(cpu) })
	}
}

// Stop ends the server gracefully and returns when it has ended. It accepts no more, answers what has been received, sends
// what is answered, followed by its FIN, and waits for the clients' own at most Options.Drain (and Delay).
func (s *Server) Stop() { s.stop(false) }

// Kill is Stop at once: all connections are closed as they are. It also ends a Stop that waits.
func (s *Server) Kill() { s.stop(true) }

func (s *Server) stop(kill bool) {
	if kill {
		s.killed.Store(true)
	}
	s.order()
	s.running.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != stopped {
		s.state = stopped
		for _, l := range s.loops {
			l.close()
		}
		s.cleanup()
	}
}

// order makes the loops look at what they are to do. Their descriptors stay open until none of them runs and state is stopped.
func (s *Server) order() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == started {
		for _, l := range s.loops {
			l.signal()
		}
	}
}

// Counts sums what the loops have done up to their last turn.
func (s *Server) Counts() Counts {
	var c Counts
	for _, l := range s.loops {
		c.Req += l.shared.req.Load()
		c.Ack += l.shared.ack.Load()
		c.Nak += l.shared.nak.Load()
		c.Bad += l.shared.bad.Load()
		c.Accepted += l.shared.accepted.Load()
		c.Open += l.shared.open.Load()
	}
	return c
}
