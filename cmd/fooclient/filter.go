package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"fooproxy/codec"
)

// sendSize is from how many bytes on requests are sent although more of them are there to be read.
const sendSize = 64 << 10

// A filter sends what it reads and prints what is answered.
type filter struct {
	conn    net.Conn
	ledger  *ledger
	timeout time.Duration
	verbose bool // print requests, too, and mark both with an arrow
	stderr  io.Writer

	mu      sync.Mutex // of stdout
	stdout  io.Writer
	text    []byte // the unfinished answer, then what is to be printed; only when verbose
	refused bool   // a line could not be sent; written by send only
}

// run returns the process's exit code.
func (f *filter) run(stdin io.Reader) int {
	sent := make(chan error, 1)
	go func() { sent <- f.send(stdin) }()
	r := receiver{conn: f.conn, ledger: f.ledger, timeout: f.timeout}
	err := r.run(f)
	if missing, _, _ := f.ledger.sum(); err == nil || errors.Is(err, errClosed) && missing == 0 {
		if err != nil {
			_ = f.conn.Close() // the sender has something left to send or not: in the first case it fails now
		}
		if sendErr := <-sent; err == nil {
			err = sendErr
		}
	}
	missing, naks, strays := f.ledger.sum()
	switch {
	case errors.Is(err, errOverdue):
		return f.fail(exitMissing, "no answer for %v, unanswered requests: %d", f.timeout, missing)
	case missing > 0 && errors.Is(err, errClosed):
		return f.fail(exitMissing, "%v, unanswered requests: %d", err, missing)
	case err != nil && !errors.Is(err, errClosed):
		return f.fail(exitBroken, "%v", err)
	case f.refused:
		return exitBroken
	case strays > 0:
		fmt.Fprintf(f.stderr, "fooclient: answers to no request: %d\n", strays)
	}
	if naks > 0 {
		return exitNak
	}
	return exitAck
}

// fail says why, and returns the code.
func (f *filter) fail(code int, format string, args ...any) int {
	fmt.Fprintf(f.stderr, "fooclient: "+format+"\n", args...)
	return code
}

// send sends all of stdin. It batches what is there to be read and keeps nothing back while it waits for more.
func (f *filter) send(stdin io.Reader) error {
	defer func() {
		f.ledger.finish()
		_ = f.conn.SetReadDeadline(time.Now()) // the receiver looks whether all is done
	}()
	in := bufio.NewReaderSize(stdin, receiveSize)
	compose := composer{next: 1}
	var batch, long []byte
	var requests []codec.Message
	for number := 1; ; number++ {
		line, err := in.ReadSlice('\n')
		for long = long[:0]; errors.Is(err, bufio.ErrBufferFull); line, err = in.ReadSlice('\n') {
			long = append(long, line...)
		}
		if len(long) > 0 {
			long = append(long, line...)
			line = long
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read the input: %w", err)
		}
		var m codec.Message
		var wrong error
		batch, m, wrong = compose.append(batch, bytes.TrimSuffix(line, []byte{'\n'}))
		if wrong != nil {
			f.refused = true
			fmt.Fprintf(f.stderr, "fooclient: line %d %v, not sent\n", number, wrong)
		}
		if m.Type == codec.REQ {
			requests = append(requests, m)
		}
		if len(batch) > 0 && (len(batch) >= sendSize || err != nil || !lineBuffered(in)) {
			f.ledger.sending(requests)
			f.show("> ", batch)
			if _, err := f.conn.Write(batch); err != nil {
				return fmt.Errorf("send: %w", err)
			}
			batch, requests = batch[:0], requests[:0]
		}
		if err != nil {
			return nil
		}
	}
}

// lineBuffered is whether a further line can be read without waiting.
func lineBuffered(in *bufio.Reader) bool {
	b, _ := in.Peek(in.Buffered())
	return bytes.IndexByte(b, '\n') >= 0
}

// take prints answers and strikes them off the ledger.
func (f *filter) take(chunk []byte, ends []int32, heads []codec.Message) error {
	if !f.verbose {
		if _, err := f.stdout.Write(chunk); err != nil {
			return fmt.Errorf("print: %w", err)
		}
	} else if len(ends) > 0 {
		last := ends[len(ends)-1]
		f.show("< ", append(f.text, chunk[:last]...))
		f.text = append(f.text[:0], chunk[last:]...)
	} else {
		f.text = append(f.text, chunk...)
	}
	for _, m := range heads {
		f.ledger.answered(m)
	}
	return nil
}

// show prints messages after an arrow each, when verbose. What cannot be printed is lost; the exit code is about the answers.
func (f *filter) show(arrow string, messages []byte) {
	if !f.verbose {
		return
	}
	var b []byte
	for line := range bytes.Lines(messages) {
		b = append(append(b, arrow...), line...)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	_, _ = f.stdout.Write(b)
}
