// Package proc reads what a process has used: CPU time, memory, context switches, from the kernel's own clocks and /proc.
//
// CPU time comes from the process's CPU clock, which counts every thread, user and system, in nanoseconds; the ticks of
// /proc/PID/stat serve only to divide it into user and system. Time the kernel spends on a process's behalf in a soft
// interrupt (the receiving half of a loopback connection) is charged to whoever runs at that moment; on loopback that is
// the sender, on both sides alike.
package proc
