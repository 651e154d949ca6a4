package proxy

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Simulations by the seed, quicker than rapid makes them: FOO_SEEDS of them for either style together, from FOO_SEED on. One
// that fails says its seed, with which FOO_SEED and FOO_SEEDS=1 replay it exactly, and is then played again with ever fewer and
// smaller choices for as long as it fails.
func TestSimulationSeeds(t *testing.T) {
	seeds, first := uint64(4000), rand.Uint64()>>1
	if n, err := strconv.ParseUint(os.Getenv("FOO_SEEDS"), 10, 64); err == nil {
		seeds = n
	}
	if s, err := strconv.ParseUint(os.Getenv("FOO_SEED"), 10, 64); err == nil {
		first = s
	}
	each := max(1, seeds/uint64(len(simStyles)))
	for name, style := range simStyles {
		t.Run(name, func(t *testing.T) {
			t.Logf("FOO_SEED=%d FOO_SEEDS=%d", first, seeds)
			began := time.Now()
			events := simulateMany(t, first, each, style)
			t.Logf("%d simulations, %d events, %.0f a second", each, events, float64(events)/time.Since(began).Seconds())
		})
	}
}

// simulateMany plays a range of seeds on all processors and returns how many events they had.
func simulateMany(t *testing.T, first, count uint64, style func(*simWorld) simStyle) int64 {
	t.Helper()
	var next atomic.Uint64
	var events atomic.Int64
	var failed atomic.Bool
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		memory := newTestSlab(t, simHighest)
		all.Go(func() {
			for i := next.Add(1) - 1; i < count && !failed.Load(); i = next.Add(1) - 1 {
				n, failure := trySeed(newSeedChooser(first+i), memory, style)
				events.Add(int64(n))
				if failure != "" && !failed.Swap(true) {
					t.Errorf("FOO_SEED=%d FOO_SEEDS=1:\n%s\nshrunk:\n%s", first+i, failure, shrink(first+i, memory, style))
				}
			}
		})
	}
	all.Wait()
	return events.Load()
}

// trial is a failer that keeps what it is told and leaves the simulation by a panic.
type trial struct{}

type trialFailed string

func (trial) Helper()           {}
func (trial) Fatal(args ...any) { panic(trialFailed(fmt.Sprint(args...))) }
func (trial) Fatalf(format string, args ...any) {
	panic(trialFailed(fmt.Sprintf(format, args...)))
}

func (t trial) Errorf(format string, args ...any) { t.Fatalf(format, args...) }

// trySeed plays one simulation and returns its failure, "" when there is none. A panic of the product's is one too.
func trySeed(c chooser, memory *slab, style func(*simWorld) simStyle) (events int, failure string) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case trialFailed:
			failure = string(r)
		default:
			failure = fmt.Sprintf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	return simulate(trial{}, c, memory, style), ""
}

// taped is a chooser that plays a tape: choice after choice, then zeros. With a source it makes the tape instead.
type taped struct {
	source chooser
	tape   []int
	at     int
}

func (c *taped) pick(n int) (v int) {
	switch {
	case c.source != nil:
		v = c.source.pick(n)
		c.tape = append(c.tape, v)
	case c.at < len(c.tape):
		v = c.tape[c.at] % n
		c.at++
	}
	return v
}

// shrinkLimit bounds the time to look for a smaller failure.
const shrinkLimit = 10 * time.Second

// shrink returns the failure of the shortest course of choices it finds, with the trace that leads to it: it leaves out runs of
// choices and makes others 0 as long as the simulation fails.
func shrink(seed uint64, memory *slab, style func(*simWorld) simStyle) string {
	record := &taped{source: newSeedChooser(seed)}
	_, failure := trySeed(record, memory, style)
	tape := record.tape
	smaller := func(candidate []int) bool {
		_, f := trySeed(&taped{tape: candidate}, memory, style)
		if f != "" {
			tape, failure = candidate, f
		}
		return f != ""
	}
	until := time.Now().Add(shrinkLimit)
	for size := len(tape) / 2; size > 0 && time.Now().Before(until); size /= 2 {
		for at := 0; at+size <= len(tape) && time.Now().Before(until); {
			if !smaller(slices.Delete(slices.Clone(tape), at, at+size)) {
				at += size
			}
		}
	}
	for at := 0; at < len(tape) && time.Now().Before(until); at++ {
		if tape[at] != 0 {
			zeroed := slices.Clone(tape)
			zeroed[at] = 0
			smaller(zeroed)
		}
	}
	return fmt.Sprintf("%d of %d choices: %s", len(tape), len(record.tape), failure)
}
