package sys

import (
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

var base = time.Now()

// Now is the monotonic clock in nanoseconds since the program began, always above 0.
func Now() int64 { return int64(time.Since(base)) + 1 }

// LockThread ties the calling goroutine to its thread and, when core is not negative, the thread to that CPU. Timers of
// the thread become exact (PR_SET_TIMERSLACK; the default lets the kernel be 50 µs late).
func LockThread(core int) error {
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("timer slack: %w", err)
	}
	if core < 0 {
		return nil
	}
	return SetAffinity(core)
}

// SetAffinity ties the calling thread to the given CPUs.
func SetAffinity(cores ...int) error {
	var set unix.CPUSet
	for _, core := range cores {
		set.Set(core)
	}
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("pin to CPU %d: %w", cores, err)
	}
	return nil
}

// Cores lists the CPUs this process may use, lowest first.
func Cores() []int {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return []int{0}
	}
	var cores []int
	for i := 0; len(cores) < set.Count(); i++ {
		if set.IsSet(i) {
			cores = append(cores, i)
		}
	}
	return cores
}
