package ring

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A kernel that must have a feature has it. A probe that is broken fails here instead of hiding as a fallback.
func TestProbeFindsWhatTheKernelMustHave(t *testing.T) {
	p := Probe(Options{})
	if p.version == (version{}) {
		t.Fatalf("no version in the kernel's release %q", p.Kernel)
	}
	for f := range featureCount {
		r := p.Result(f)
		if !p.version.before(features[f].since) && r.State != Yes {
			t.Errorf("%v: %v (%v, %s), but Linux %v has it since %v", f, r.State, r.Errno, r.Reason, p.Kernel, features[f].since)
		}
		if r.State == Yes && r != (Result{State: Yes}) {
			t.Errorf("%v is there, and yet %+v", f, r)
		}
	}
	if err := p.Err(); err != nil {
		t.Error(err)
	}
	if got := p.Params(Params{Entries: 3}); got != (Params{Entries: 3}) {
		t.Errorf("parameters %+v", got)
	}
	if p.Memlock.Hard < p.Memlock.Soft || p.Nofile.Soft == 0 {
		t.Errorf("limits %+v and %+v", p.Memlock, p.Nofile)
	}
}

func TestProbeLeavesNothingBehind(t *testing.T) {
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	Probe(Options{})
	before := count()
	for range 3 {
		Probe(Options{})
	}
	if after := count(); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

// Each feature can be taken away; what needs it goes too, the rest stays, and the ring that is set up accordingly works.
func TestProbeWithout(t *testing.T) {
	for f := range featureCount {
		t.Run(f.String(), func(t *testing.T) {
			p := Probe(Options{Without: []Feature{f}})
			for g := range featureCount {
				gone := g == f || dependsOn(g, f)
				if p.Has(g) == gone {
					t.Errorf("%v: %+v", g, p.Result(g))
				}
				if gone && p.Result(g).Reason == "" {
					t.Errorf("%v is missing without a reason", g)
				}
			}
			if f == FeatRecvBundle && p.Has(FeatRecvBundleInc) || f == FeatBufRing && p.Has(FeatRecvMultishot) {
				t.Error("what needs it is still there")
			}
			checkErr(t, p, f)
			if f == FeatSetup {
				return
			}
			r := newRing(t, p.Params(Params{}))
			if r.Flags()&features[f].flag != 0 {
				t.Errorf("the ring has flags %#x", r.Flags())
			}
			r.PrepNop(1)
			awaitOne(t, r, 1, 0)
		})
	}
}

func dependsOn(f, on Feature) bool {
	return slices.ContainsFunc(features[f].needs, func(need Feature) bool { return need == on || dependsOn(need, on) })
}

// checkErr expects an error exactly when a required feature is missing, of the first of them.
func checkErr(t *testing.T, p *Report, f Feature) {
	t.Helper()
	err := p.Err()
	var u *Unusable
	if !features[f].required {
		if err != nil {
			t.Errorf("unusable without %v: %v", f, err)
		}
		return
	}
	if !errors.As(err, &u) || u.Step != f || !strings.Contains(u.Remedy, "option") {
		t.Errorf("error %v", err)
	}
}

func TestProbeInASandbox(t *testing.T) {
	disabled := "; kernel.io_uring_disabled is " + fmt.Sprint(readDisabled())
	noSuchCall := "CONFIG_IO_URING"
	if readDisabled() >= 0 {
		noSuchCall = "seccomp" // as Podman's default profile answers
	}
	for _, c := range []struct {
		number int
		errno  unix.Errno
		want   []string
	}{
		{unix.SYS_IO_URING_SETUP, unix.EPERM, []string{"step setup: io_uring_setup: operation not permitted (EPERM)" + disabled, "seccomp"}},
		// What is not implemented here is io_uring: these are strerror(3)'s words for what a kernel without it answers.
		{unix.SYS_IO_URING_SETUP, unix.ENOSYS, []string{"step setup: io_uring_setup: function not implemented (ENOSYS)", noSuchCall}},
		{unix.SYS_IO_URING_SETUP, unix.ENOMEM, []string{"step setup: io_uring_setup: cannot allocate memory (ENOMEM)", "ulimit -l"}},
		{unix.SYS_IO_URING_SETUP, unix.EINVAL, []string{"step setup: io_uring_setup: invalid argument (EINVAL)", "another kernel"}},
		{unix.SYS_IO_URING_SETUP, unix.EMFILE, []string{"step setup", "ulimit -n"}},
		{unix.SYS_IO_URING_ENTER, unix.EPERM, []string{"step setup: io_uring_enter: operation not permitted (EPERM)", "seccomp"}},
		{unix.SYS_IO_URING_REGISTER, unix.EPERM, []string{"step buffer-ring: registering a buffer ring: io_uring_register", "seccomp"}},
	} {
		got := probeIn(t, fmt.Sprintf("%d %d", c.number, uint(c.errno)), nil)
		first, rest, _ := strings.Cut(got, "\n")
		for _, want := range append(c.want, "io_uring is not usable: step ", "; remedy: ") {
			if !strings.Contains(first, want) {
				t.Errorf("system call %d with %v: error %q lacks %q", c.number, c.errno, first, want)
			}
		}
		if !strings.Contains(rest, "engine auto         epoll: "+first) {
			t.Errorf("system call %d with %v: report\n%s", c.number, c.errno, rest)
		}
		unknown := strings.Contains(rest, "setup               unknown")
		if want := slices.Contains([]unix.Errno{unix.ENOMEM, unix.EMFILE}, c.errno); unknown != want {
			t.Errorf("system call %d with %v: set-up unknown is %v, want %v", c.number, c.errno, unknown, want)
		}
	}
}

// A network namespace in which not even loopback is up says nothing about io_uring.
func TestProbeWithoutLoopback(t *testing.T) {
	ids := []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
	got := probeIn(t, "plain", &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNET, UidMappings: ids, GidMappings: ids,
	})
	if !strings.HasPrefix(got, "<nil>\n") || !strings.Contains(got, "send-zc             unknown") {
		t.Errorf("report\n%s", got)
	}
}

