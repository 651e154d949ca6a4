package proxy

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"testing"
)

// TestMain lets FOO_SEED replay a run of the random tests: rapid prints the seed of a failure and shrinks it again from there,
// so it need not leave files in the tree.
func TestMain(m *testing.M) {
	if err := flag.Set("rapid.nofailfile", "true"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	flag.Parse()
	if seed := os.Getenv("FOO_SEED"); seed != "" {
		if err := flag.Set("rapid.seed", seed); err != nil {
			fmt.Fprintln(os.Stderr, "FOO_SEED must be a number:", err)
			os.Exit(2)
		}
	}
	os.Exit(m.Run())
}

// reseed has a random test that is repeated take other ways each time, also where FOO_SEED says which: the same ones would find
// nothing new. The first round's are those of the seed itself.
func reseed(t *testing.T, round int) {
	t.Helper()
	const name, apart = "rapid.seed", 1_000_003
	value := flag.Lookup(name).Value.String()
	seed, err := strconv.ParseUint(value, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	if seed == 0 || round == 0 {
		return // each run has a random one
	}
	if err := flag.Set(name, strconv.FormatUint(seed+apart, 10)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = flag.Set(name, value) })
}
