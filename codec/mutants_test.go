//go:build mutants && amd64 && !noasm

package codec

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMutants applies each mutant to a copy of this package and runs its tests
// there. It takes some minutes:
//
//	go test -tags mutants -run TestMutants -timeout 30m ./codec
func TestMutants(t *testing.T) {
	dir := t.TempDir()
	if out, ok := runMutant(t, dir, mutant{}); !ok {
		t.Fatalf("the tests fail without a mutant:\n%s", out)
	}
	all := append([]mutant(nil), mutantsBoth...)
	for _, k := range available() {
		switch k {
		case avx512:
			all = append(all, mutants512...)
		case avx2:
			all = append(all, mutants256...)
		}
	}
	caught := 0
	for _, m := range all {
		t.Run(m.file+"/"+m.name, func(t *testing.T) {
			if _, ok := runMutant(t, dir, m); ok {
				t.Error("the tests pass in spite of it")
				return
			}
			caught++
		})
	}
	t.Logf("%d mutants of %d caught", caught, len(all))
}

// runMutant says whether the tests pass with m.
func runMutant(t *testing.T, dir string, m mutant) (output string, ok bool) {
	copyPackage(t, dir, m)
	binary := filepath.Join(dir, "mutant.test")
	build := exec.Command("go", "test", "-mod=mod", "-c", "-o", binary, ".")
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("mutant does not build: %v\n%s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	run := exec.CommandContext(ctx, binary, "-test.failfast")
	run.Dir = dir
	out, err := run.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), err == nil
}

// copyPackage makes dir a module with this package alone, changed by m, and without the test that sees that m fits what is there.
func copyPackage(t *testing.T, dir string, m mutant) {
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	read := func(name string) string {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for _, pattern := range []string{"*.go", "*.s", "*.h"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if name == "mutantlist_test.go" {
				continue
			}
			text := read(name)
			if name == m.file {
				if !strings.Contains(text, m.old) {
					t.Fatalf("%s has no %q", name, m.old)
				}
				text = strings.Replace(text, m.old, m.new, 1)
			}
			write(name, text)
		}
	}
	version := ""
	for _, line := range strings.Split(read("../go.mod"), "\n") {
		if f := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require ")); len(f) > 1 && f[0] == "golang.org/x/sys" {
			version = f[1]
		}
	}
	write("go.mod", "module fooproxy\n\ngo 1.26.0\n\nrequire golang.org/x/sys "+version+"\n")
	write("go.sum", read("../go.sum"))
}
