package e2e

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// withoutNetwork starts the child in a network namespace of its own, where not even the loopback is up.
func withoutNetwork(c *exec.Cmd) {
	c.SysProcAttr.Cloneflags |= syscall.CLONE_NEWNET
	if os.Getuid() != 0 { // a user namespace gives the right to make the other one
		c.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
	}
}

// inNetwork runs f on a thread of its own in a new network namespace with the loopback up: sockets that f makes and
// processes that it starts belong there, and stay there. It needs to run as root.
func inNetwork(f func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: a thread in another namespace must run nothing else
		err := errors.Join(os.NewSyscallError("unshare", unix.Unshare(unix.CLONE_NEWNET)))
		if err == nil {
			err = errors.Join(loopbackUp(), f())
		}
		result <- err
		select {} // the thread must outlive the children it has started: they die with it (PDEATHSIG)
	}()
	return <-result
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return os.NewSyscallError("SIOCSIFFLAGS", unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request))
}
