// Package concept measures single mechanisms of the kernel, each by itself in one thread, for docs/concepts.md. What needs a
// whole proxy is measured with foobench compare and foobench load instead.
//
//	Trigger   what a readiness event costs, level- and edge-triggered, by three ways of reading
//	Splice    moving a stream from one socket to another by copying and by splice(2)
//	Cork      small writes with Nagle's algorithm, with TCP_NODELAY, and with TCP_CORK: segments and time
package concept
