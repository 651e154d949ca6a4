// Package compare runs the same workloads against several targets, interleaved, and collects the runs in a report.
//
//	for each workload
//	  for each round            fresh processes, all of them at once:
//	    target  ── pinned to one CPU ────────────────────────┐
//	    foobench load --respond --turns, on the other CPU ───┴─▶ Result ─▶ Report
//	    for each turn of some 25 ms     A B C, then C B A, then A B C …
//
// The generator is both client and upstream in one thread, so that the only other program that runs is the target. Those
// whose turn it is not are asleep. The speed of a virtual machine can change by half within a second, with what else its host
// does; short turns let that happen to all targets alike, and ratios are made turn by turn.
package compare
