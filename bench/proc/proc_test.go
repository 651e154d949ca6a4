package proc

import (
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A child that waits and one that counts are told apart, and the CPU clock agrees with what wait4(2) says afterwards.
func TestCPUAgainstWait(t *testing.T) {
	child := exec.Command("sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; read x")
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	last := time.Duration(-1)
	for { // until the counting is over: the clock of a process that waits stands still
		u, err := Of(child.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		if u.CPU == last && last > time.Millisecond {
			if u.Resident == 0 || u.Threads != 1 {
				t.Fatalf("%+v", u)
			}
			break
		}
		last = u.CPU
		runtime.Gosched()
		var ts unix.Timespec
		ts.Nsec = 5e6
		_ = unix.Nanosleep(&ts, nil)
	}
	in.Close()
	_ = child.Wait() // read fails at the end of its input
	waited := child.ProcessState.UserTime() + child.ProcessState.SystemTime()
	if last > waited || waited-last > waited/2+5*time.Millisecond {
		t.Fatalf("CPU clock %v, wait4 %v", last, waited)
	}
}

func TestGone(t *testing.T) {
	child := exec.Command("true")
	if err := child.Run(); err != nil {
		t.Fatal(err)
	}
	if _, err := Of(child.Process.Pid); err == nil {
		t.Fatal("a process that has ended has a usage")
	}
}

func TestUsageArithmetic(t *testing.T) {
	a := Usage{CPU: 5, User: 3, Resident: 100, Threads: 2, Voluntary: 7, Involuntary: 1}
	b := Usage{CPU: 2, User: 1, Resident: 60, Threads: 1, Voluntary: 4, Involuntary: 1}
	if got, want := a.Sub(b), (Usage{CPU: 3, User: 2, Resident: 100, Threads: 2, Voluntary: 3}); got != want {
		t.Fatalf("%+v", got)
	}
	if got, want := a.Add(b), (Usage{CPU: 7, User: 4, Resident: 160, Threads: 3, Voluntary: 11, Involuntary: 2}); got != want {
		t.Fatalf("%+v", got)
	}
}

func TestSwitchesOfAllThreads(t *testing.T) {
	u, err := Of(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if u.Threads < 2 || u.Voluntary+u.Involuntary == 0 {
		t.Fatalf("%+v", u)
	}
}

func TestCore(t *testing.T) {
	busy, err := CoreBusy(0)
	if err != nil || busy <= 0 {
		t.Fatal(busy, err)
	}
	if _, err := CoreBusy(1 << 20); err == nil {
		t.Fatal("there is no such CPU")
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if w := ThreadWait(unix.Gettid()); w < 0 {
		t.Fatal(w)
	}
}
