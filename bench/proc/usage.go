package proc

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Usage is what a process has used since it began.
type Usage struct {
	CPU         time.Duration // user and system of all threads, exact
	User        time.Duration // part of it, in ticks of 10 ms
	Resident    uint64        // bytes of memory in use now
	Threads     int
	Voluntary   uint64 // context switches because it waited, all threads
	Involuntary uint64 // context switches because its time was up
}

// CPU is the CPU time of a process, all its threads, user and system (clock_gettime(2) on the clock of
// clock_getcpuclockid(3)).
func CPU(pid int) (time.Duration, error) {
	var ts unix.Timespec
	clock := int32(^uint32(pid)<<3 | 2)
	if err := unix.ClockGettime(clock, &ts); err != nil {
		return 0, fmt.Errorf("CPU clock of process %d: %w", pid, err)
	}
	return time.Duration(ts.Nano()), nil
}

// Of reads the usage of a process.
func Of(pid int) (Usage, error) {
	var u Usage
	var err error
	if u.CPU, err = CPU(pid); err != nil {
		return u, err
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, err
	}
	// The second field is the command's name in brackets and may hold anything; what follows the last bracket is regular.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 22 {
		return u, fmt.Errorf("/proc/%d/stat: too short", pid)
	}
	u.User = time.Duration(number(fields[11])) * time.Second / 100
	u.Threads = int(number(fields[17]))
	u.Resident = number(fields[21]) * uint64(os.Getpagesize())
	return u, u.addSwitches(pid)
}

// addSwitches sums the context switches of the threads, which the kernel keeps per thread.
func (u *Usage) addSwitches(pid int) error {
	dir := fmt.Sprintf("/proc/%d/task", pid)
	tasks, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, t := range tasks {
		status, err := os.ReadFile(dir + "/" + t.Name() + "/status")
		if err != nil {
			continue // the thread has ended since
		}
		u.Voluntary += statusField(status, "\nvoluntary_ctxt_switches:")
		u.Involuntary += statusField(status, "\nnonvoluntary_ctxt_switches:")
	}
	return nil
}

func statusField(status []byte, name string) uint64 {
	_, rest, found := bytes.Cut(status, []byte(name))
	if !found {
		return 0
	}
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	return number(bytes.TrimSpace(line))
}

func number(b []byte) uint64 {
	n, _ := strconv.ParseUint(string(b), 10, 64)
	return n
}

// Sub is what was used between two readings; Resident and Threads are those of the later one.
func (u Usage) Sub(before Usage) Usage {
	u.CPU -= before.CPU
	u.User -= before.User
	u.Voluntary -= before.Voluntary
	u.Involuntary -= before.Involuntary
	return u
}

// Add sums the usage of several processes.
func (u Usage) Add(o Usage) Usage {
	u.CPU += o.CPU
	u.User += o.User
	u.Resident += o.Resident
	u.Threads += o.Threads
	u.Voluntary += o.Voluntary
	u.Involuntary += o.Involuntary
	return u
}
