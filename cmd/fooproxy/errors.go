package main

import (
	"fmt"
	"strings"
)

// quotedMax is how much of a wrong value an error shows, in bytes.
const quotedMax = 80

// A usageError is everything found wrong with the configuration, one line each. It ends the process with exit code 2.
type usageError struct{ lines []string }

func (e *usageError) Error() string { return strings.Join(e.lines, "\n") }

func usagef(format string, args ...any) *usageError {
	return &usageError{[]string{fmt.Sprintf(format, args...)}}
}

// quote shows a value on one line of printable ASCII, cut when it is long.
func quote(s string) string {
	if len(s) > quotedMax {
		return fmt.Sprintf("%+q...", s[:quotedMax])
	}
	return fmt.Sprintf("%+q", s)
}

// suggest returns the name closest to a mistyped one when it is close enough to be meant, else "".
func suggest(typed string, names []string) string {
	best, distance := "", 3
	if len(typed) > 2*quotedMax {
		return ""
	}
	typed = strings.ReplaceAll(strings.ToLower(typed), "_", "-")
	for _, name := range names {
		if d := editDistance(typed, name); d < distance && d <= len(name)/2 {
			best, distance = name, d
		}
	}
	return best
}

// editDistance counts the insertions, deletions and replacements that turn a into b (Levenshtein).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
