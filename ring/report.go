package ring

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// String renders the report for people: kernel, limits, every feature, the engine that auto chooses, and what it would
// take to have more. Many lines, the last one ends with LF.
func (p *Report) String() string {
	var s strings.Builder
	disabled := "absent"
	if p.Disabled >= 0 {
		disabled = fmt.Sprint(p.Disabled)
	}
	fmt.Fprintf(&s, "kernel              %s\n", p.Kernel)
	fmt.Fprintf(&s, "io_uring_disabled   %s\n", disabled)
	fmt.Fprintf(&s, "memlock             %s, at most %s\n", bytesText(p.Memlock.Soft), bytesText(p.Memlock.Hard))
	fmt.Fprintf(&s, "nofile              %d, at most %d\n\n", p.Nofile.Soft, p.Nofile.Hard)
	fmt.Fprintf(&s, "%-20s%-9s%-7s%s\n", "feature", "state", "since", "why not")
	for f := range featureCount {
		line := fmt.Sprintf("%-20v%-9v%-7v%s", f, p.results[f].State, features[f].since, p.results[f].Reason)
		s.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	engine := "uring"
	if err := p.Err(); err != nil {
		engine = "epoll: " + err.Error()
	}
	fmt.Fprintf(&s, "\nengine auto         %s\n", engine)
	for _, a := range p.Advice() {
		fmt.Fprintf(&s, "to gain             %s\n", a)
	}
	return s.String()
}

// Advice says for each missing feature that a loop could use what it would bring and what would make it available.
func (p *Report) Advice() (lines []string) {
	for f := range featureCount {
		if about := &features[f]; p.results[f].State != Yes {
			lines = append(lines, fmt.Sprintf("%s (%v): %s", about.gain, f, p.remedy(f)))
		}
	}
	return lines
}

func bytesText(n uint64) string {
	if n == ^uint64(0) {
		return "unlimited"
	}
	return fmt.Sprintf("%d KiB", n>>10)
}

// Unusable says why there can be no loop on a ring.
type Unusable struct {
	Step     Feature
	Errno    unix.Errno // 0 if no system call failed
	Reason   string
	Disabled int // as in Report
	Remedy   string
}

func (u *Unusable) Error() string {
	s := "io_uring is not usable: step " + u.Step.String() + ": " + u.Reason
	if u.Errno != 0 {
		s += " (" + unix.ErrnoName(u.Errno) + ")"
	}
	if u.Disabled >= 0 {
		s += fmt.Sprintf("; kernel.io_uring_disabled is %d", u.Disabled)
	}
	return s + "; remedy: " + u.Remedy
}

// Err is nil if everything a loop on a ring cannot do without is there, else the *Unusable that names the first step that
// failed, on one line.
func (p *Report) Err() error {
	for f := range featureCount {
		if features[f].required && !p.Has(f) {
			return p.unusable(f, p.results[f], p.remedy(f))
		}
	}
	return nil
}

func (p *Report) unusable(f Feature, r Result, remedy string) *Unusable {
	return &Unusable{Step: f, Errno: r.Errno, Reason: r.Reason, Disabled: p.Disabled, Remedy: remedy}
}

// Failed says what it means that err has kept a loop from a feature that the probe has found.
func (p *Report) Failed(f Feature, err error) *Unusable {
	now := *p
	now.Disabled = readDisabled()
	r := judge(err)
	return now.unusable(f, r, now.remedyFor(f, r))
}

// remedy says what would make a feature that is missing available.
func (p *Report) remedy(f Feature) string {
	if need, ok := p.lacks(f); ok {
		return p.remedy(need)
	}
	return p.remedyFor(f, p.results[f])
}

func (p *Report) remedyFor(f Feature, r Result) string {
	switch {
	case r.Reason == reasonOff:
		return "leave out the option that switches it off"
	case r.Errno == unix.ENOSYS && p.Disabled < 0: // a kernel that has the sysctl has io_uring: then a seccomp filter says so
		return "run Linux 6.1 or later, built with CONFIG_IO_URING"
	case r.Errno == unix.EPERM && p.Disabled == 2:
		return "sysctl kernel.io_uring_disabled=0"
	case r.Errno == unix.EPERM && p.Disabled == 1:
		return "sysctl kernel.io_uring_disabled=0, or run with a group that kernel.io_uring_group names, or with CAP_SYS_ADMIN"
	case r.Errno == unix.EPERM || r.Errno == unix.EACCES || r.Errno == unix.ENOSYS:
		return "let the sandbox allow io_uring_setup, io_uring_enter and io_uring_register " +
			"(a container's default seccomp profile forbids them; so may a security module)"
	case r.Errno == unix.ENOMEM && r.mapping:
		return "raise the limit on address space (ulimit -v, LimitAS=), or sysctl vm.max_map_count"
	case r.Errno == unix.ENOMEM:
		return fmt.Sprintf("raise the limit on locked memory, which is %s (ulimit -l, LimitMEMLOCK=)", bytesText(p.Memlock.Soft))
	case r.Errno == unix.EMFILE:
		return fmt.Sprintf("raise the limit on descriptors, which is %d (ulimit -n, LimitNOFILE=)", p.Nofile.Soft)
	case r.Errno == unix.ENFILE:
		return "raise sysctl fs.file-max"
	case p.version.before(features[f].since):
		return fmt.Sprintf("run Linux %v or later", features[f].since)
	case r.State == Unknown:
		return "none known; look again later"
	default:
		return "none known; run another kernel"
	}
}
