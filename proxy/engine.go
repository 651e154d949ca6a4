package proxy

// engine is a loop's way of talking to the kernel. It is called a few times in a worker's life; what happens per event and per
// byte is inside the engine's own loop, which is concrete code over core.
type engine interface {
	open() error // on the worker's locked thread, as is all but wake
	run() error  // until told to stop
	wake()       // from any thread: look at the worker's orders
	close()      // after run has returned
}

// engineState is what an engine remembers of a session, by side.
type engineState struct {
	readable  [2]bool  // direct: a recv may find something
	writable  [2]bool  // direct: a send may find room
	final     [2]bool  // direct: RDHUP, HUP, ERR, PRI or cut was reported, so reading goes on until there is nothing more
	long      [2]uint8 // direct: not 0 while the flow is in the middle of long Data, long.go
	trust     [2]trust // direct: whether that may go on within the kernel, once it is known
	unblocked bool     // direct: the sockets have got O_NONBLOCK for that
	corked    [2]bool  // TCP_CORK is on
	queued    bool     // in the list of sessions to serve

	sentTurn  [2]uint32 // uring: the turn in which the send in flight was submitted
	armed     [2]bool   // uring: a receive is in flight
	cancelled [2]bool   // uring: it has been asked to end
	starved   [2]bool   // uring: it found no buffer; armed again when there are some
	doubts    [2]uint8  // uring: how often more it may take the last bytes and miss the end of the stream behind them
	doubtful  [2]bool   // uring: it has taken the last bytes so, see missed
	more      [2]bool   // uring: the last that it has brought was not all there is, see missed
	came      [2]int32  // uring: how many bytes receives have brought since the session was served
	bulk      [2]uint8  // uring: not 0 while data comes in bulk, so that the socket is polled and drained directly
	polled    [2]bool   // uring: what is armed is a poll
	direct    bool      // uring: a tunnel whose sockets do not block, the ring only polls them
	roomArmed [2]bool   // uring: a poll for room at the flow's destination is in flight
	lent      [2]int32  // uring: 1 + the loan of the send in flight, 0 = that copies
	copies    [2]bool   // uring: sends without a copy to the side are no use
	dial      dialState // uring
	waiting   int       // uring: 1 while the session waits for a descriptor
	inFlight  int32     // uring: operations without their final completion
	closing   bool      // uring: everything in flight has been cancelled
}

// dialState is how far the connection attempt of a session is.
type dialState uint8

const (
	dialDone dialState = iota // it has ended, or was not begun
	dialWanted
	dialSubmitted // the kernel works on it
)
