package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"fooproxy/codec"
)

const receiveSize = 256 << 10

var (
	errClosed  = errors.New("the server has closed the connection")
	errOverdue = errors.New("an answer is overdue")
)

// An answerSink takes the answers: chunks of valid bytes as they come, with the offsets just after each LF in them.
type answerSink interface {
	take(chunk []byte, ends []int32, heads []codec.Message) error
}

// A receiver reads a connection's answers and checks them.
type receiver struct {
	conn    net.Conn
	ledger  *ledger
	timeout time.Duration // the longest time without an answer while one is missing; 0 is for ever
	scan    codec.Scanner
	head    codec.Head
	heads   []codec.Message
}

// run hands all answers to the sink and returns nil once everything is sent and answered; else errClosed, errOverdue, or what
// broke. Whoever makes the ledger's done true must wake it with a read deadline in the past.
func (r *receiver) run(sink answerSink) error {
	r.scan = codec.NewScanner(codec.Answers, 0)
	buf := make([]byte, receiveSize)
	ends := make([]int32, receiveSize/6+1)
	var counts codec.Counts
	for {
		if r.timeout > 0 {
			if err := r.conn.SetReadDeadline(time.Now().Add(r.timeout)); err != nil {
				return err
			}
		}
		if r.ledger.done() { // asked after the deadline is set: its waking cannot be missed
			return nil
		}
		n, err := r.conn.Read(buf)
		valid, lines := r.scan.FeedLines(buf[:n], &counts, ends)
		if err := sink.take(buf[:valid], ends[:lines], r.read(buf[:valid], ends[:lines])); err != nil {
			return err
		}
		if valid < n {
			bad := buf[valid:min(n, valid+20)]
			return fmt.Errorf("what the server sends is no Foo: %w, got %+q", r.scan.Violation(), bad)
		}
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			if r.timeout > 0 && r.ledger.overdue(r.timeout) {
				return errOverdue
			}
		case errors.Is(err, io.EOF):
			return errClosed
		default:
			return fmt.Errorf("%w: %w", errClosed, err)
		}
	}
}

// read returns the heads of the answers that end in chunk.
func (r *receiver) read(chunk []byte, ends []int32) []codec.Message {
	r.heads = r.heads[:0]
	start := int32(0)
	for _, end := range ends {
		r.heads = append(r.heads, r.head.Line(chunk[start:end]))
		start = end
	}
	if rest := chunk[start:]; len(rest) > 0 {
		r.head.Partial(rest)
	}
	return r.heads
}
