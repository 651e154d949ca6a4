package main

import (
	"math"
	"time"

	"fooproxy/proxy"
)

// The groups of --help, in its order.
const (
	groupAddresses  = "Addresses"
	groupLoops      = "Event loops"
	groupSockets    = "Sockets"
	groupLimits     = "Limits"
	groupPolicies   = "What is not Foo"
	groupTimeouts   = "Time-outs (0 = off)"
	groupObserve    = "Observation"
	groupRequestLog = "Request log"
	groupProcess    = "Process"
)

// The values of --track.
const (
	trackAuto = "auto"
	trackOn   = "on"
	trackOff  = "off"
)

// The smallest and largest values that make sense. The shortest message is "REQ 1\n".
const (
	lineMin   = 6
	lineMax   = 1 << 40
	bufferMin = 4 << 10
	bufferMax = 1 << 30
	loopsMax  = 1024
	rateMost  = 1e6
)

// newOptions returns the defaults with the table of all settings over them.
func newOptions() *options {
	o := &options{
		cfg: proxy.Config{
			Forward:          "127.0.0.1:8000",
			Engine:           proxy.EngineAuto,
			Pin:              true,
			Accept:           proxy.AcceptReuseport,
			Backlog:          4096,
			NoDelay:          true,
			ZeroCopy:         proxy.ZeroCopyOff,
			Splice:           proxy.SpliceAuto,
			KeepAlive:        60 * time.Second,
			MaxLine:          16 << 20,
			MaxBuffer:        512 << 10,
			Arbitrary:        proxy.Close,
			OnViolation:      proxy.Close,
			TimeoutConnect:   5 * time.Second,
			TimeoutLine:      60 * time.Second,
			TimeoutHalfClose: 60 * time.Second,
			LogFormat:        "text",
			LogOverflow:      "drop",
			LogSample:        1,
		},
		port:         8001,
		track:        trackAuto,
		drainTimeout: 30 * time.Second,
	}
	o.addAddresses()
	o.addEngine()
	o.addTraffic()
	o.addProcess()
	for _, s := range o.table {
		s.owner = o
	}
	return o
}

func (o *options) add(group string, settings ...setting) {
	for _, s := range settings {
		s.group = group
		o.table = append(o.table, &s)
	}
}

func (o *options) addAddresses() {
	c := &o.cfg
	o.add(
		groupAddresses,
		setting{
			name: "port", short: "p", meta: "PORT", value: portValue(&o.port),
			help: "listen on this port of all interfaces; 0 = any free port, shown once ready",
		},
		setting{
			name: "listen", meta: "ADDR", value: addrValue(&c.Listen, "", true),
			help: "listen on HOST:PORT, [IPV6]:PORT or unix:/PATH instead of --port",
		},
		setting{
			name: "forward", short: "f", meta: "ADDR", value: addrValue(&c.Forward, "127.0.0.1", false),
			help: "the server, written alike; a bare PORT is one of 127.0.0.1",
		},
	)
}

func (o *options) addEngine() {
	c := &o.cfg
	o.add(
		groupLoops,
		setting{
			name: "engine", meta: "NAME", value: wordValue(&c.Engine, proxy.EngineAuto, proxy.EngineUring, proxy.EngineEpoll),
			help: "auto, uring or epoll; auto is uring where the kernel allows it, else epoll",
		},
		setting{
			name: "loops", meta: "N", value: intValue(&c.Loops, 0, loopsMax),
			help: "event loops; 0 = one for each CPU of the affinity mask",
		},
		setting{
			name: "pin", meta: "BOOL", value: boolValue(&c.Pin),
			help: "keep each loop on a CPU of its own",
		},
		setting{
			name: "accept", meta: "WAY", value: wordValue(&c.Accept, proxy.AcceptReuseport, proxy.AcceptSingle),
			help: "reuseport: a listener for each loop; single: one accepts for all loops",
		},
	)
	o.add(
		groupSockets,
		setting{
			name: "backlog", meta: "N", value: intValue(&c.Backlog, 1, math.MaxInt32),
			help: "accept queue of a listener; the kernel cuts it to net.core.somaxconn",
		},
		setting{
			name: "nodelay", meta: "BOOL", value: boolValue(&c.NoDelay),
			help: "TCP_NODELAY on both sides",
		},
		setting{
			name: "cork", meta: "BOOL", value: boolValue(&c.Cork),
			help: "TCP_CORK around the sends of one wake-up",
		},
		setting{
			name: "zerocopy", meta: "WAY", value: wordValue(&c.ZeroCopy, proxy.ZeroCopyOff, proxy.ZeroCopyAuto, proxy.ZeroCopyOn),
			help: "large data is sent uncopied while the kernel can, on io_uring; auto: to other hosts",
		},
		setting{
			name: "splice", meta: "WAY", value: wordValue(&c.Splice, proxy.SpliceOff, proxy.SpliceAuto, proxy.SpliceOn),
			help: "keep checked long Data in the kernel; auto: of own user and root, if it pays; on: all",
		},
	)
}

