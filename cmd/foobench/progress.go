package main

import (
	"fmt"
	"io"
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

// showShare is the same for a comparison.
func showShare(w *os.File) func(done float64, what string) {
	began := time.Now()
	return func(done float64, what string) {
		left := ""
		if done > 0.02 {
			left = fmt.Sprintf(", %v left", time.Duration(float64(time.Since(began))*(1-done)/done).Round(time.Second))
		}
		fmt.Fprintf(w, "\r\x1b[K%3.0f %%%s  %s", 100*done, left, what)
	}
}

// clearing removes the line of progress before anything is printed.
type clearing struct {
	io.Writer
	terminal *os.File
}

func (c clearing) Write(b []byte) (int, error) {
	fmt.Fprint(c.terminal, "\r\x1b[K")
	return c.Writer.Write(b)
}
