package compare

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"fooproxy/bench/load"
	"fooproxy/bench/target"
)

// generator is a child "foobench load --turns": a line to it starts a turn, a line from it says what the turn found.
type generator struct {
	p     *target.Process
	in    *os.File
	out   *os.File
	lines *bufio.Reader
}

// exitInvalid is foobench load's exit code for a run that the generator itself limited.
const exitInvalid = 4

// patience is how much longer than its measured time a generator may take: its own time-outs are below that.
const patience = time.Minute

// startGenerator starts a generator and waits until its connections stand.
func startGenerator(args []string, core int) (*generator, error) {
	stdin, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	out, stdout, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, stdin.Close(), in.Close())
	}
	g := &generator{in: in, out: out, lines: bufio.NewReader(out)}
	g.p, err = target.SpawnOpposite(args, core, stdin, stdout)
	// The child has its own; with ours open, its end would not be noticed.
	err = errors.Join(err, stdin.Close(), stdout.Close())
	if err == nil {
		_, err = g.line(0)
	}
	if err != nil {
		g.stop()
		return nil, err
	}
	return g, nil
}

// line reads what the generator says next, which it does after length and a little more.
func (g *generator) line(length time.Duration) ([]byte, error) {
	if err := g.out.SetReadDeadline(time.Now().Add(length + patience)); err != nil {
		return nil, err
	}
	line, err := g.lines.ReadBytes('\n')
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, fmt.Errorf("the generator said nothing for %v", length+patience)
	}
	if err != nil {
		return nil, g.failed(err)
	}
	return line, nil
}

// failed is why a generator has ended.
func (g *generator) failed(err error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if _, waited := g.p.Wait(ctx); waited == nil && g.p.Output() != "" {
		return errors.New(strings.TrimPrefix(g.p.Output(), "foobench load: "))
	}
	return fmt.Errorf("the generator ended without a result: %w: %s", err, g.p.Output())
}

// turn measures for about length.
func (g *generator) turn(length time.Duration) (turn load.Turn, err error) {
	if _, err := g.in.WriteString("turn\n"); err != nil {
		return turn, g.failed(err)
	}
	line, err := g.line(length)
	if err != nil {
		return turn, err
	}
	if err := json.Unmarshal(line, &turn); err != nil {
		return turn, fmt.Errorf("what the generator says of a turn: %w: %s", err, line)
	}
	return turn, nil
}

// finish ends all connections and returns the result of all turns. One that is INVALID because the generator was the limit
// is a result: the report shows it.
func (g *generator) finish() (r load.Result, err error) {
	if err := g.in.Close(); err != nil {
		return r, err
	}
	if err := g.out.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return r, err
	}
	text, err := io.ReadAll(g.lines)
	if err != nil {
		return r, g.failed(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	code, err := g.p.Wait(ctx)
	if err != nil {
		return r, err
	}
	if code != 0 && code != exitInvalid {
		return r, g.failed(fmt.Errorf("exit code %d", code))
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return r, fmt.Errorf("the generator's result: %w: %s", err, g.p.Output())
	}
	return r, nil
}

// stop ends the generator wherever it is.
func (g *generator) stop() {
	if g.p != nil {
		_ = g.p.Stop()
	}
	_ = g.in.Close()
	_ = g.out.Close()
}