func (o *options) addTraffic() {
	c := &o.cfg
	o.add(
		groupLimits,
		setting{
			name: "maxconn", meta: "N", value: intValue(&c.MaxConn, 0, maxConnMost),
			help: "connections at once, more wait; 0 = what the descriptor limit allows",
		},
		setting{
			name: "maxconn-per-ip", meta: "N", value: intValue(&c.MaxConnPerIP, 0, maxConnMost),
			help: "connections at once from one address or IPv6 /64, more are reset; 0 = any",
		},
		setting{
			name: "rate-per-ip", meta: "N", value: intValue(&c.RatePerIP, 0, rateMost),
			help: "new connections per second from one, as many at once, more are reset; 0 = any",
		},
		setting{
			name: "max-pending", meta: "N", value: intValue(&c.MaxPending, 0, math.MaxInt32),
			help: "outstanding requests of a connection before its client is paused; 0 = any",
		},
		setting{
			name: "max-line", meta: "SIZE", value: sizeValue(&c.MaxLine, lineMin, lineMax, true),
			help: "longest line, its end included; 0 = no limit, memory stays bounded",
		},
		setting{
			name: "max-buffer", meta: "SIZE", value: sizeValue(&c.MaxBuffer, bufferMin, bufferMax, false),
			help: "bytes held per connection and direction before its sender is paused",
		},
	)
	o.add(
		groupPolicies,
		setting{
			name: "tunnel", meta: "BOOL", value: boolValue(&c.Tunnel),
			help: "relay every connection unchecked and uncounted, from its first byte",
		},
		setting{
			name: "arbitrary", meta: "POLICY", value: wordValue(&c.Arbitrary, proxy.Close, proxy.Tunnel),
			help: "client that does not begin with Foo: close it, or tunnel it unchecked",
		},
		setting{
			name: "on-violation", meta: "POLICY", value: wordValue(&c.OnViolation, proxy.Close, proxy.Forward),
			help: "Foo peer that breaks the grammar: close it, or forward the bad line",
		},
	)
	o.add(
		groupTimeouts,
		setting{
			name: "timeout-connect", meta: "TIME", value: durationValue(&c.TimeoutConnect, 0),
			help: "until the server has taken the connection",
		},
		setting{
			name: "timeout-idle", meta: "TIME", value: durationValue(&c.TimeoutIdle, 0),
			help: "no byte either way",
		},
		setting{
			name: "timeout-line", meta: "TIME", value: durationValue(&c.TimeoutLine, 0),
			help: "from the first byte of a request to its end, while the server takes data",
		},
		setting{
			name: "timeout-half-close", meta: "TIME", value: durationValue(&c.TimeoutHalfClose, 0),
			help: "no byte after one side has ended",
		},
		setting{
			name: "keepalive", meta: "TIME", value: durationValue(&c.KeepAlive, keepIdleMax),
			help: "idle time before TCP keep-alive probes, both sides",
		},
	)
}

func (o *options) addProcess() {
	c := &o.cfg
	o.add(
		groupObserve,
		setting{
			name: "admin", meta: "ADDR", value: addrValue(&o.admin, "127.0.0.1", true),
			help: "serve the live page, metrics and profiles on this loopback address or unix:/PATH",
		},
		setting{
			name: "admin-public", meta: "BOOL", value: boolValue(&o.adminPublic),
			help: "let --admin be an address that other hosts can reach; whoever does can end the proxy",
		},
		setting{
			name: "track", meta: "WHEN", value: wordValue(&o.track, trackAuto, trackOn, trackOff),
			help: "match answers with requests, time them; auto = with --log or --admin",
		},
	)
	o.add(
		groupRequestLog,
		setting{
			name: "log", meta: "PATH", value: pathValue(&c.Log),
			help: "write a line for each request and each connection; - = standard output",
		},
		setting{
			name: "log-format", meta: "FORMAT", value: wordValue(&c.LogFormat, "text", "json"),
			help: "text or json",
		},
		setting{
			name: "log-overflow", meta: "POLICY", value: wordValue(&c.LogOverflow, "drop", "block"),
			help: "when the log is too slow: drop lines and count them, or block the traffic",
		},
		setting{
			name: "log-data", meta: "N", value: intValue(&c.LogData, 0, 255),
			help: "log the first N bytes of what each message carries, escaped; 0 = never",
		},
		setting{
			name: "log-sample", meta: "N", value: intValue(&c.LogSample, 1, math.MaxInt32),
			help: "log one in N requests; connections and violations always",
		},
	)
	o.add(
		groupProcess,
		setting{
			name: "drain-timeout", meta: "TIME", value: durationValue(&o.drainTimeout, 0),
			help: "how long TERM lets open connections go on; 0 = until the last has ended",
		},
		setting{
			name: "pidfile", meta: "PATH", value: pathValue(&o.pidfile),
			help: "hold the process id here while running",
		},
		setting{
			name: "config", meta: "PATH", value: pathValue(&o.config),
			help: "read settings from this file",
		},
		setting{
			name: "check", flagOnly: true, value: boolValue(&o.checkOnly),
			help: "check the configuration, print what would run, and exit",
		},
		setting{
			name: "version", flagOnly: true, value: boolValue(&o.version),
			help: "print versions and exit; with -v also what io_uring can do here",
		},
		setting{
			name: "verbose", short: "v", flagOnly: true, value: boolValue(&o.verbose),
			help: "say more, with --version",
		},
	)
}
