// Package proxy relays Foo between clients and one upstream: sessions, their buffers and timers, and the two engines that
// talk to the kernel.
//
//	Proxy ── New, Start, Drain, Stop, Snapshot            proxy.go, open.go, acceptor.go, balance.go, cpus.go
//	  └ worker × loops ── a goroutine on a locked, pinned thread        worker.go
//	      ├ engine ── the loop: epoll.go, epoll_session.go
//	      │                     uring.go, uring_accept.go, uring_session.go, uring_bulk.go, uring_tunnel.go,
//	      │                     uring_zerocopy.go, uring_orders.go
//	      │                     direct.go, long.go, splice.go, pace.go: by plain system calls, for epoll and for tunnels
//	      └ core ── what the loop owns, whatever its engine             core.go
//	          ├ table of sessions, each two flows                       table.go, session.go, flow.go
//	          ├ slab of segments, wheel of timers                       slab.go, timer.go
//	          ├ stats.Local, published once a turn                      (package stats)
//	          ├ gate: limits on one client address, shared by all       gate.go, gatetable.go
//	          └ accesslog.Ring, trackerPool                             records.go, track.go
//
// Where things happen, for either engine: accept in begun, receive in receive or onRecv, scan and count in inspect.go, send in
// forward, flush or send, end in ends.go and deadline.go, close in closeSession.
//
// # The path of a byte
//
//	client socket ──▶ buffer ──▶ received: Scanner.Feed ──▶ queue ──▶ upstream socket       and the same way back
//	                    └ epoll: the loop's scratch; sent from there at once, only the rest is copied to the slab
//	                    └ uring: a segment of the slab that the kernel has filled; sent from where it lies
//	                    └ uring, while a flow is in bulk: as epoll does it (uring_bulk.go says why)
//	                    └ long Data of trusted peers: looked at in the scratch buffer, then as a tunnel's bytes (long.go)
//	                    └ tunnel: through a pipe, within the kernel (splice.go)
//
// The scanner says how many bytes of a chunk are valid Foo so far; exactly these go on, without waiting for the end of the
// line. No message exists as an object, nothing is allocated per message or chunk.
//
// # Sessions do not talk to the kernel
//
// An engine tells a session what has happened (received, sourceFIN, sourceRST, sent, sinkFailed, connectDone) and asks it with
// want what is to be done for either flow: receive, send, shut, abort. It does what the descriptor allows, or keeps the
// operation in flight, and asks again after the next event. So the rules of ends.go hold for both engines, for the tests'
// simulator, and for whatever comes.
//
// Nothing is read from a client before its upstream is connected: what is read is forwarded, and what is counted was.
//
// # Who owns a segment
//
//	in the slab's free list         the slab
//	published in the buffer ring    the kernel, which may write to it          (uring)
//	in a flow's queue               the flow
//	the front of a queue, sending   the kernel reads it, the flow keeps it     (uring)
//	on loan                         the kernel reads what a flow has sent already: a send without a copy, uring_zerocopy.go
//
// Every hand-over names the owner it expects and panics on another.
//
// # Bounds
//
// A loop maps 32 MiB for all its flows together and, in address space only, 8 KiB for every flow that maxconn allows. A flow may
// hold MaxBuffer, and less as the shared part fills: an eighth of what is free, at least one segment. So
//
//	memory ≤ base + 4 MiB of the Go heap + loops × (32 MiB + scratch + 4 MiB of log + 32 MiB of pipes) + 8 KiB × stalled flows
//	         + 0.7 KiB × sessions + 250 B × requests tracked + 100 B × addresses in the gate
//
// Buffers in the ring are of the 32 MiB. Scratch is at most MaxBuffer, and as much again with a histogram of 0.5 MiB where requests
// are tracked. The term of the pipes is the kernel's, and there only while tunnels or spliced Data are. Requests outstanding are
// tracked only when something needs it, at most trackMax per connection: 40 to 112 B each by how full their table is, and as much
// again before the collector has to run. MaxPending bounds them further. The gate has the addresses of sessions, and at most
// gateShards × gateIdle without one. Nothing of this depends on what a line or a connection has carried so far.
//
// The Go heap has the small things: sessions, tables of outstanding requests, histograms. They are kept for the next connection,
// and neither messages nor connections, snapshots or rotations of the log leave garbage, so the collector has nothing to do but what
// the runtime makes it do every two minutes (eight times in ten minutes of the soak). Hence it has the runtime's default goal:
// a lower one would only matter while an operator asks much of the admin address.
//
// A client with MaxPending requests outstanding is not read. That is looked at after each receive, which is then at most a
// segment on either engine: what one receive brings is taken whole. It is read again when answers come, when none can come any
// more, and when it has gone for good; meanwhile no time of its line counts.
//
// # What it does not do
//
// It keeps no goroutine, timer or closure per connection, takes no lock on the way of a byte, and never waits for the log
// unless told to.
package proxy
