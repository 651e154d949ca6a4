package e2e

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// io_uring is refused in every way a kernel refuses it.
func TestUringRefused(t *testing.T) {
	t.Parallel()
	for _, errno := range []string{"ENOSYS", "EPERM", "ENOMEM", "EINVAL"} {
		t.Run(errno, func(t *testing.T) {
			t.Parallel()
			refused(t, errno, func(args []string, opts ...option) *process {
				return startTraced(t, "io_uring_setup:error="+errno, os.DevNull, args, opts...)
			})
		})
	}
}

// The same by a seccomp filter, with nothing between the proxy and the kernel.
func TestUringSandboxed(t *testing.T) {
	t.Parallel()
	for _, errno := range []string{"ENOSYS", "EPERM"} {
		t.Run(errno, func(t *testing.T) {
			t.Parallel()
			refused(t, errno, func(args []string, opts ...option) *process {
				return startProcess(t, os.Args[0], args, append(opts, withEnv(envSandbox+"="+errno))...)
			})
		})
	}
}

// A kernel that lacks one of the features without which there is no loop on a ring.
func TestUringLacksAFeature(t *testing.T) {
	t.Parallel()
	for _, feature := range []string{"fast-poll", "poll", "cancel", "accept", "connect", "send", "sendmsg", "buffer-ring"} {
		t.Run(feature, func(t *testing.T) {
			t.Parallel()
			refused(t, "step "+feature, func(args []string, opts ...option) *process {
				return startProcess(t, args[0], args[1:], append(opts, withEnv("FOOTEST_RING=without="+feature))...)
			})
		})
	}
}

// The same by the operator: the sysctl is the whole machine's, so this runs in thorough runs alone, and by itself.
func TestUringDisabled(t *testing.T) {
	takesLong(t)
	setSysctl(t, "/proc/sys/kernel/io_uring_disabled", "2")
	refused(t, "EPERM", func(args []string, opts ...option) *process {
		return startProcess(t, args[0], args[1:], opts...)
	})
}

// setSysctl gives a setting of the kernel another value until the test ends. A guard puts the old value back when this process is
// gone, however it ends.
func setSysctl(t *testing.T, path, value string) {
	t.Helper()
	before := strings.TrimSpace(readFile(t, path))
	guard := exec.Command("sh", "-c", "cat; echo "+before+" >"+path)
	alive, err := guard.StdinPipe()
	ok(t, err)
	ok(t, guard.Start())
	t.Cleanup(func() {
		alive.Close()
		ok(t, guard.Wait())
		if now := strings.TrimSpace(readFile(t, path)); now != before {
			t.Errorf("%s is %s and was %s", path, now, before)
		}
	})
	ok(t, os.WriteFile(path, []byte(value), 0o644))
}

// refused wants that auto takes epoll, says so once and why (an errno or a step), and works, and that uring ends with exit code 1
// and the same reason, in one line.
func refused(t *testing.T, why string, run func(args []string, opts ...option) *process) {
	t.Helper()
	u := newUpstream(t)
	u.serve(echo)
	subject := func(engine string) *process {
		path, args, opts := command(engine)
		return run(append([]string{path}, append(args, "--listen=127.0.0.1:0", "--forward="+u.addr)...), opts...)
	}
	p := listens(t, "auto", subject("auto"))
	t.Cleanup(p.check)
	beside(t, p, u)
	ok(t, rally(p.addr, 1, 3, 20))
	warning := regexp.MustCompile(`(?m)^.*level=WARN.*io_uring.*$`).FindAllString(p.errors(), -1)
	if len(warning) != 1 || !strings.Contains(warning[0], why) || !strings.Contains(warning[0], "io_uring_disabled") {
		t.Errorf("the warnings about io_uring are %q, want one that names %s and io_uring_disabled", warning, why)
	}
	child := subject("uring")
	code := child.exit()
	if line := oneLine(t, child); code != 1 || !strings.Contains(line, why) || !strings.Contains(line, "io_uring_disabled") {
		t.Errorf("--engine=uring ends with code %d and %q", code, line)
	}
}
