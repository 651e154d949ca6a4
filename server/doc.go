// Package server is a Foo server: it answers every request with ACK or NAK and the request's Seq.
//
//	         Start, Stop, Kill, Counts
//	                   │
//	┌─ loop 0: one locked thread ──────────────┐  ┌─ loop 1 … ─┐
//	│ listener ─ accept ─ conn                 │  │ the same,  │
//	│ receive ─▶ scan ─▶ answer ─▶ send        │  │ nothing    │
//	│ epoll, edge-triggered   timers  counters │  │ shared     │
//	└──────────────────────────────────────────┘  └────────────┘
//
// The upstream of tests (command fooserver) and of benchmarks (foobench) is this package, so it must never be what limits
// them: a loop receives up to 256 KiB at once, checks it with codec.Scanner, turns it into answers where it lies and sends
// them with one system call. No message and no batch allocates.
//
// A request is answered when its LF has come. Lines longer than 64 KiB are answered while they arrive, so that a message of
// any size costs constant memory; a client that sends more than the sockets' buffers hold must therefore read while it
// writes. Answers that the client does not take are kept, up to Options.MaxBuffer, and beyond that nothing more is received.
//
// A conn's answers lie in one queue, cut by four marks that only grow:
//
//	┌ gone ┬ may be sent ┬ delayed ┬ window to be shuffled ┬ unfinished line ┐
//	0     sent         ready      done                    line             len
//
// Who ends a connection: the client, by its FIN; everything received is answered, sent, and followed by the server's FIN.
// The server ends one only after bytes that are not Foo and on Stop: it answers what was valid, sends its FIN, and waits
// Options.Drain for the client's. What the package never does: send a request, or answer one that it has not checked.
package server
