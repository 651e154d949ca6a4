// Package target starts the programs that are compared, each as a child process pinned to a CPU, and stops them again.
//
//	compare ──Start──▶ target ──fork, exec──▶ fooproxy | haproxy | nginx | foobench relay | foobench respond
//	          Stop                              listens on Env.Listen, forwards to Env.Forward
//
// A child is ready when the kernel lists its listening socket: no probing connection disturbs what is measured. A child
// dies with its parent. What it prints is kept and shown when it fails.
package target
