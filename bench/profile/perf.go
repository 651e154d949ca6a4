package profile

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// recordPerf samples a process for a time, kernel and user side, into the file data. A virtual machine often has no
// hardware counters; cpu-clock needs none.
func recordPerf(ctx context.Context, pid int, data string, over time.Duration, how ...string) error {
	args := append([]string{"record", "-q", "-e", "cpu-clock", "-p", strconv.Itoa(pid), "-o", data}, how...)
	args = append(args, "--", "sleep", strconv.FormatFloat(over.Seconds(), 'f', 2, 64))
	cmd := exec.CommandContext(ctx, "perf", args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("perf record: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

// perfEntry is a function in perf's report.
type perfEntry struct {
	Entry
	kernel bool
}

// readPerf lists the functions that the samples were taken in.
func readPerf(ctx context.Context, data string) ([]perfEntry, error) {
	out, err := exec.CommandContext(ctx, "perf", "report", "-i", data, "--stdio", "--no-children", "-g", "none", "--sort", "symbol",
		"--percent-limit", "0").Output()
	if err != nil {
		return nil, fmt.Errorf("perf report: %w", err)
	}
	return parsePerf(out), nil
}

// parsePerf reads lines like "    12.34%  [k] tcp_sendmsg_locked   -  -"; [k] is the kernel, [.] the process, and the columns
// after the name are of hardware counters.
func parsePerf(out []byte) (entries []perfEntry) {
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 3 || !strings.HasSuffix(fields[0], "%") {
			continue
		}
		percent, err := strconv.ParseFloat(strings.TrimSuffix(fields[0], "%"), 64)
		if err != nil {
			continue
		}
		name := strings.TrimRight(strings.Join(fields[2:], " "), " -")
		entries = append(entries, perfEntry{Entry{name, percent / 100}, fields[1] == "[k]"})
	}
	return entries
}

// classifyPerf charges the samples of our own process by the function they were taken in; perf takes many more of them than
// Go does, but the helpers of the runtime have no caller here. ok is false when this is not our program.
func classifyPerf(entries []perfEntry) (shares []Share, ok bool) {
	sums, functions := map[Class]float64{}, map[Class][]Entry{}
	for _, e := range entries {
		class := Kernel
		if !e.kernel {
			decided := false
			if class, decided = classOf(frame{name: e.Name}); !decided {
				class = Other
			}
			ok = ok || strings.HasPrefix(e.Name, "fooproxy/")
			if isSystemCall(e.Name) {
				class = Kernel
			}
		}
		sums[class] += e.Part
		if len(functions[class]) < 5 {
			functions[class] = append(functions[class], e.Entry)
		}
	}
	for _, c := range classes {
		shares = append(shares, Share{c, sums[c], functions[c]})
	}
	return shares, ok
}
