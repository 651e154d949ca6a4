package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// contrib is a file of what is meant to be deployed with.
func contrib(path string) string { return filepath.Join("..", "contrib", path) }

// profile is a container's seccomp profile, as far as this one goes.
type profile struct {
	DefaultAction   string
	DefaultErrnoRet int
	ArchMap         []struct {
		Architecture     string
		SubArchitectures []string
	}
	Syscalls []struct {
		Comment, Action string
		Names           []string
	}
}

func readProfile(t *testing.T) (p profile, allowed []string) {
	t.Helper()
	in := json.NewDecoder(strings.NewReader(readFile(t, contrib("container/seccomp.json"))))
	in.DisallowUnknownFields()
	ok(t, in.Decode(&p))
	for _, group := range p.Syscalls {
		if group.Action != "SCMP_ACT_ALLOW" || group.Comment == "" || len(group.Names) == 0 {
			t.Errorf("a group of the profile is %+v", group)
		}
		allowed = append(allowed, group.Names...)
	}
	slices.Sort(allowed)
	return p, allowed
}

// The profile allows by name and nothing else, and has what io_uring needs.
func TestSeccompProfile(t *testing.T) {
	p, allowed := readProfile(t)
	if p.DefaultAction != "SCMP_ACT_ERRNO" || p.DefaultErrnoRet != 1 || len(p.ArchMap) != 2 {
		t.Errorf("the profile is %+v", p)
	}
	for _, name := range []string{"io_uring_setup", "io_uring_enter", "io_uring_register"} {
		if !slices.Contains(allowed, name) {
			t.Errorf("%s is not allowed", name)
		}
	}
	for i, name := range allowed {
		if i > 0 && name == allowed[i-1] {
			t.Errorf("%s is listed twice", name)
		}
		if !regexp.MustCompile(`^[a-z][a-z0-9_]+$`).MatchString(name) {
			t.Errorf("%q is no system call", name)
		}
	}
	for _, name := range []string{"ptrace", "mount", "bpf", "init_module", "unshare", "setns", "keyctl", "perf_event_open"} {
		if slices.Contains(allowed, name) {
			t.Errorf("%s is allowed", name)
		}
	}
}

var tracedCall = regexp.MustCompile(`(?m)^\d+ +([a-z0-9_]+)\(`)

// Whatever either engine does in its life, from the start to the drained end, is in the profile.
func TestSeccompProfileHasEveryCall(t *testing.T) {
	_, allowed := readProfile(t)
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		u.serve(echo)
		dir := t.TempDir()
		trace := filepath.Join(dir, "trace")
		path, args, opts := command(engine)
		args = append([]string{"-f", "-o", trace, path}, args...)
		args = append(args, "--listen=127.0.0.1:0", "--forward="+u.addr, "--loops=2",
			"--arbitrary=tunnel", "--log="+filepath.Join(dir, "log"), "--log-data=255", "--pidfile="+filepath.Join(dir, "pid"))
		child := startProcess(t, "strace", args, append(opts, func(c *exec.Cmd) {
			c.Args[4] = strings.Replace(c.Args[4], "fooproxy", "fooproxy-plain", 1)
		})...)
		addr := awaitAddr(t, child)
		const conns = 4
		ok(t, forAll(conns, func(i int) error { return rally(addr, i, 2, 20) }))
		c := dial(t, addr, 0)
		long := []byte(strings.Repeat("REQ 1 "+strings.Repeat("\x01", 255)+"\n", 5000)) // a log of 10 MB: then its page cache is trimmed
		ok(t, together(
			func() error { return c.send(long) },
			func() error { return c.expect(answersTo(long)) },
		))
		c.Close()
		c = dial(t, addr, 0)
		ok(t, c.send([]byte("no Foo at all\n")))
		c.Close()
		pid := strings.TrimSpace(readFile(t, filepath.Join(dir, "pid")))
		for _, signal := range []string{"-USR1", "-HUP", "-TERM"} {
			ok(t, exec.Command("kill", signal, pid).Run())
		}
		if code := child.exit(); code != 0 {
			t.Errorf("exit code %d:\n%s", code, child.errors())
		}
		seen := map[string]bool{}
		for _, m := range tracedCall.FindAllStringSubmatch(readFile(t, trace), -1) {
			seen[m[1]] = true
		}
		for name := range seen {
			if !slices.Contains(allowed, name) {
				t.Errorf("%s is used and not allowed", name)
			}
		}
		if len(seen) < 20 || seen["io_uring_enter"] != (engineOf(engine) == "uring") {
			t.Errorf("the trace has only %v", seen)
		}
	})
}

// The units are what systemd understands, and what the documentation says of their rating holds.
func TestSystemdUnits(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Fatal("systemd-analyze is missing: install the package systemd, or run .ci/run, which does")
	}
	dir := t.TempDir()
	for _, name := range []string{"fooproxy.service", "fooproxy.socket"} {
		unit := strings.Replace(readFile(t, contrib("systemd/"+name)), "/usr/bin/fooproxy ", "/bin/true ", 1)
		ok(t, os.WriteFile(filepath.Join(dir, name), []byte(unit), 0o600))
	}
	service, socket := filepath.Join(dir, "fooproxy.service"), filepath.Join(dir, "fooproxy.socket")
	out, err := exec.Command("systemd-analyze", "verify", service, socket).CombinedOutput()
	if err != nil || len(bytes.TrimSpace(out)) > 0 {
		t.Errorf("verify: %v\n%s", err, out)
	}
	// The threshold is in tenths: an exposure above 2.0 of 10 fails.
	if out, err := exec.Command("systemd-analyze", "security", "--offline=yes", "--threshold=20", service).CombinedOutput(); err != nil {
		t.Errorf("security: %v\n%s", err, out)
	}
}
