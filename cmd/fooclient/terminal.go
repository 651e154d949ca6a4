package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"time"
	"unicode"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"fooproxy/codec"
)

const (
	prompt  = "foo> "
	showMax = 4 << 10 // bytes of an answer that are shown
	welcome = "Connected to %s. Text becomes the next request, a line that is Foo goes as it is, \"quit\" ends.\n"
)

// A console is a conversation on a terminal: answers appear above the line that is being edited.
type console struct {
	conn   net.Conn
	ledger *ledger
	screen *term.Terminal
	line   []byte // the unfinished answer, cut at showMax
}

// stdio joins the two halves of a terminal.
type stdio struct {
	io.Reader
	io.Writer
}

// run talks until "quit", the end of the input, a signal, or the end of the connection, and returns the exit code. The
// terminal is as before when it returns.
func (c *console) run(stdin, stdout *os.File, addr, historyPath string) int {
	fd := int(stdin.Fd())
	before, err := term.MakeRaw(fd)
	if err != nil {
		fmt.Fprintf(os.Stderr, "fooclient: switch the terminal to raw mode: %v\n", err)
		return exitBroken
	}
	defer func() { _ = term.Restore(fd, before) }()

	resized := make(chan os.Signal, 1)
	stop := make(chan os.Signal, 1)
	signal.Notify(resized, unix.SIGWINCH)
	signal.Notify(stop, unix.SIGTERM, unix.SIGHUP, unix.SIGINT)
	c.screen = term.NewTerminal(stdio{stdin, stdout}, prompt)
	c.screen.History = openHistory(historyPath)
	c.fit(fd)
	fmt.Fprintf(c.screen, welcome, addr)

	typed, received := make(chan error, 1), make(chan error, 1)
	go func() { typed <- c.send() }()
	go func() {
		r := receiver{conn: c.conn, ledger: c.ledger}
		received <- r.run(c)
	}()
	for {
		select {
		case <-resized:
			c.fit(fd)
		case <-stop:
			leave(stdout)
			return exitBroken
		case err := <-typed:
			return c.farewell(err, stdout)
		case err := <-received:
			return c.farewell(err, stdout)
		}
	}
}

// farewell says how the conversation ended: errQuit or io.EOF if the user did it.
func (c *console) farewell(err error, stdout *os.File) int {
	if missing, _, _ := c.ledger.sum(); missing > 0 {
		fmt.Fprintf(c.screen, "Unanswered requests: %d.\n", missing)
	}
	if errors.Is(err, errQuit) {
		return exitAck
	}
	defer leave(stdout)
	if errors.Is(err, io.EOF) {
		return exitAck
	}
	fmt.Fprintf(c.screen, "fooclient: %v\n", err)
	return exitBroken
}

// leave goes to a new line, as the prompt is on the last one.
func leave(stdout *os.File) { _, _ = stdout.WriteString("\r\n") }

func (c *console) fit(fd int) {
	if width, height, err := term.GetSize(fd); err == nil && width > 0 {
		_ = c.screen.SetSize(width, height)
	}
}

var errQuit = errors.New("the user has typed quit")

// send sends what is typed until the user ends it: then the error is errQuit or io.EOF.
func (c *console) send() error {
	compose := composer{next: 1}
	var batch []byte
	for {
		line, err := c.screen.ReadLine()
		if err != nil {
			return err
		}
		if strings.TrimSpace(line) == "quit" {
			return errQuit
		}
		var m codec.Message
		if batch, m, err = compose.append(batch[:0], []byte(line)); err != nil {
			fmt.Fprintf(c.screen, "The line %v, not sent.\n", err)
			continue
		}
		if m.Type == codec.REQ {
			c.ledger.sending([]codec.Message{m})
		}
		if _, err := c.conn.Write(batch); err != nil {
			return fmt.Errorf("send: %w", err)
		}
	}
}

// take shows the answers that end in chunk, with the time that they took.
func (c *console) take(chunk []byte, ends []int32, heads []codec.Message) error {
	var b strings.Builder
	start := int32(0)
	for i, end := range ends {
		c.keep(chunk[start : end-1])
		start = end
		b.WriteString(printable(c.line))
		if uint64(len(c.line))+1 < heads[i].Size {
			fmt.Fprintf(&b, "… (%d bytes)", heads[i].Size)
		}
		c.line = c.line[:0]
		if took, ok := c.ledger.answered(heads[i]); !ok {
			b.WriteString("  (answers no request)")
		} else if took > 0 {
			fmt.Fprintf(&b, "  (%v)", took.Round(10*time.Microsecond))
		}
		b.WriteByte('\n')
	}
	c.keep(chunk[start:])
	_, err := io.WriteString(c.screen, b.String())
	return err
}

func (c *console) keep(b []byte) {
	c.line = append(c.line, b[:min(len(b), showMax-len(c.line))]...)
}

// printable replaces what could command the terminal, and the CR before an LF by nothing.
func printable(line []byte) string {
	var b strings.Builder
	for _, r := range strings.TrimSuffix(string(line), "\r") {
		switch {
		case r == '\t' || unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, "\\u%04x", r)
		}
	}
	return b.String()
}
