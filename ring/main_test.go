package ring

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sandboxEnv makes the test binary a child that prints what Probe finds, after it has forbidden itself a system call if the
// value is "number errno".
const sandboxEnv = "RING_TEST_SANDBOX"

func TestMain(m *testing.M) {
	if order := os.Getenv(sandboxEnv); order != "" {
		if err := sandboxed(order); err != nil {
			fmt.Println(err)
			os.Exit(2)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func sandboxed(order string) error {
	if number, errno, ok := strings.Cut(order, " "); ok {
		n, err := strconv.ParseUint(number, 10, 32)
		if err != nil {
			return err
		}
		e, err := strconv.ParseUint(errno, 10, 16)
		if err != nil {
			return err
		}
		if err := forbid(uint32(n), uint32(e)); err != nil {
			return fmt.Errorf("installing a seccomp filter: %w", err)
		}
	}
	p := Probe(Options{})
	fmt.Println(p.Err())
	fmt.Print(p)
	return nil
}

// forbid makes a system call fail with errno in all threads of the process, as a container's sandbox does.
func forbid(number, errno uint32) error {
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // seccomp_data.nr
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: number, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | errno},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	_, _, err := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC,
		uintptr(unsafe.Pointer(&prog)))
	if err != 0 {
		return err
	}
	return nil
}

// probeIn runs Probe in a child with these orders and attributes, and returns what it prints.
func probeIn(t *testing.T, order string, attr *syscall.SysProcAttr) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(exe)
	child.Env = append(os.Environ(), sandboxEnv+"="+order)
	child.SysProcAttr = attr
	out, err := child.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}