func TestReportText(t *testing.T) {
	p := &Report{Kernel: "5.19.2-x", version: version{5, 19}, Disabled: 2, Memlock: Limit{64 << 10, ^uint64(0)}, Nofile: Limit{1024, 4096}}
	for f := range featureCount {
		p.results[f] = Result{State: Yes}
	}
	p.results[FeatRecvMultishot] = Result{State: No, Errno: unix.EINVAL, Reason: "invalid argument"}
	p.results[FeatRecvBundle] = Result{State: No, Errno: unix.EINVAL, Reason: "needs recv-multishot"}
	text := p.String()
	for _, want := range []string{
		"kernel              5.19.2-x\n",
		"io_uring_disabled   2\n",
		"memlock             64 KiB, at most unlimited\n",
		"nofile              1024, at most 4096\n",
		"recv-multishot      no       6.0    invalid argument\n",
		"recv-bundle         no       6.10   needs recv-multishot\n",
		"accept              yes      5.5\n",
		"engine auto         uring\n",
		"to gain             many buffers with one completion (recv-bundle): run Linux 6.0 or later\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	p.results[FeatSetup] = Result{State: No, Errno: unix.EPERM, Reason: "io_uring_setup: operation not permitted"}
	const want = "io_uring is not usable: step setup: io_uring_setup: operation not permitted (EPERM); " +
		"kernel.io_uring_disabled is 2; remedy: sysctl kernel.io_uring_disabled=0"
	if err := p.Err(); err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	p.Disabled = 1
	if err := p.Err(); !strings.Contains(err.Error(), "io_uring_group") {
		t.Errorf("error %v names no group", err)
	}
}

func TestParseFeature(t *testing.T) {
	for f := range featureCount {
		if g, err := ParseFeature(f.String()); g != f || err != nil {
			t.Errorf("%v is read as %v, %v", f, g, err)
		}
	}
	if _, err := ParseFeature("warp"); err == nil || !strings.Contains(err.Error(), "recv-bundle") {
		t.Errorf("error %v does not say what there is", err)
	}
}

func TestParseVersion(t *testing.T) {
	for release, want := range map[string]version{
		"6.18.44-fc": {6, 18}, "5.4": {5, 4}, "10.0-rc1": {10, 0}, "": {}, "linux": {}, "6": {},
	} {
		if got := parseVersion(release); got != want {
			t.Errorf("%q is version %v, want %v", release, got, want)
		}
	}
	if (version{6, 1}).before(version{6, 0}) || !(version{5, 19}).before(version{6, 0}) || !(version{6, 1}).before(version{6, 10}) {
		t.Error("versions are in the wrong order")
	}
}

// saboteur does to a stream what a broken kernel might.
type saboteur struct {
	lab  *lab
	bend func(l *lab, c *CQE)
}

func (s *saboteur) Submission(*SQE)   {}
func (s *saboteur) Enter() unix.Errno { return 0 }
func (s *saboteur) Completions(batch []CQE) {
	for i := range batch {
		s.bend(s.lab, &batch[i])
	}
}

// An end right behind data is seen here, and what is no end is not taken for one.
func TestEndWithData(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for flags, want := range map[uint32]string{0: "", FlagMore: "where the end should be"} {
		l := &lab{params: Params{Entries: 8, CQEntries: 32}, patience: patience}
		if err := l.open(); err != nil {
			t.Fatal(err)
		}
		l.r.SetHook(&saboteur{l, func(_ *lab, c *CQE) {
			if c.Res <= 0 {
				c.Flags |= flags
			}
		}})
		if err := l.endWithData(); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("with flags %#x at the end: %v, want %q", flags, err, want)
		}
		l.clean()
	}
}

