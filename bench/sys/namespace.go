package sys

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// threadNet is the calling thread's network namespace, and congestionFile what TCP connections of it run.
const (
	threadNet      = "/proc/thread-self/ns/net"
	congestionFile = "/proc/sys/net/ipv4/tcp_congestion_control"
)

// Namespace is a network namespace of our own (network_namespaces(7)) with a loopback device: no traffic, ports, packet filters
// or closed connections of anybody else's. It is gone, with all its devices, when it is closed and its last socket and
// process have ended. All of this takes CAP_SYS_ADMIN and a locked thread.
type Namespace struct{ file *os.File }

// NewNamespace makes a namespace whose connections run a congestion control, "" = the machine's. The thread stays where it was.
func NewNamespace(congestion string) (*Namespace, error) {
	n := &Namespace{}
	err := excursion(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("a network namespace of its own: %w", err)
		}
		if err := LoopbackUp(); err != nil {
			return err
		}
		if congestion != "" {
			if err := os.WriteFile(congestionFile, []byte(congestion), 0); err != nil {
				return err
			}
		}
		var err error
		n.file, err = os.Open(threadNet)
		return err
	})
	return n, err
}

// excursion calls f, which may change the thread's namespace, and brings the thread back.
func excursion(f func() error) error {
	home, err := os.Open(threadNet)
	if err != nil {
		return err
	}
	defer home.Close()
	err = f()
	return errors.Join(err, unix.Setns(int(home.Fd()), unix.CLONE_NEWNET))
}

// Close lets go of the namespace; nil has none.
func (n *Namespace) Close() {
	if n != nil {
		n.file.Close()
	}
}

// Enter moves the calling thread, and what it starts from then on, into the namespace.
func (n *Namespace) Enter() error { return unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET) }

// Do calls f within the namespace: sockets that f makes and processes that it starts belong there, and stay there.
func (n *Namespace) Do(f func() error) error {
	return excursion(func() error { return errors.Join(n.Enter(), f()) })
}

// Addresses of the two ends of a cable, of a block that is kept for documentation (RFC 5737).
const (
	CableHere  = "192.0.2.1"
	CableThere = "192.0.2.2"
)

// Join lays a cable, a pair of devices of veth(4), from a namespace, where it has the address CableHere, to another, where it has
// CableThere. It needs ip(8).
func (n *Namespace) Join(other *Namespace) error {
	const device = "cable"
	far := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), other.file.Fd())
	err := n.Do(func() error {
		return errors.Join(ip("link add", device, "type veth peer name", device, "netns", far), plug(device, CableHere))
	})
	return errors.Join(err, other.Do(func() error { return plug(device, CableThere) }))
}

func plug(device, address string) error {
	return errors.Join(ip("address add", address+"/30 dev", device), ip("link set", device, "up"))
}

// ip is ip(8) on the calling thread, whose namespace it works in.
func ip(args ...string) error {
	out, err := exec.Command("ip", strings.Fields(strings.Join(args, " "))...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// Congestion is what the TCP connections of the calling thread's namespace run.
func Congestion() (string, error) {
	b, err := os.ReadFile(congestionFile)
	return strings.TrimSpace(string(b)), err
}

// LoopbackUp switches on the loopback device of the calling thread's network namespace.
func LoopbackUp() error {
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
