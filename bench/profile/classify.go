package profile

import (
	"cmp"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/google/pprof/profile"
)

// Class is a part of the proxy that time is charged to.
type Class string

// The classes, in the order they are printed.
const (
	Kernel     Class = "kernel entry"
	Scanning   Class = "scanning"
	Statistics Class = "statistics"
	Logging    Class = "logging"
	Loop       Class = "loop"
	Runtime    Class = "Go runtime"
	Other      Class = "other"
)

var classes = []Class{Kernel, Scanning, Statistics, Logging, Loop, Runtime, Other}

// byPackage charges packages of the module fooproxy.
var byPackage = map[string]Class{
	"codec": Scanning, "stats": Statistics, "accesslog": Logging, "proxy": Loop, "ring": Loop, "cmd": Other, "main": Other,
	"admin": Other,
}

// byFile charges files of package proxy that serve something else than the loop.
var byFile = map[string]Class{"inspect.go": Scanning, "track.go": Logging, "records.go": Logging}

// helpers are functions of the runtime that do the work of whoever calls them; the rest of the runtime is charged to
// itself: allocation, garbage collection, the scheduler.
var helpers = []string{
	"runtime.memmove", "runtime.memclr", "runtime.memequal", "runtime.duff", "runtime.panicIndex", "runtime.nanotime",
	"runtime.cmpstring", "indexbytebody", "memeqbody", "cmpbody", "countbody",
}

// Share is a class with its part of the samples.
type Share struct {
	Class Class
	Part  float64
	Top   []Entry // its functions with the most samples
}

// Entry is a function with its part of all samples.
type Entry struct {
	Name string
	Part float64
}

// Classify charges every sample of a CPU profile to one class, by its innermost frame that decides: a system call is kernel
// entry whoever makes it; a helper of the runtime counts for its caller.
func Classify(p *profile.Profile) []Share {
	value := len(p.SampleType) - 1 // the last one is the default: CPU nanoseconds
	sums := map[Class]int64{}
	functions := map[Class]map[string]int64{}
	total := int64(0)
	for _, s := range p.Sample {
		class, name := charge(frames(s))
		v := s.Value[value]
		total += v
		sums[class] += v
		if functions[class] == nil {
			functions[class] = map[string]int64{}
		}
		functions[class][name] += v
	}
	var shares []Share
	for _, c := range classes {
		share := Share{Class: c}
		if total > 0 {
			share.Part = float64(sums[c]) / float64(total)
			share.Top = top(functions[c], total)
		}
		shares = append(shares, share)
	}
	return shares
}

func top(functions map[string]int64, total int64) (entries []Entry) {
	for name, v := range functions {
		entries = append(entries, Entry{name, float64(v) / float64(total)})
	}
	slices.SortFunc(entries, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(b.Part, a.Part), strings.Compare(a.Name, b.Name))
	})
	return entries[:min(len(entries), 5)]
}

// frame is one function of a stack.
type frame struct{ name, file string }

// frames lists a sample's stack, innermost first, inlined functions included.
func frames(s *profile.Sample) (stack []frame) {
	for _, location := range s.Location {
		for _, line := range location.Line {
			if line.Function != nil {
				stack = append(stack, frame{line.Function.Name, line.Function.Filename})
			}
		}
	}
	return stack
}

// charge finds the class of a stack, and the function to name: for the kernel, who called it.
func charge(stack []frame) (Class, string) {
	if len(stack) == 0 {
		return Other, "?"
	}
	if isSystemCall(stack[0].name) {
		for _, f := range stack {
			if !isSystemCall(f.name) && !strings.HasPrefix(f.name, "syscall.") && !strings.Contains(f.name, "x/sys/unix.") {
				return Kernel, f.name
			}
		}
		return Kernel, stack[0].name
	}
	for _, f := range stack {
		if class, decided := classOf(f); decided {
			return class, f.name
		}
	}
	return Other, stack[0].name
}

func isSystemCall(name string) bool {
	return strings.HasPrefix(name, "internal/runtime/syscall") || strings.HasPrefix(name, "syscall.RawSyscall") ||
		strings.HasPrefix(name, "syscall.rawVforkSyscall") || strings.HasPrefix(name, "runtime.futex") ||
		strings.HasPrefix(name, "runtime.epollwait") || strings.HasPrefix(name, "runtime.usleep")
}

// classOf is the class that a function decides on; helpers and functions of other libraries leave it to their callers.
func classOf(f frame) (Class, bool) {
	if rest, own := strings.CutPrefix(f.name, "fooproxy/"); own {
		pkg := rest[:strings.IndexAny(rest+".", "./")]
		if class, known := byFile[path.Base(f.file)]; known && pkg == "proxy" {
			return class, true
		}
		class, known := byPackage[pkg]
		return class, known
	}
	if slices.ContainsFunc(helpers, func(h string) bool { return strings.HasPrefix(f.name, h) }) {
		return "", false
	}
	if strings.HasPrefix(f.name, "runtime.") || strings.HasPrefix(f.name, "internal/runtime/") || strings.HasPrefix(f.name, "gcWriteBarrier") {
		return Runtime, true
	}
	return "", false
}

// WriteShares prints the classes.
func WriteShares(w io.Writer, shares []Share) {
	for _, s := range shares {
		fmt.Fprintf(w, "  %5.1f %%  %-13s", 100*s.Part, s.Class)
		for _, e := range s.Top {
			if e.Part >= 0.005 {
				fmt.Fprintf(w, "  %s %.1f", shortName(e.Name), 100*e.Part)
			}
		}
		fmt.Fprintln(w)
	}
}

// shortName drops the path of a package.
func shortName(name string) string { return name[strings.LastIndex(name, "/")+1:] }
