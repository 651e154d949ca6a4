// Package load is a load generator for the Foo protocol that checks every answer.
//
//	               ┌──────────── loop: one locked thread, one epoll ─────────────┐
//	arrivals ─▶ conn.window ─▶ gather ─▶ send ──────────────▶ target ──┐         │
//	histogram ◀─ settle ◀─ answers ◀─ receive ◀────────────── target ◀┐│         │
//	               │                                                  ││         │
//	               │   answer: REQ becomes ACK  ◀── upstream conns ◀──┼┘         │
//	               │                            ──▶                ───┘          │
//	               └─────────────────────────────────────────────────────────────┘
//
// With Options.Respond the loop is also the upstream behind the target. One thread for both ends is the cheapest there can
// be: no wake-up between them, and on two CPUs the target has the other one to itself.
//
// Requests are copied to their sockets, and the upstream reads them whole. With Options.SendFile they leave by sendfile(2) from a
// script, and the upstream reads their heads only; see script and skim. Of their data, that of one request in wholeEach is
// compared then.
//
// Closed loop (Rate 0): every connection keeps Depth requests outstanding; the rate is what is measured. Open loop: requests
// leave on a schedule whatever the answers do; the response time counts from the schedule, so a stall of the target is
// charged with all the requests that it kept waiting.
//
// A run has the phases connect, warm-up, measured window, drain, end. In the last one the generator ends every connection
// and waits for the target's end of it; an answer too many would arrive before that. The first wrong, lost, doubled,
// stray or late answer ends the run with a *Failure: there are no figures of a target that is wrong.
//
// Each loop owns its connections, its responder and its histograms; loops share only the moments at which they start and
// end. Once warm, a loop allocates nothing.
package load