// The self-test notices each way in which a kernel may get a stream wrong.
func TestSelfTestCanFail(t *testing.T) {
	for name, c := range map[string]struct {
		bend func(*lab, *CQE)
		want string
	}{
		"nothing": {func(*lab, *CQE) {}, ""},
		"order in a bundle": {func(l *lab, c *CQE) {
			if id, ok := c.Buffer(); ok && c.Res > streamSize {
				b := l.r.bufRings[0]
				first, next := b.Buffer(b.order[id]), b.Buffer(b.order[(id+1)&b.mask])
				first[0], next[0] = next[0], first[0]
			}
		}, "data reordered"},
		"bytes left out": {func(_ *lab, c *CQE) {
			if c.Res > 1 {
				c.Res--
			}
		}, "data reordered"},
		"a buffer not told of": {func(_ *lab, c *CQE) {
			if c.Res > 0 {
				c.Flags &^= FlagBuffer
			}
		}, "in time"},
		"an error": {func(_ *lab, c *CQE) {
			if c.Res == 0 {
				c.Res = -int32(unix.EIO)
			}
		}, "input/output error"},
		"an end too early": {func(_ *lab, c *CQE) {
			if c.Errno() == unix.ENOBUFS {
				c.Res = 0
			}
		}, "the stream ended after"},
		"a promise after the end": {func(_ *lab, c *CQE) {
			if c.Res == 0 {
				c.Flags |= FlagMore
			}
		}, "says it goes on"},
		"a buffer it does not have": {func(_ *lab, c *CQE) {
			if c.Res > 0 {
				c.Flags = c.Flags&0xffff | 1000<<bufferShift
			}
		}, "completion with buffer id 1000"},
	} {
		t.Run(name, func(t *testing.T) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			l := &lab{params: Params{Entries: 8}, patience: labPatience / 10}
			defer l.clean()
			err := attempt(l, func(l *lab) error {
				if err := l.open(); err != nil {
					return err
				}
				l.r.SetHook(&saboteur{l, c.bend})
				return l.selfTest(stream{multishot: true, bundle: true})
			})
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}
