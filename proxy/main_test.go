package proxy

import (
	"flag"
	"fmt"
	"os"
	"testing"
)

// TestMain lets FOO_SEED replay a run of the random tests; rapid prints the seed of a failure and shrinks it again.
func TestMain(m *testing.M) {
	flag.Parse()
	if seed := os.Getenv("FOO_SEED"); seed != "" {
		if err := flag.Set("rapid.seed", seed); err != nil {
			fmt.Fprintln(os.Stderr, "FOO_SEED must be a number:", err)
			os.Exit(2)
		}
	}
	os.Exit(m.Run())
}
