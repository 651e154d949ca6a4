// Package stream makes raw byte streams through a relay and checks every byte that arrives: load for tunnels, which look at
// nothing.
//
//	client end ──pattern──▶ target ──▶ upstream end, compared         one way
//	client end ◀─────────── target ◀── upstream end                   and back, if asked for
//
// All ends live in one thread, so that the target is the only other program that runs. The unit of its results is a MiB that
// has arrived: an "answer" of load.Result is one.
package stream
