package main

import (
	"os"
	"path/filepath"
	"regexp"
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
		shown, _, _ := strings.Cut(rest, column)
		if strings.HasPrefix(rest, "| ") { // no default leaves one blank between two bars
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

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	mark    = regexp.MustCompile(`[^\p{L}\p{N} _-]`) // left out of a heading's anchor
)

// anchors are the places within a document that can be linked to.
func anchors(text string) map[string]bool {
	found := map[string]bool{}
	for _, h := range heading.FindAllStringSubmatch(text, -1) {
		found[strings.ReplaceAll(strings.ToLower(mark.ReplaceAllString(h[1], "")), " ", "-")] = true
	}
	return found
}

// What the documents link to exists.
func TestLinksLead(t *testing.T) {
	names, err := filepath.Glob(filepath.Join("..", "..", "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	documents := []string{"README.md", "SECURITY.md"}
	for _, name := range names {
		documents = append(documents, filepath.Join("docs", filepath.Base(name)))
	}
	links := 0
	for _, from := range documents {
		for _, l := range link.FindAllStringSubmatch(document(t, from), -1) {
			path, anchor, _ := strings.Cut(l[1], "#")
			to := filepath.Join(filepath.Dir(from), path)
			if path == "" {
				to = from
			}
			links++
			if anchor != "" && !anchors(document(t, to))[anchor] {
				t.Errorf("%s links to %s, which has no such heading", from, l[1])
			} else if _, err := os.Stat(filepath.Join("..", "..", to)); err != nil {
				t.Errorf("%s links to %s: %v", from, l[1], err)
			}
		}
	}
	if links == 0 {
		t.Error("no links are found")
	}
}
