package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// relay is the subject that is no engine: the naive relay of this package.
const relay = "relay"

// Environment of the suite: which subjects, how long to wait for a condition, and (set by the suite for itself) where the
// binaries are, that this process is to be the relay, and the fault that the relay is to have.
const (
	envEngines = "FOO_ENGINES"
	envLimit   = "FOO_E2E_LIMIT"
	envBin     = "FOO_E2E_BIN"
	envRelay   = "FOO_E2E_RELAY"
	envFault   = "FOO_E2E_FAULT"
	envCanary  = "FOO_E2E_CANARY"
	envSandbox = "FOO_E2E_SANDBOX"
	envFaults  = "FOO_FAULTS" // not empty: a thorough run, see doc.go
)

var (
	engines    = []string{"epoll", "uring"}
	limit      = 20 * time.Second // until a condition must hold
	relayFault = "none"
	binDir     string // holds fooproxy, and fooproxy-plain without the race detector
	thorough   bool   // judge what depends on time, and run what takes long
)

func TestMain(m *testing.M) {
	if os.Getenv(envRelay) != "" {
		os.Exit(relayMain(os.Args[1:]))
	}
	if errno := os.Getenv(envSandbox); errno != "" {
		os.Exit(sandboxMain(errno, os.Args[1:]))
	}
	if d, err := time.ParseDuration(os.Getenv(envCanary)); err == nil {
		os.Exit(canaryMain(d))
	}
	os.Exit(runSuite(m))
}

func runSuite(m *testing.M) int {
	flag.Parse()
	if e := os.Getenv(envEngines); e != "" {
		engines = strings.Split(e, ",")
	}
	if d, err := time.ParseDuration(os.Getenv(envLimit)); err == nil {
		limit = d
	}
	if f := os.Getenv(envFault); f != "" {
		relayFault = f
	}
	thorough = os.Getenv(envFaults) != ""
	if !isSet("test.parallel") { // most of a test's time is waiting
		_ = flag.Set("test.parallel", fmt.Sprint(2*runtime.GOMAXPROCS(0)))
	}
	binDir = os.Getenv(envBin)
	if binDir == "" {
		dir, err := os.MkdirTemp("", "foo-e2e-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		if err := build(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		binDir = dir
	}
	kernel := watchKernel()
	code := m.Run()
	if said := kernel.alarms(); len(said) > 0 {
		fmt.Fprintf(os.Stderr, "the kernel complained meanwhile:\n%s\n", strings.Join(said, "\n"))
		code = 1
	}
	return code
}

// takesLong marks a test for thorough runs alone: it takes minutes, or judges by time, which needs a machine without other load.
func takesLong(t *testing.T) {
	t.Helper()
	if !thorough {
		t.Skip("make test-faults runs it")
	}
}

func isSet(name string) (set bool) {
	flag.Visit(func(f *flag.Flag) { set = set || f.Name == name })
	return set
}

// build puts the binaries into dir; a suite that only looks at the relay needs none.
func build(dir string) error {
	if err := os.Chmod(dir, 0o755); err != nil { // a test runs the binary as another user
		return err
	}
	if len(engines) == 1 && engines[0] == relay {
		return nil
	}
	targets := [][]string{{"fooproxy-plain"}}
	if raceEnabled {
		targets = append(targets, []string{"fooproxy", "-race"})
	}
	for _, target := range targets {
		args := append([]string{"build", "-o", filepath.Join(dir, target[0])}, target[1:]...)
		out, err := exec.Command("go", append(args, "fooproxy/cmd/fooproxy")...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("go build fooproxy/cmd/fooproxy: %w\n%s", err, out)
		}
	}
	if !raceEnabled {
		return os.Link(filepath.Join(dir, "fooproxy-plain"), filepath.Join(dir, "fooproxy"))
	}
	return nil
}

// eachEngine runs f for every engine under test, beside other tests.
func eachEngine(t *testing.T, f func(t *testing.T, engine string)) { inParallel(t, engines, f) }

// eachEngineAlone is eachEngine for tests that measure memory or CPU, or hold thousands of descriptors.
func eachEngineAlone(t *testing.T, f func(t *testing.T, engine string)) { alone(t, engines, f) }

// eachWay is eachEngine for tests in which long Data flows. It runs f twice for each: Data is copied, and goes on within the kernel.
func eachWay(t *testing.T, f func(t *testing.T, engine string)) { inParallel(t, bothWays(), f) }

// eachWayAlone is eachEngineAlone with both ways.
func eachWayAlone(t *testing.T, f func(t *testing.T, engine string)) { alone(t, bothWays(), f) }

// eachSpliced is eachEngine with long Data going on within the kernel.
func eachSpliced(t *testing.T, f func(t *testing.T, engine string)) { inParallel(t, spliced(), f) }

// splicing follows the name of an engine whose long Data goes on within the kernel, see command.
const splicing = "+--splice=on"

// spliced is every engine under test with long Data going on within the kernel, where it can.
func spliced() (subjects []string) {
	for _, e := range engines {
		switch {
		case !maySplice(e):
			continue
		case e != relay && !splices(e):
			e += splicing
		}
		subjects = append(subjects, e)
	}
	return subjects
}

// maySplice says whether long Data can go on within the kernel on an engine that is told so: not on a ring that is bent to have no bulk.
func maySplice(engine string) bool {
	return !strings.Contains(engine, "defer-taskrun") && !strings.Contains(engine, "recv-multishot")
}

// bothWays is every engine under test with long Data copied, and spliced. One that was asked for with a way has that alone.
func bothWays() []string {
	subjects := append(slices.Clone(engines), spliced()...)
	slices.Sort(subjects)
	return slices.Compact(subjects)
}

// bent says whether the suite runs on an engine that is bent, as which long Data may not be noticed.
func bent() bool {
	return slices.ContainsFunc(engines, func(e string) bool { return strings.Contains(e, ":") })
}

// splices says whether long Data goes on within the kernel with this subject.
func splices(subject string) bool { return strings.HasSuffix(subject, splicing) }

func inParallel(t *testing.T, subjects []string, f func(t *testing.T, engine string)) {
	t.Parallel()
	for _, e := range subjects {
		t.Run(e, func(t *testing.T) {
			t.Parallel()
			f(t, e)
		})
	}
}

func alone(t *testing.T, subjects []string, f func(t *testing.T, engine string)) {
	for _, e := range subjects {
		t.Run(e, func(t *testing.T) { f(t, e) })
	}
}
