package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"

	"fooproxy/accesslog"
	"fooproxy/stats"
)

const recountHelp = `Usage: fooproxy recount LOG...

Adds up request logs, text or JSON, and prints the totals that USR1 printed at the end of the proxy that wrote them. Give the
files of one proxy together, those moved away and the last one, in any order; - is standard input.

Standard error says what is missing, if the log is not complete: lines dropped, sampled, malformed or in a file not given,
connections not ended. The exit code is 0 for a complete log, 1 for any other, 2 for wrong usage.
`

// malformedShown is how many malformed lines are shown.
const malformedShown = 10

// runRecount is the subcommand recount. The error of a log that is not complete is what is missing, a line for each reason.
func runRecount(args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	for _, arg := range args {
		if arg == "-h" || arg == "-help" || arg == "--help" {
			_, _ = io.WriteString(stdout, recountHelp)
			return nil
		}
		if strings.HasPrefix(arg, "-") && arg != "-" {
			return usagef("unknown flag %s; recount takes files only, see fooproxy recount --help", quote(arg))
		}
	}
	if len(args) == 0 {
		return usagef("recount: which log? give its files, or - for standard input")
	}
	var totals accesslog.Totals
	for _, path := range args {
		if err := recountFile(&totals, path, stdin, stderr); err != nil {
			return err
		}
	}
	if _, err := stdout.Write(appendTotals(nil, &totals)); err != nil {
		return err
	}
	if missing := totals.Missing(); len(missing) > 0 {
		return fmt.Errorf("the log is not complete: %s", strings.Join(missing, "\nthe log is not complete: "))
	}
	return nil
}

func recountFile(totals *accesslog.Totals, path string, stdin io.Reader, stderr io.Writer) error {
	in := stdin
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("recount: %w", err)
		}
		defer file.Close()
		in = file
	}
	err := totals.Read(in, func(number uint64, line []byte, why error) {
		switch n := totals.Malformed; {
		case n <= malformedShown:
			fmt.Fprintf(stderr, "fooproxy: %s:%d: %v: %s\n", path, number, why, quote(string(bytes.TrimSuffix(line, []byte{'\n'}))))
		case n == malformedShown+1:
			fmt.Fprintf(stderr, "fooproxy: %s:%d: %v; further malformed lines are only counted\n", path, number, why)
		}
	})
	if err != nil {
		return fmt.Errorf("recount %s: %w", path, err)
	}
	return nil
}

// appendTotals writes totals under the names that the statistics have for them, and in their order.
func appendTotals(b []byte, t *accesslog.Totals) []byte {
	req, ack, nak := t.Messages()
	line := func(name string, n uint64) { b = fmt.Appendf(b, "%s %d\n", name, n) }
	line("msg_total", req+ack+nak)
	line(stats.Req.String(), req)
	line(stats.Ack.String(), ack)
	line(stats.Nak.String(), nak)
	line(stats.Bad.String(), t.Bad)
	line(stats.Unmatched.String(), t.Unmatched)
	line(stats.Ended.String(), t.Ended.Connections)
	tunnel := t.Classes["tunnel"]
	line(stats.ClassFoo.String(), t.Classes["foo"].Connections)
	line(stats.ClassArbitrary.String(), t.Classes["arbitrary"].Connections)
	line(stats.ClassTunnel.String(), tunnel.Connections)
	line(stats.BytesRequest.String(), t.Ended.In-tunnel.In)
	line(stats.BytesResponse.String(), t.Ended.Out-tunnel.Out)
	line(stats.BytesTunnelIn.String(), tunnel.In)
	line(stats.BytesTunnelOut.String(), tunnel.Out)
	line(stats.LogDropped.String(), t.Dropped)
	for c := stats.EndFirst; c < stats.NumCounters; c++ {
		line(c.String(), t.Reasons[c.Reason()])
	}
	line("log_lines", t.Lines)
	line("log_unanswered", t.Unanswered)
	line("log_malformed", t.Malformed)
	line("log_sample", max(t.Sample, 1))
	return b
}
