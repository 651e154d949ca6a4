package load

import (
	"errors"
	"fmt"
	"time"
)

// Options is what a run of the generator does. Addresses are "host:port", "port" or "unix:/path".
type Options struct {
	Target  string // where to connect
	Respond string // where to listen and answer as the upstream, in the same thread; "" = somebody else answers
	Echo    bool   // the built-in upstream answers with the request's data
	Verify  bool   // the data of every answer must be its request's

	Conns    int           // connections
	Depth    int           // requests outstanding per connection; 0 in open loop = no limit
	Threads  int           // generator threads, each with its share of the connections
	Duration time.Duration // length of the measured window
	Messages uint64        // when not 0: measure until so many answers instead
	Warmup   time.Duration // before the measured window
	Mix      Mix           // sizes of the requests
	Rate     float64       // requests per second in open loop; 0 = closed loop
	Poisson  bool          // open loop: exponential gaps instead of even ones
	Churn    int           // requests per connection, after which it is closed and made again; 0 = connections stay
	Still    int           // connections that are made beside the others and never used
	Split    time.Duration // every request leaves in two halves, so far apart; closed loop with a depth of 1
	Idle     bool          // one request per connection, then hold them all still for the window
	Timeout  time.Duration // an answer later than this fails the run; also for connecting
	Spin     bool          // never wait in the kernel: no wake-up of the generator is charged to the target
	NoDelay  bool          // TCP_NODELAY on both ends of the generator
	SendFile bool          // requests, all of one large size, leave by sendfile(2) instead of being copied; see script
	Seed     uint64        // of sizes and arrivals

	Cores []int // CPU of each thread; empty = not pinned
	PIDs  []int // processes whose CPU time and memory are measured over the same window
	Alone int   // CPU that PIDs should have to themselves, to measure what others use of it; -1 = none
	// Turns, when not nil, makes Run measure in turns, each as long as Duration: it is called when the connections stand, with nil,
	// and after each turn with what was measured, and returns whether there is another one. It may wait.
	Turns func(done *Turn) bool
	// Progress, when not nil, is called about twice a second from a thread of its own.
	Progress func(Progress)
}

// Progress is the state of a run in the middle.
type Progress struct {
	Elapsed  time.Duration
	Phase    string
	Answers  uint64  // since the run began
	PerSec   float64 // over the last interval
	Outstand uint64  // requests without an answer
}

// connsMax bounds the connections so that their number fits beside a sequence number.
const connsMax = 1 << 16

// depthUnlimited is more than a connection ever has outstanding.
const depthUnlimited = 1 << 30

// Check fills in defaults and rejects what cannot be run.
func (o *Options) Check() error {
	if o.Threads == 0 {
		o.Threads = 1
	}
	if o.Depth == 0 && o.Rate > 0 {
		o.Depth = depthUnlimited
	}
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	switch {
	case o.Target == "":
		return errors.New("the target's address is missing")
	case o.Conns < 1 || o.Still < 0 || o.Conns+o.Still > connsMax:
		return fmt.Errorf("connections: want 1 to %d", connsMax)
	case o.Depth < 1:
		return errors.New("outstanding requests per connection: want at least 1")
	case o.Threads < 1 || o.Threads > o.Conns:
		return errors.New("threads: want 1 up to the number of connections")
	case o.Duration <= 0 && o.Messages == 0:
		return errors.New("a duration or a number of messages is needed")
	case o.Rate < 0:
		return errors.New("rate: want 0 (closed loop) or more requests per second")
	case o.Churn < 0:
		return errors.New("requests per connection: want 0 (keep connections) or more")
	case o.Idle && (o.Rate > 0 || o.Churn > 0 || o.Messages > 0):
		return errors.New("idle connections go with neither a rate, nor churn, nor a number of messages")
	case o.Rate > 0 && o.Churn > 0:
		return errors.New("churn goes with closed loop only")
	case o.Split > 0 && (o.Depth != 1 || o.Rate > 0 || o.Mix.Max() > copyMax):
		return fmt.Errorf("splitting goes with closed loop, one request outstanding and sizes up to %d", copyMax)
	case o.Turns != nil && (o.Threads > 1 || o.Messages > 0 || o.Duration <= 0):
		return errors.New("turns go with one thread and a duration")
	case o.Split < 0 || o.Timeout < 0 || o.Warmup < 0:
		return errors.New("a time is negative")
	case len(o.Mix.sizes) == 0:
		return errors.New("the size of the messages is missing")
	case o.SendFile && !o.scriptable():
		return fmt.Errorf("sendfile goes with requests of one size above %d, of which all connections have up to %d MiB outstanding, and without verifying",
			copyMax, scriptMax>>20)
	case o.Verify && o.Respond != "" && !o.Echo:
		return errors.New("verifying data needs an upstream that echoes it")
	}
	return nil
}
