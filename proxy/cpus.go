package proxy

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// loopCPUs returns the CPU of every loop, -1 for one that is not pinned. CPUs come from the process's affinity mask; more
// loops than CPUs go round them.
func loopCPUs(loops int, pin bool) ([]int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, fmt.Errorf("sched_getaffinity: %w", err)
	}
	var mask []int
	for cpu := 0; len(mask) < set.Count(); cpu++ {
		if set.IsSet(cpu) {
			mask = append(mask, cpu)
		}
	}
	if loops == 0 {
		loops = len(mask)
	}
	cpus := make([]int, loops)
	for i := range cpus {
		cpus[i] = -1
		if pin {
			cpus[i] = mask[i%len(mask)]
		}
	}
	return cpus, nil
}
