package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"fooproxy/bench/report"
)

// runReport shows an old comparison in the present way.
func runReport(args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("foobench report", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {
		fmt.Fprint(stderr, "usage: foobench report [flags] REPORT.json\n\n")
		fs.PrintDefaults()
	}
	page := fs.String("html", "", "write the page to this file")
	plots := fs.String("plots", "", "write every plot as an SVG file to this directory")
	markdown := fs.String("markdown", "", "print this figure of every target as a Markdown table instead: cpu/msg, msgs/s, p99, conns/s, B/conn")
	if err := parse(fs, args); err != nil {
		return err
	}
	if fs.NArg() != 1 {
		return usageError("want one report, got %d arguments", fs.NArg())
	}
	r, err := report.Load(fs.Arg(0))
	if err != nil {
		return err
	}
	switch {
	case *markdown == "":
		r.WriteText(stdout)
	case !slices.ContainsFunc(report.Figures, func(f report.Figure) bool { return f.Name == *markdown }):
		return usageError("--markdown: there is no figure %q", *markdown)
	default:
		r.WriteMarkdown(stdout, *markdown)
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
func runDiff(args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("foobench diff", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {
		fmt.Fprint(stderr, "usage: foobench diff [flags] BEFORE.json AFTER.json\n\n")
		fs.PrintDefaults()
	}
	alpha := fs.Float64("alpha", 0.01, "a change counts when it is less probable than this by chance")
	least := fs.Float64("least", 0.02, "and when it is at least this large: 0.02 is 2 %")
	all := fs.Bool("all", false, "print every figure, also those that have not changed")
	if err := parse(fs, args); err != nil {
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
