package e2e

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// firstOperator is the first row that is about how the proxy is started, with no connection to be had.
const firstOperator = 36

// noCanary are tests of the other rows that have none: of no proxy, or of one that speaks no Foo or whose server nobody can reach.
var noCanary = []string{
	"TestCorpusAgreesWithGrammar", "TestTunnelEndsBehindAFullPipe",
	"TestUpstreamRefuses", "TestUpstreamUnreachable", "TestUpstreamNeverAnswers",
}

// The table of docs/faults.md is whole: every row is there, every letter of a row has a test, make test-faults runs every test that
// it names, a canary sings beside each, and is judged where the letter K says so.
func TestFaultTable(t *testing.T) {
	tests, calls := testNames(t), callsOf(t)
	run := regexp.MustCompile(`(?s)\ntest-faults:.*?\n\n`).FindString(readFile(t, "../Makefile"))
	row := regexp.MustCompile(`(?m)^\| (\d+) \| [^|]+ \| ([EPCLKX ]+) \| ([^|]+) \|$`)
	name := regexp.MustCompile("`(Test\\w+)`")
	text := readFile(t, "../docs/faults.md")
	for _, m := range name.FindAllStringSubmatch(text, -1) {
		if !slices.ContainsFunc(tests[m[1]], func(at string) bool { return strings.Contains(run, "./"+at) }) {
			t.Errorf("make test-faults runs no %s, which is in %q", m[1], tests[m[1]])
		}
	}
	next := 1
	for _, m := range row.FindAllStringSubmatch(text, -1) {
		if m[1] != strconv.Itoa(next) {
			t.Fatalf("row %s comes where row %d should be", m[1], next)
		}
		asserted := ""
		for part := range strings.SplitSeq(m[3], ";") {
			letters, _, named := strings.Cut(part, "`")
			if !named {
				t.Errorf("row %s: no test in %q", m[1], part)
			}
			asserted += letters
			for _, test := range name.FindAllStringSubmatch(part, -1) {
				here := calls[test[1]] != nil
				if next < firstOperator && here && !slices.Contains(noCanary, test[1]) && !calls.reach(test[1], "newCanary") {
					t.Errorf("row %s: %s has no canary", m[1], test[1])
				}
				if strings.Contains(letters, "K") && !calls.reach(test[1], ".holdsAgainst") {
					t.Errorf("row %s: %s does not judge its canary", m[1], test[1])
				}
			}
		}
		for letter := range strings.FieldsSeq(m[2]) {
			if !strings.Contains(asserted, letter) {
				t.Errorf("row %s: no test asserts %s", m[1], letter)
			}
		}
		next++
	}
	if next != 38 {
		t.Errorf("the table ends before row %d", next)
	}
}

// testNames is every test function of the module, with the folders that have one of that name.
func testNames(t *testing.T) map[string][]string {
	t.Helper()
	names, function := map[string][]string{}, regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	ok(t, filepath.WalkDir("..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range function.FindAllSubmatch(text, -1) {
			names[string(m[1])] = append(names[string(m[1])], strings.TrimPrefix(filepath.Dir(path), "../"))
		}
		return err
	}))
	return names
}

// callGraph has by each function of this package the names of what it calls; those of methods begin with a dot.
type callGraph map[string]map[string]bool

func callsOf(t *testing.T) callGraph {
	t.Helper()
	paths, err := filepath.Glob("*_test.go")
	ok(t, err)
	calls := callGraph{}
	for _, path := range paths {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		ok(t, err)
		for _, decl := range file.Decls {
			f, isFunc := decl.(*ast.FuncDecl)
			if !isFunc {
				continue
			}
			name, called := f.Name.Name, map[string]bool{}
			if f.Recv != nil {
				name = "." + name
			}
			calls[name] = called
			ast.Inspect(f, func(n ast.Node) bool {
				if call, is := n.(*ast.CallExpr); is {
					switch what := call.Fun.(type) {
					case *ast.Ident:
						called[what.Name] = true
					case *ast.SelectorExpr:
						called["."+what.Sel.Name] = true
					}
				}
				return true
			})
		}
	}
	return calls
}

// reach reports whether from comes to call to.
func (c callGraph) reach(from, to string) bool {
	seen := map[string]bool{}
	var visit func(name string) bool
	visit = func(name string) bool {
		if name == to {
			return true
		}
		if seen[name] {
			return false
		}
		seen[name] = true
		for called := range c[name] {
			if visit(called) {
				return true
			}
		}
		return false
	}
	return visit(from)
}
