package e2e

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sandboxMain becomes the command that args name, behind a seccomp filter that refuses io_uring_setup with an errno, as the
// default profile of a container does. It returns only when that is impossible.
func sandboxMain(errno string, args []string) int {
	number := map[string]uint32{"EPERM": uint32(unix.EPERM), "ENOSYS": uint32(unix.ENOSYS)}[errno]
	if err := refuse(unix.SYS_IO_URING_SETUP, number); err != nil {
		fmt.Fprintln(os.Stderr, "seccomp:", err)
		return 1
	}
	var env []string
	for _, kv := range os.Environ() {
		if kv != envSandbox+"="+errno {
			env = append(env, kv)
		}
	}
	fmt.Fprintln(os.Stderr, args[0], syscall.Exec(args[0], args, env))
	return 1
}

// refuse has a system call fail for this thread and what it becomes, seccomp(2). The filter is one for the machine's own
// system calls alone, which is all that a test needs.
func refuse(call, errno uint32) error {
	runtime.LockOSThread() // until exec, which ends the other threads
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the number, first in struct seccomp_data
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: call, Jt: 0, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | errno},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&filter)), 0, 0)
}
