package main

import (
	"flag"
	"fmt"
	"io"

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
	r.WriteText(stdout)
	if *page != "" {
		return writeFile(*page, r.WriteHTML)
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
