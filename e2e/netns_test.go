package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// network is a network namespace with a loopback of its own, held by a thread until the test ends. Making it takes root.
type network struct{ calls chan func() }

func newNetwork(t *testing.T) *network {
	t.Helper()
	n := &network{make(chan func())}
	made := make(chan error)
	go func() {
		// Never unlocked: a thread in another namespace must run nothing else, and ends with this goroutine. Children that it
		// has started die with it (PDEATHSIG), so it must outlive them.
		runtime.LockOSThread()
		if err := os.NewSyscallError("unshare", unix.Unshare(unix.CLONE_NEWNET)); err != nil {
			made <- err
			return
		}
		made <- loopbackUp()
		for f := range n.calls {
			f()
		}
	}()
	ok(t, <-made)
	t.Cleanup(func() { close(n.calls) })
	return n
}

// do runs f on the namespace's thread: sockets that f makes and processes that it starts belong there, and stay there.
func (n *network) do(f func() error) error {
	result := make(chan error)
	n.calls <- func() {
		err := errors.New("the test ended in here")
		defer func() { result <- err }()
		err = f()
	}
	return <-result
}

// drop makes the kernel of the namespace drop TCP packets to and from a port: each one, or one in so many at random.
func (n *network) drop(port, oneIn int) error {
	chance := ""
	if oneIn > 1 {
		chance = fmt.Sprintf("numgen random mod %d == 0 ", oneIn)
	}
	rules := fmt.Sprintf("add table ip faults\n"+
		"add chain ip faults in { type filter hook input priority 0; }\n"+
		"add rule ip faults in tcp dport %d %sdrop\nadd rule ip faults in tcp sport %d %sdrop\n", port, chance, port, chance)
	return n.do(func() error {
		out, err := exec.Command("nft", rules).CombinedOutput()
		if err != nil {
			return fmt.Errorf("nft: %w\n%s", err, out)
		}
		return nil
	})
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
