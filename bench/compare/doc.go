// Package compare runs the same workloads against several targets, interleaved, and collects the runs in a report.
//
//	for each workload
//	  for each round     A B C, then C B A, then A B C …
//	    target  ── started, pinned to one CPU ──────────┐
//	    foobench load --respond, pinned to another CPU ─┴─▶ Result ─▶ Report
//
// The generator is both client and upstream in one thread, so that the only other program that runs is the target. Each
// run has a fresh target and a fresh generator. A run during which something else used the CPUs is repeated.
package compare
