package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"io"

	"fooproxy/bench/load"
)

func turnsFlag(fs *flag.FlagSet) *bool {
	return fs.Bool("turns", false,
		"measure in turns: each line on stdin starts one of length -d and is answered by a line of JSON; the end of stdin ends the run")
}

// turnsBy lets a run be measured in turns, one for each line of in; out gets a line when the connections stand, and one after
// each turn.
func turnsBy(ctx context.Context, in io.Reader, out io.Writer) func(*load.Turn) bool {
	lines := make(chan struct{})
	go func() {
		defer close(lines)
		for scan := bufio.NewScanner(in); scan.Scan(); {
			select {
			case lines <- struct{}{}:
			case <-ctx.Done():
				return
			}
		}
	}()
	encode := json.NewEncoder(out)
	return func(done *load.Turn) bool {
		if err := encode.Encode(done); err != nil {
			return false
		}
		select {
		case _, more := <-lines:
			return more
		case <-ctx.Done():
			return false
		}
	}
}
