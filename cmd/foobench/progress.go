package main

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/term"

	"fooproxy/bench/load"
)

const defaultDuration = 10 * time.Second

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// showProgress returns what draws one line that overwrites itself.
func showProgress(w *os.File) func(load.Progress) {
	return func(p load.Progress) {
		fmt.Fprintf(w, "\r\x1b[K%5.1fs  %-10s %10.0f answers/s  %12d answered  %8d outstanding",
			p.Elapsed.Seconds(), p.Phase, p.PerSec, p.Answers, p.Outstand)
		if p.Phase == "done" {
			fmt.Fprint(w, "\r\x1b[K")
		}
	}
}
