package proxy

import (
	"flag"
	"fmt"
	"os"
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
