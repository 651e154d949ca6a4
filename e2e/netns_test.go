package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"fooproxy/bench/sys"
)

// network is a network namespace with a loopback of its own, held by a thread until the test ends. Making it takes root.
type network struct {
	calls chan func()
	file  *os.File
}

func newNetwork(t *testing.T) *network {
	t.Helper()
	n := &network{calls: make(chan func())}
	made := make(chan error)
	go func() {
		// A thread in another namespace must run nothing else. It goes back at the end instead of ending: children that it has
		// started would die with it (PDEATHSIG), those of other tests too.
		runtime.LockOSThread()
		home, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			made <- err
			return
		}
		defer home.Close()
		if err := os.NewSyscallError("unshare", unix.Unshare(unix.CLONE_NEWNET)); err != nil {
			made <- err
			return
		}
		if n.file, err = os.Open("/proc/thread-self/ns/net"); err != nil {
			made <- err
			return
		}
		defer n.file.Close()
		made <- sys.LoopbackUp()
		for f := range n.calls {
			f()
		}
		if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
			panic(fmt.Sprintf("the thread cannot leave its network namespace: %v", err))
		}
		runtime.UnlockOSThread()
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

// visit is do for what may take its time and starts nothing that is to live on: it keeps nobody else waiting.
func (n *network) visit(f func() error) error {
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer home.Close()
	if err := os.NewSyscallError("setns", unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET)); err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer func() {
		if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
			panic(fmt.Sprintf("the thread cannot leave its network namespace: %v", err))
		}
		runtime.UnlockOSThread()
	}()
	return f()
}

// drop makes the kernel of the namespace drop TCP packets to and from a port: each one, or one in so many at random, but none of
// the connections from some addresses.
func (n *network) drop(port, oneIn int, spared ...string) error {
	chance := ""
	if oneIn > 1 {
		chance = fmt.Sprintf("numgen random mod %d == 0 ", oneIn)
	}
	var rules []string
	for _, addr := range spared {
		_, from, _ := net.SplitHostPort(addr)
		rules = append(rules, "tcp sport "+from+" accept", "tcp dport "+from+" accept")
	}
	return n.filter(append(rules,
		fmt.Sprintf("tcp dport %d %scounter drop", port, chance), fmt.Sprintf("tcp sport %d %scounter drop", port, chance))...)
}

var counted = regexp.MustCompile(`counter packets (\d+)`)

// struck is how many packets have met a rule that counts, since filter was called last.
func (n *network) struck(t testing.TB) (packets int) {
	t.Helper()
	var out []byte
	ok(t, n.do(func() (err error) {
		out, err = exec.Command("nft", "list", "table", "ip", "faults").Output()
		return err
	}))
	for _, m := range counted.FindAllSubmatch(out, -1) {
		count, err := strconv.Atoi(string(m[1]))
		ok(t, err)
		packets += count
	}
	return packets
}

// filter has the namespace's packets go through these rules of nft(8), instead of any before.
func (n *network) filter(rules ...string) error {
	script := "add table ip faults\ndelete table ip faults\nadd table ip faults\n" +
		"add chain ip faults in { type filter hook input priority 0; }\n"
	for _, rule := range rules {
		script += "add rule ip faults in " + rule + "\n"
	}
	return n.do(func() error {
		out, err := exec.Command("nft", script).CombinedOutput()
		if err != nil {
			return fmt.Errorf("nft: %w\n%s", err, out)
		}
		return nil
	})
}
