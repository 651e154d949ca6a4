package e2e

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// The table of docs/faults.md is whole: every row is there, every letter of a row has a test, every test that it names exists.
func TestFaultTable(t *testing.T) {
	tests := testNames(t)
	row := regexp.MustCompile(`(?m)^\| (\d+) \| [^|]+ \| ([EPCLKX ]+) \| ([^|]+) \|$`)
	name := regexp.MustCompile("`(Test\\w+)`")
	text := readFile(t, "../docs/faults.md")
	for _, m := range name.FindAllStringSubmatch(text, -1) {
		if !tests[m[1]] {
			t.Errorf("there is no %s", m[1])
		}
	}
	next := 1
	for _, m := range row.FindAllStringSubmatch(text, -1) {
		if m[1] != strconv.Itoa(next) {
			t.Fatalf("row %s comes where row %d should be", m[1], next)
		}
		next++
		asserted := ""
		for part := range strings.SplitSeq(m[3], ";") {
			letters, _, named := strings.Cut(part, "`")
			if !named {
				t.Errorf("row %s: no test in %q", m[1], part)
			}
			asserted += letters
		}
		for letter := range strings.FieldsSeq(m[2]) {
			if !strings.Contains(asserted, letter) {
				t.Errorf("row %s: no test asserts %s", m[1], letter)
			}
		}
	}
	if next != 38 {
		t.Errorf("the table ends before row %d", next)
	}
}

// testNames is every test function of the module.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	names, function := map[string]bool{}, regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	ok(t, filepath.WalkDir("..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range function.FindAllSubmatch(text, -1) {
			names[string(m[1])] = true
		}
		return err
	}))
	return names
}
