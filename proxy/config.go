package proxy

import (
	"log/slog"
	"time"
)

// Policy values of Config.Arbitrary and Config.OnViolation.
const (
	Close   = "close"   // end the connection
	Tunnel  = "tunnel"  // arbitrary clients: relay both ways without looking
	Forward = "forward" // violations: pass the bad line on, count it, go on at the next LF
)

// Engine names of Config.Engine.
const (
	EngineAuto  = "auto"
	EngineUring = "uring"
	EngineEpoll = "epoll"
)

// Values of Config.ZeroCopy.
const (
	ZeroCopyOff  = "off"
	ZeroCopyAuto = "auto" // to peers that are not on this host, until the kernel reports for a connection that it copied after all
	ZeroCopyOn   = "on"   // to all, until it does
)

// Values of Config.Splice.
const (
	SpliceOff  = "off"
	SpliceAuto = "auto" // from peers on this host that run as the proxy does or as root, on processors whose caches make it pay
	SpliceOn   = "on"   // for everybody
)

// Ways to spread connections over the loops, Config.Accept.
const (
	AcceptReuseport = "reuseport" // every loop has a listener of its own; one that is ahead gives connections away
	AcceptSingle    = "single"    // one acceptor hands descriptors to the loop with the fewest
)

// Config is everything a Proxy needs to know. The zero value of a duration or limit switches that limit off unless its
// comment says otherwise. Addresses are "ip:port", ":port" for all interfaces, or "unix:/path".
type Config struct {
	Listen  string // where clients connect; not used with Inherited
	Forward string // the Foo server

	// Inherited are listening sockets that are open already, TCP or unix; the Proxy takes them over.
	Inherited []int

	Engine  string // EngineAuto, EngineUring, EngineEpoll
	Loops   int    // event loops; 0 = one per CPU of the process's affinity mask
	Pin     bool   // lock each loop to its CPU
	Accept  string // AcceptReuseport, AcceptSingle
	Backlog int    // length of the accept queue of one listener

	NoDelay   bool          // TCP_NODELAY on both sides
	Cork      bool          // TCP_CORK around the sends of one wake-up
	ZeroCopy  string        // ZeroCopyOff (and ""), ZeroCopyAuto, ZeroCopyOn: large data are sent without a copy, on io_uring
	Splice    string        // SpliceOff (and ""), SpliceAuto, SpliceOn: long Data is copied to be inspected and else stays in the kernel
	KeepAlive time.Duration // TCP keep-alive idle time, both sides

	MaxConn      int // connections at once, over all loops; more wait in the accept queue
	MaxConnPerIP int // connections at once of one IPv4 address or IPv6 /64; more are reset
	RatePerIP    int // new connections per second of one, and as many at once; more are reset
	MaxPending   int // requests outstanding on a connection; a client that has them is not read until answers come

	MaxLine   uint64 // longest line in bytes, LF included
	MaxBuffer int    // bytes held per connection and direction before the fast side is paused; not 0
	MaxPipes  int    // pipes of each loop for the bytes of tunnels and long Data, two descriptors each; without them bytes are copied

	Tunnel      bool   // relay every connection without looking at a byte
	Arbitrary   string // Close, Tunnel
	OnViolation string // Close, Forward

	TimeoutConnect   time.Duration // until the upstream has answered the SYN
	TimeoutIdle      time.Duration // no byte in either direction
	TimeoutLine      time.Duration // from the first byte of a request line to its LF, while the upstream takes data
	TimeoutHalfClose time.Duration // no byte after one side has ended

	Track bool // match requests with answers and measure their latency even when there is no log, which always does

	Violations int // how many of the latest violations are kept for Proxy.Violations

	Log          string // path of the request log, "" = none, "-" = stdout
	LogFormat    string // "text", "json"
	LogOverflow  string // "drop", "block"
	LogData      int    // bytes of each message's Data that are logged, at most 255; 0 = none
	LogSample    int    // log one in so many requests; 0 and 1 = all
	Logger       *slog.Logger
	BypassChecks bool   // forward without scanning: exists to measure what scanning costs
	RingTest     string // bends the io_uring engine for tests, see parseRingTest

	// FirstGeneration is what the 24 bits that tell a slot's sessions apart begin with: tests let them wrap.
	FirstGeneration uint32
}

// MayTunnel says whether there can be tunnels.
func (c *Config) MayTunnel() bool { return c.Tunnel || c.Arbitrary == Tunnel }

// mayLend says whether large data may be sent without a copy.
func (c *Config) mayLend() bool { return c.ZeroCopy == ZeroCopyAuto || c.ZeroCopy == ZeroCopyOn }
