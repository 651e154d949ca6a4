// Package profile says where a proxy's time goes.
//
//	target ◀── foobench load
//	  │ /debug/pprof/profile          │ perf record -e cpu-clock
//	  ▼                               ▼
//	raw pprof profile ─▶ Classify   perf.data ─▶ kernel's functions
//	                  ─▶ flame graph (SVG)
//
// Go's own profile sees a system call as one instruction; what the kernel does inside comes from perf, where it is
// installed. Both are kept: go tool pprof and perf report open them.
package profile
