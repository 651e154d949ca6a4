//go:build mutants

package proxy

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestMutants breaks the product on purpose, one fault at a time, in an overlay of the source tree, and runs the tests that are
// to notice, after it has seen them pass without the fault. It fails when one does not notice, or when a mutant no longer fits the
// source. It takes some minutes:
//
//	go test -tags mutants -run TestMutants -timeout 60m ./proxy
//	go test -tags mutants -run 'TestMutants/drain' ./proxy              those whose names say so
//	FOO_MUTANTS=2/8 go test -tags mutants -run TestMutants ./proxy      every eighth, from the second on
func TestMutants(t *testing.T) {
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	overlays := make([]string, len(mutants))
	for i, m := range mutants {
		overlays[i] = m.overlay(t, root)
	}
	if t.Failed() {
		t.FailNow()
	}
	first, step := 1, 1
	if part := os.Getenv("FOO_MUTANTS"); part != "" {
		if _, err := fmt.Sscanf(part, "%d/%d", &first, &step); err != nil || first < 1 || step < first {
			t.Fatalf("FOO_MUTANTS is %q, want something like 2/8", part)
		}
	}
	clean := map[[2]string]bool{} // tests of a package that pass without a mutant
	tried, caught := 0, 0
	for i := first - 1; i < len(mutants); i += step {
		m := mutants[i]
		t.Run(m.name, func(t *testing.T) {
			tried++
			if what := [...]string{m.at(), m.tests}; !clean[what] {
				if out, ok := runTests(root, "", m.at(), m.tests); !ok {
					t.Fatalf("its tests fail without it:\n%s", out)
				}
				clean[what] = true
			}
			out, ok := runTests(root, overlays[i], m.at(), m.tests)
			switch {
			case ok:
				t.Errorf("SURVIVED  %s", m.file)
			case strings.Contains(out, "[build failed]"):
				t.Errorf("does not build:\n%s", out)
			default:
				caught++
				t.Logf("caught    %s", m.file)
			}
		})
	}
	t.Logf("%d mutants of %d caught", caught, tried)
}

// overlay writes the mutant's file and the description that go build -overlay takes, and returns the latter's path.
func (m *mutant) overlay(t *testing.T, root string) string {
	path := filepath.Join(root, m.file)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), m.old); n != 1 {
		t.Errorf("%s: %q occurs %d times in %s, want 1", m.name, m.old, n, m.file)
		return ""
	}
	dir := t.TempDir()
	changed := filepath.Join(dir, "mutant.go")
	if err := os.WriteFile(changed, []byte(strings.Replace(string(text), m.old, m.new, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	description, err := json.Marshal(map[string]any{"Replace": map[string]string{path: changed}})
	if err != nil {
		t.Fatal(err)
	}
	overlay := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlay, description, 0o600); err != nil {
		t.Fatal(err)
	}
	return overlay
}

// runTests says whether the tests of a package pass under an overlay, "" for none. A mutant may well hang: that is noticed too.
// The overlay is in the environment, so that it reaches what tests build themselves.
func runTests(root, overlay, at, tests string) (output string, ok bool) {
	cmd := exec.Command("go", "test", "-count=1", "-vet=off", "-failfast", "-timeout=90s", "-run", "^("+tests+")$", at)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "FOO_SEED=1", "FOO_SEEDS=20000")
	if overlay != "" {
		cmd.Env = append(cmd.Env, "GOFLAGS=-overlay="+overlay)
	}
	out, err := cmd.CombinedOutput()
	text := string(out)
	if strings.Contains(text, "no tests to run") {
		return text + "\nnone of its tests exists", true
	}
	return text, err == nil
}
