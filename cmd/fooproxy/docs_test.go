package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fooproxy/stats"
)

// document reads a file of the repository.
func document(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// README has a row for every setting, with the default that --help shows.
func TestReadmeShowsEverySetting(t *testing.T) {
	const column = " | "
	defaults := map[string]string{}
	for line := range strings.Lines(document(t, "README.md")) {
		names, rest, found := strings.Cut(line, column)
		if !found || !strings.HasPrefix(names, "| `-") {
			continue
		}
		shown, _, _ := strings.Cut(strings.TrimPrefix(rest, "| "), column) // no default leaves one blank between two bars
		if strings.HasPrefix(rest, "| ") {
			shown = ""
		}
		for name := range strings.SplitSeq(strings.TrimPrefix(names, "| "), ", ") {
			defaults[strings.Trim(name, "`")] = shown
		}
	}
	for _, s := range newOptions().table {
		shown, found := defaults["--"+s.name]
		want := strings.TrimSuffix(strings.TrimPrefix(defaultNote(s), " ["), "]")
		if !found || shown != want {
			t.Errorf("README's row of --%s: there is one: %v, default %q, want %q", s.name, found, shown, want)
		}
		delete(defaults, "--"+s.name)
		delete(defaults, "-"+s.short)
	}
	for name := range defaults {
		t.Errorf("README has a row for %s, which is no setting", name)
	}
}

// docs/operating.md names every counter that SIGUSR1 prints.
func TestOperatingNamesEveryCounter(t *testing.T) {
	text := document(t, "docs/operating.md")
	for c := stats.Nak + 1; c < stats.NumCounters; c++ {
		name := c.String()
		if c == stats.Ended || strings.HasPrefix(name, "bad_") {
			continue // printed as another figure, and told together
		}
		if !strings.Contains(text, "`"+name+"`") {
			t.Errorf("docs/operating.md does not name %s", name)
		}
	}
}
