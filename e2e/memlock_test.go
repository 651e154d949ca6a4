package e2e

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

var users atomic.Int32

// limited starts the subject with limits of prlimit(1) as an ordinary user that nobody else is: what is locked is counted by user.
func limited(t testing.TB, engine string, limits []string, flags ...string) *process {
	t.Helper()
	path, args, opts := command(engine)
	user := 1<<30 | os.Getpid()&0xffff<<12 | int(users.Add(1))
	args = append([]string{"setpriv", fmt.Sprintf("--reuid=%d", user), "--clear-groups", path}, append(args, flags...)...)
	return startProcess(t, "prlimit", append(limits, args...), opts...)
}

func memlock(bytes int) []string { return []string{fmt.Sprintf("--memlock=%d:%d", bytes, bytes)} }

// startsOrSays wants that the child serves, or if its engine must be io_uring, ends with exit code 1 and one line that names the
// limit and how much is wanted. It says which engine serves, "" for none.
func startsOrSays(t *testing.T, u *upstream, engine string, child *process) string {
	t.Helper()
	eventually(t, "the child listens or ends", func() bool { return child.exited() || listening.MatchString(child.errors()) })
	if child.exited() {
		line := oneLine(t, child)
		if child.exit() != 1 || !strings.Contains(line, "locked memory") || !wanted.MatchString(line) || engine != "uring" {
			t.Errorf("exit code %d, %q", child.exit(), line)
		}
		return ""
	}
	onUring := strings.Contains(child.errors(), "engine=uring")
	runs := map[bool]string{true: "uring", false: "epoll"}[onUring]
	p := listens(t, runs, child)
	k := beside(t, p, u)
	ok(t, rally(p.addr, 1, 3, 20))
	k.check()
	p.check()
	warned := strings.Contains(child.errors(), "io_uring is not used") && wanted.MatchString(child.errors())
	if engine == "uring" && !onUring || engine == "auto" && warned == onUring {
		t.Errorf("on %s, it says:\n%s", runs, child.errors())
	}
	return runs
}

// wanted is where a refusal says how much the loops lock.
var wanted = regexp.MustCompile(`rings of all loops lock (\d+) KiB`)

// However little memory may be locked, auto serves, and uring serves or says what it would take.
func TestLittleLockedMemory(t *testing.T) {
	t.Parallel()
	limits := []int{0, 4, 16, 40, 64, 100, 256, 512, 1 << 10}
	if thorough {
		limits = nil
		for kib := 0; kib <= 4<<10; kib += max(12, kib/32&^3) {
			limits = append(limits, kib)
		}
	}
	for _, engine := range []string{"auto", "uring"} {
		for _, zerocopy := range []string{"off", "on"} {
			for loops := 1; loops <= 3; loops++ {
				t.Run(fmt.Sprintf("%s/zerocopy=%s/%d loops", engine, zerocopy, loops), func(t *testing.T) {
					t.Parallel()
					u := newUpstream(t)
					u.serve(echo)
					for _, kib := range limits {
						startsOrSays(t, u, engine, limited(t, engine, memlock(kib<<10), "--listen=127.0.0.1:0", "--forward="+u.addr,
							fmt.Sprintf("--loops=%d", loops), "--zerocopy="+zerocopy))
						if t.Failed() {
							t.Fatalf("with %d KiB", kib)
						}
					}
				})
			}
		}
	}
}

// What a refusal says is wanted is enough, and a page less is not: then the last loop's ring is the one that fails.
func TestWantedLockedMemory(t *testing.T) {
	t.Parallel()
	for _, loops := range []int{1, 3} {
		t.Run(strconv.Itoa(loops), func(t *testing.T) {
			t.Parallel()
			u := newUpstream(t)
			u.serve(echo)
			run := func(engine string, bytes int) *process {
				return limited(t, engine, memlock(bytes), "--listen=127.0.0.1:0", "--forward="+u.addr, fmt.Sprintf("--loops=%d", loops), "--zerocopy=on")
			}
			refusal := run("uring", 0)
			if startsOrSays(t, u, "uring", refusal) != "" {
				// 6.18 counts them (io_create_region charges the user). A kernel that does not has nothing to want.
				if kernelAtLeast(t, 6, 18) {
					t.Fatal("io_uring runs without any locked memory: the limit has not reached the child")
				}
				t.Skip("this kernel does not count rings as locked memory")
			}
			enough, err := strconv.Atoi(wanted.FindStringSubmatch(refusal.errors())[1])
			ok(t, err)
			enough <<= 10
			if on := startsOrSays(t, u, "auto", run("auto", enough)); on != "uring" {
				t.Errorf("with the %d bytes that are wanted it runs on %s", enough, on)
			}
			short := run("auto", enough-os.Getpagesize())
			if on := startsOrSays(t, u, "auto", short); on != "epoll" || !strings.Contains(short.errors(), fmt.Sprintf("loop %d of %d", loops, loops)) {
				t.Errorf("with a page less it runs on %s:\n%s", on, short.errors())
			}
		})
	}
}

// kernelAtLeast says whether the kernel is of this version or a later one.
func kernelAtLeast(t *testing.T, major, minor int) bool {
	t.Helper()
	var name unix.Utsname
	ok(t, unix.Uname(&name))
	var has [2]int
	_, err := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &has[0], &has[1])
	ok(t, err)
	return has[0] > major || has[0] == major && has[1] >= minor
}
