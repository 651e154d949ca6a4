package ring

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Options change what Probe finds, for tests.
type Options struct {
	Without []Feature // to be found missing, and with them what needs them
}

// Limit is a resource limit of the process.
type Limit struct{ Soft, Hard uint64 }

const reasonOff = "switched off by an option"

// Report is what Probe found out. It does not change.
type Report struct {
	Kernel   string // release, as uname(2) tells it
	Disabled int    // the value of sysctl kernel.io_uring_disabled (6.6); -1 if there is none
	Memlock  Limit  // bytes that may be pinned
	Nofile   Limit  // descriptors

	version version
	results [featureCount]Result
	grace   *Grace
}

// Probe tries every feature on rings of its own, in some milliseconds: set-up flags by setting up, operations by doing
// them over loopback, receive paths by a self-test that checks data, order across many wraps, starvation and the end. It
// runs on a thread of its own and leaves nothing behind.
func Probe(o Options) *Report {
	p := &Report{
		Disabled: readDisabled(), Memlock: limit(unix.RLIMIT_MEMLOCK), Nofile: limit(unix.RLIMIT_NOFILE),
		grace: NewGrace(),
	}
	var uts unix.Utsname
	if unix.Uname(&uts) == nil {
		p.Kernel = unix.ByteSliceToString(uts.Release[:])
		p.version = parseVersion(p.Kernel)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // a ring belongs to its thread
		defer runtime.UnlockOSThread()
		for f := range featureCount {
			p.results[f] = p.tryFeature(f, o)
		}
	}()
	<-done
	return p
}

func (p *Report) tryFeature(f Feature, o Options) Result {
	about := &features[f]
	if slices.Contains(o.Without, f) {
		return Result{State: No, Reason: reasonOff}
	}
	if need, ok := p.lacks(f); ok {
		return Result{State: p.results[need].State, Errno: p.results[need].Errno, Reason: "needs " + need.String()}
	}
	return judge(p.grace.Try(func() error {
		l := &lab{params: p.Params(Params{Entries: 8, CQEntries: 32, Iovecs: 2}), patience: labPatience}
		defer l.clean()
		if about.op != 0 && !l.announced(about.op) {
			return fmt.Errorf("the kernel does not announce opcode %d", about.op)
		}
		return attempt(l, about.try)
	}))
}

// lacks is the first feature that f needs and that is not there.
func (p *Report) lacks(f Feature) (Feature, bool) {
	for _, need := range features[f].needs {
		if !p.Has(need) {
			return need, true
		}
	}
	return 0, false
}

// attempt makes an error of a panic: a kernel that hands out buffers it does not have must not bring the process down.
func attempt(l *lab, try func(*lab) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	return try(l)
}

// judge decides what an attempt that ended with err says about the kernel.
func judge(err error) Result {
	if err == nil {
		return Result{State: Yes}
	}
	res := Result{State: No, Reason: err.Error()}
	errors.As(err, &res.Errno)
	var call *os.SyscallError
	res.mapping = errors.As(err, &call) && call.Syscall == "mmap"
	switch res.Errno {
	case unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ENOBUFS, unix.EAGAIN, unix.EADDRNOTAVAIL, unix.ENETUNREACH, unix.ENETDOWN,
		unix.EOPNOTSUPP: // the sockets at hand do not do it: unix ones where TCP is not to be had
		res.State = Unknown
	}
	if errors.Is(err, errLate) || errors.Is(err, errNoProof) {
		res.State = Unknown
	}
	return res
}

// Has tells whether a feature is there for certain.
func (p *Report) Has(f Feature) bool { return p.results[f].State == Yes }

// Result is all that is known of a feature.
func (p *Report) Result(f Feature) Result { return p.results[f] }

// Params are base without the set-up flags that are missing or switched off.
func (p *Report) Params(base Params) Params {
	for f := range featureCount {
		if p.results[f].State != Yes && p.results[f].Reason != "" {
			base.Without |= features[f].flag
		}
	}
	return base
}

func readDisabled() int {
	text, err := os.ReadFile("/proc/sys/kernel/io_uring_disabled")
	if err != nil {
		return -1
	}
	value, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return -1
	}
	return value
}

func limit(resource int) Limit {
	var r unix.Rlimit
	if unix.Getrlimit(resource, &r) != nil {
		return Limit{}
	}
	return Limit{Soft: r.Cur, Hard: r.Max}
}
