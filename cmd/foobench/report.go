package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"fooproxy/bench/report"
)

// runReport shows an old comparison in the present way.
func runReport(args []string, stdout, _ io.Writer) error {
	fs := newFlags("report", "REPORT.json")
	page := fs.String("html", "", "write the page to this file")
	plots := fs.String("plots", "", "write every plot as an SVG file to this directory")
	markdown := fs.Bool("markdown", false, "print a Markdown table instead, with the figure that matters of each workload")
	if err := parse(fs, args, stdout); err != nil {
		return err
	}
	if fs.NArg() != 1 {
		return usageError("want one report, got %d arguments", fs.NArg())
	}
	r, err := report.Load(fs.Arg(0))
	if err != nil {
		return err
	}
	if *markdown {
		r.WriteMarkdown(stdout)
	} else {
		r.WriteText(stdout)
	}
	if *plots != "" {
		if err := writePlots(r, *plots); err != nil {
			return err
		}
	}
	if *page != "" {
		return writeFile(*page, r.WriteHTML)
	}
	return nil
}

// writePlots names each file after its plot's title: cpu-per-message.svg.
func writePlots(r *report.Report, dir string) error {
	plots, err := r.Plots()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, p := range plots {
		name := strings.Map(func(c rune) rune {
			if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
				return c
			}
			return '-'
		}, strings.ToLower(strings.ReplaceAll(p.Title, ": ", " ")))
		if err := os.WriteFile(filepath.Join(dir, name+".svg"), p.SVG, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// runDiff compares two comparisons.
func runDiff(args []string, stdout, _ io.Writer) error {
	fs := newFlags("diff", "BEFORE.json AFTER.json")
	alpha := fs.Float64("alpha", 0.01, "a change counts when it is less probable than this by chance")
	least := fs.Float64("least", 0.02, "and when it is at least this large: 0.02 is 2 %")
	all := fs.Bool("all", false, "print every figure, also those that have not changed")
	if err := parse(fs, args, stdout); err != nil {
		return err
	}
	if fs.NArg() != 2 {
		return usageError("want two reports, got %d arguments", fs.NArg())
	}
	if !(*alpha > 0 && *alpha < 1) || !(*least >= 0) {
		return usageError("--alpha lies between 0 and 1, --least is not negative")
	}
	before, err := report.Load(fs.Arg(0))
	if err != nil {
		return err
	}
	after, err := report.Load(fs.Arg(1))
	if err != nil {
		return err
	}
	changes := report.Diff(before, after)
	if len(changes) == 0 {
		return fmt.Errorf("%s and %s have no target and workload in common", fs.Arg(0), fs.Arg(1))
	}
	report.WriteDiff(stdout, changes, *alpha, *least, *all)
	return nil
}
