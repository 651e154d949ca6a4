package proxy

import (
	gobuild "go/build"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The list of mutants is true: what each changes occurs once in its file, and whatever its pattern offers for a test's name is the
// name of a test. One misspelt beside others would never be missed.
func TestMutantListIsTrue(t *testing.T) {
	tests := map[string][]string{}
	for _, m := range mutants {
		text, err := os.ReadFile(filepath.Join("..", m.file))
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(text), m.old); n != 1 || m.old == m.new {
			t.Errorf("%s: %q occurs %d times in %s, want 1, and becomes %q", m.name, m.old, n, m.file, m.new)
		}
		at := m.at()
		if tests[at] == nil {
			tests[at] = testNames(t, filepath.Join("..", at))
		}
		for name := range strings.SplitSeq(m.tests, "|") {
			pattern, err := regexp.Compile("^(" + name + ")$")
			if err != nil {
				t.Errorf("%s: %v", m.name, err)
			} else if !slices.ContainsFunc(tests[at], pattern.MatchString) {
				t.Errorf("%s: %s has no test of the name %s", m.name, at, name)
			}
		}
	}
}

// testNames is the tests and fuzz tests of the package in dir, as it is built without tags.
func testNames(t *testing.T, dir string) (names []string) {
	t.Helper()
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	paths, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no tests in %s: %v", dir, err)
	}
	for _, path := range paths {
		if built, err := gobuild.Default.MatchFile(dir, filepath.Base(path)); err != nil || !built {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range function.FindAllSubmatch(text, -1) {
			names = append(names, string(m[1]))
		}
	}
	return names
}
