package main

import (
	"os"
	"strings"
)

// historyMax is how many lines are remembered from one start to the next.
const historyMax = 1000

// A history is the lines typed, the newest last, in memory and in a file. It is what term.Terminal asks.
type history struct {
	lines []string
	path  string // "" keeps no file
}

// openHistory reads the lines of former runs. A file that cannot be read or written is none: history is a comfort only.
func openHistory(path string) *history {
	h := &history{path: path}
	if path == "" {
		return h
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return h
	}
	h.lines = strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	if len(h.lines) > historyMax {
		h.lines = h.lines[len(h.lines)-historyMax:]
		_ = os.WriteFile(path, []byte(strings.Join(h.lines, "\n")+"\n"), 0o600)
	}
	return h
}

// Add remembers a line unless it is blank or the same as the last one.
func (h *history) Add(line string) {
	if strings.TrimSpace(line) == "" || len(h.lines) > 0 && h.lines[len(h.lines)-1] == line {
		return
	}
	h.lines = append(h.lines, line)
	if h.path == "" {
		return
	}
	f, err := os.OpenFile(h.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	_, _ = f.WriteString(line + "\n")
	_ = f.Close()
}

// Len is how many lines there are.
func (h *history) Len() int { return len(h.lines) }

// At is a line, of which 0 is the newest.
func (h *history) At(i int) string { return h.lines[len(h.lines)-1-i] }
