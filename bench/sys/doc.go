// Package sys holds the system calls of the benchmark programs: raw, non-blocking, without a trip through Go's scheduler.
//
//	generator, responder, poll relay ──▶ sys ──▶ kernel
//
// Every caller is one locked thread that owns its descriptors, so nothing here locks. Calls that can be interrupted are
// repeated on EINTR (Go's preemption signals make it normal). Nothing here allocates except the set-up of addresses.
package sys
