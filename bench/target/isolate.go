package target

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// congestionFile is per network namespace.
const congestionFile = "/proc/sys/net/ipv4/tcp_congestion_control"

// Isolate gives all children from now on a network namespace of their own, with nothing but a loopback device: no traffic,
// ports, packet filters or closed connections of anybody else's, and a congestion control of its own choice ("" leaves the
// machine's). It needs the right to do so (CAP_SYS_ADMIN); after an error children share the machine's network as before.
func Isolate(congestion string) error {
	return onStarter(func() error {
		before, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			return err
		}
		defer before.Close()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("a network namespace of its own: %w", err)
		}
		if err = loopbackUp(); err == nil && congestion != "" {
			err = os.WriteFile(congestionFile, []byte(congestion), 0)
		}
		if err != nil {
			_ = unix.Setns(int(before.Fd()), unix.CLONE_NEWNET)
		}
		return err
	})
}

// Congestion is the TCP congestion control that children get.
func Congestion() (name string) {
	_ = onStarter(func() error {
		b, err := os.ReadFile(congestionFile)
		name = strings.TrimSpace(string(b))
		return err
	})
	return name
}

// loopbackUp switches on the loopback device of a new namespace.
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
	request.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("loopback device: %w", err)
	}
	return nil
}
