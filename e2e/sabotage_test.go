package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// sabotaged writes to dst with one of the relay's faults.
type sabotaged struct {
	dst   stream
	fault string
	off   int    // in the stream
	line  []byte // held by faultHoldLines
	hoard chan []byte
	done  chan error
}

// sabotagedAt is the place of the lost, doubled or swapped byte.
const sabotagedAt = 5000

func (w *sabotaged) write(b []byte) error {
	at := sabotagedAt - w.off
	w.off += len(b)
	hit := at >= 0 && at+1 < len(b)
	switch {
	case w.fault == faultDrop && hit:
		b = append(b[:at:at], b[at+1:]...)
	case w.fault == faultDouble && hit:
		b = append(b[:at+1:at+1], b[at:]...)
	case w.fault == faultSwap && hit:
		b[at], b[at+1] = b[at+1], b[at]
	case w.fault == faultHoldLines:
		w.line = append(w.line, b...)
		whole := bytes.LastIndexByte(w.line, '\n') + 1
		b, w.line = w.line[:whole:whole], w.line[whole:]
	case w.fault == faultHoard:
		w.keep(b)
		return nil
	}
	_, err := w.dst.Write(b)
	return err
}

// keep queues b without bound; a goroutine writes what is queued.
func (w *sabotaged) keep(b []byte) {
	if w.hoard == nil {
		w.hoard, w.done = make(chan []byte, 1<<20), make(chan error, 1)
		go func() {
			var failed error
			for b := range w.hoard {
				if failed == nil {
					_, failed = w.dst.Write(b)
				}
			}
			w.done <- failed
		}()
	}
	w.hoard <- bytes.Clone(b)
}

// close waits until the hoard is written.
func (w *sabotaged) close() {
	if w.hoard != nil {
		close(w.hoard)
		<-w.done
	}
}

// The suite catches what it is there to catch: run against the naive relay, the tests of what the relay does pass, and the
// tests of what it lacks fail; run against the relay with a fault, the test of that fault fails.
func TestRelayIsCaught(t *testing.T) {
	t.Parallel()
	faithful := []string{
		"TestSegments", "TestCutThrough", "TestNoFinalLF", "TestValidLines", "TestClientFINThenLateAnswer", "TestServerFINFirst",
		"TestRSTAfterData", "TestRSTBehindStalledReader", "TestBothEndAtOnce", "TestStatsStorm", "TestTermDrains", "TestStalledThenEnds",
	}
	lacking := []string{
		"TestRequestViolationCloses", "TestResponseViolationCloses", "TestFirstLineViolation", "TestAnswersOutliveViolation",
		"TestViolationForwarded", "TestMaxLine", "TestArbitraryClosed", "TestArbitraryTunnel", "TestArbitraryCrowd", "TestRates",
		"TestIdleTimeout", "TestSlowLoris", "TestHalfCloseTimeout", "TestUpstreamRefuses", "TestUpstreamNeverAnswers",
		"TestOutOfDescriptors", "TestMaxConn", "TestDrainTimeout", "TestLogRecounts", "TestLogFields", "TestUnmatchedAnswers",
	}
	caughtBy := map[string]string{
		faultDrop: "TestManyConnections", faultDouble: "TestManyConnections", faultSwap: "TestManyConnections",
		faultCount: "TestSegments", faultNoFIN: "TestServerFINFirst", faultRSTAsFIN: "TestRSTAfterData",
		faultEarlyRST: "TestRSTBehindStalledReader", faultHoard: "TestStall", faultLeak: "TestSegments", faultExit: "TestTermDrains",
		faultHoldLines: "TestCutThrough",
	}
	t.Run("faithful", func(t *testing.T) {
		t.Parallel()
		result := runAgainstRelay(t, "none", limit.String(), faithful)
		for _, name := range faithful {
			if result[name] != "PASS" {
				t.Errorf("%s: %s against the relay, want PASS", name, result[name])
			}
		}
	})
	t.Run("lacking", func(t *testing.T) {
		t.Parallel()
		result := runAgainstRelay(t, "none", "700ms", lacking)
		for _, name := range lacking {
			if result[name] != "FAIL" {
				t.Errorf("%s: %s against the relay, want FAIL", name, result[name])
			}
		}
	})
	for _, fault := range faults {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			name := caughtBy[fault]
			if result := runAgainstRelay(t, fault, "1s", []string{name}); result[name] != "FAIL" {
				t.Errorf("%s: %s against a relay with the fault %q, want FAIL", name, result[name], fault)
			}
		})
	}
}

// A canary is heard: beside a proxy that is as it should be it is content, and beside one that lets a connection wait for others,
// without a wrong byte, it is not.
func TestCanaryIsHeard(t *testing.T) {
	takesLong(t)
	const name = "TestEndsDisturbNobody"
	for fault, want := range map[string]string{"none": "PASS", faultCrowd: "FAIL"} {
		result := runAgainstRelay(t, fault, limit.String(), []string{name}, envFaults+"=1")
		if result[name] != want {
			t.Errorf("%s: %s against a relay with the fault %q, want %s", name, result[name], fault, want)
		}
	}
}

var verdictLine = regexp.MustCompile(`(?m)^--- (PASS|FAIL): (\w+) `)

// runAgainstRelay runs some tests of this binary in a process of their own, with the relay as their subject, and returns PASS
// or FAIL for each.
func runAgainstRelay(t *testing.T, fault, wait string, tests []string, env ...string) map[string]string {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.v", "-test.parallel=16", "-test.run=^("+strings.Join(tests, "|")+")$")
	cmd.Env = append(cleanEnv(), envEngines+"="+relay, envBin+"="+binDir, envFault+"="+fault, envLimit+"="+wait)
	cmd.Env = append(cmd.Env, env...)
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	result := map[string]string{}
	for _, m := range verdictLine.FindAllStringSubmatch(string(out), -1) {
		result[m[2]] = m[1]
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s", out)
		}
	})
	return result
}
