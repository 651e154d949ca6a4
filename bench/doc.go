// Package bench is the judge of every speed claim of this project; command foobench is its face.
//
//	load     the generator: sends requests, checks every answer, measures; can be its own upstream
//	stream   raw bytes through a relay, each compared: load for tunnels
//	target   the programs that are compared, as pinned children: fooproxy's engines, HAProxy, nginx, base lines
//	relay    two of the base lines: goroutines, and poll(2)
//	floor    what the kernel alone costs per message
//	concept  single mechanisms of the kernel, for docs/concepts.md
//	compare  workloads × targets, in turns, into a report
//	report   every single run as JSON; tables, plots, page, significance of a difference
//	profile  where a proxy's time goes
//	sys      raw system calls of the generator and the poll relay
//	proc     CPU time, memory and context switches of a process
//
// The generator never shares code with the proxy that it judges: it has a parser of answers of its own.
package bench
