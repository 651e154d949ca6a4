package proc

import (
	"bytes"
	"fmt"
	"os"
	"time"
)

// CoreBusy is how long a CPU has been doing anything since boot, for whomever, in ticks of 10 ms.
func CoreBusy(core int) (time.Duration, error) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	_, rest, found := bytes.Cut(stat, fmt.Appendf(nil, "\ncpu%d ", core))
	if !found {
		return 0, fmt.Errorf("/proc/stat knows no cpu%d", core)
	}
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	fields := bytes.Fields(line)
	if len(fields) < 8 {
		return 0, fmt.Errorf("/proc/stat: line of cpu%d is too short", core)
	}
	// user nice system idle iowait irq softirq steal: all but idle and iowait.
	var ticks uint64
	for i, f := range fields[:8] {
		if i != 3 && i != 4 {
			ticks += number(f)
		}
	}
	return time.Duration(ticks) * time.Second / 100, nil
}

// ThreadWait is how long a thread of this process has been ready to run but had to wait for a CPU, from schedstat;
// 0 when the kernel does not keep it.
func ThreadWait(tid int) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/schedstat", tid))
	if err != nil {
		return 0
	}
	fields := bytes.Fields(b)
	if len(fields) < 2 {
		return 0
	}
	return time.Duration(number(fields[1]))
}
