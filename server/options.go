package server

import (
	"fmt"
	"math"
	"runtime"
	"strings"
	"time"
	"unicode/utf8"
)

// The values of Options.Reply that are not a text.
const (
	ReplyEcho  = "echo"  // the request's own white space, Seq and Data, byte for byte
	ReplyEmpty = "empty" // Seq only
)

// Limits of Options.
const (
	LoopsMax     = 1024
	TextMax      = 16 << 10 // bytes of a fixed Reply
	ReorderMax   = 1 << 16  // requests
	DelayMax     = time.Hour
	maxBufferMin = 2 * streamMin // an unfinished answer alone must never stop the receiving
)

// Options say what a Server does. The zero value listens on a port of the kernel's choice and echoes.
type Options struct {
	Listen string // "host:port", "port" or "unix:/path"; "" or port 0 lets the kernel choose
	Loops  int    // event loops, each a thread of its own; 0 = one per CPU that the process may use
	CPUs   []int  // loop i runs on CPUs[i%len(CPUs)] only; empty = the kernel chooses

	NakShare float64       // probability of a NAK, 0 to 1
	Reply    string        // ReplyEcho (also ""), ReplyEmpty, or the Data of every answer
	Delay    time.Duration // from a request's LF to its answer
	Reorder  int           // answers are shuffled within windows of so many requests; 0 or 1 = in the requests' order
	Seed     uint64        // of NakShare and Reorder

	MaxBuffer int           // bytes of answers kept for a client that does not read, before it is no longer read; 0 = 1 MiB
	Drain     time.Duration // how long a client may take to end after the server has ended; 0 = 5 s
}

// An OptionError says which field of Options cannot be used, and why.
type OptionError struct {
	Field string // the field's name, for example "NakShare"
	Why   string // what it must be
}

func (e *OptionError) Error() string { return e.Field + ": " + e.Why }

// normal returns o with its defaults filled in, or an *OptionError.
func (o Options) normal() (Options, error) {
	wrong := func(field, format string, args ...any) (Options, error) {
		return o, &OptionError{field, fmt.Sprintf(format, args...)}
	}
	switch {
	case o.Loops < 0 || o.Loops > LoopsMax:
		return wrong("Loops", "must be between 0 and %d", LoopsMax)
	case math.IsNaN(o.NakShare) || o.NakShare < 0 || o.NakShare > 1:
		return wrong("NakShare", "must be between 0 and 1")
	case len(o.Reply) > TextMax:
		return wrong("Reply", "must not be longer than %d bytes", TextMax)
	case strings.Contains(o.Reply, "\n") || !utf8.ValidString(o.Reply):
		return wrong("Reply", "must be UTF-8 without a line end")
	case o.Delay < 0 || o.Delay > DelayMax:
		return wrong("Delay", "must be between 0 and %v", DelayMax)
	case o.Reorder < 0 || o.Reorder > ReorderMax:
		return wrong("Reorder", "must be between 0 and %d", ReorderMax)
	case o.MaxBuffer != 0 && o.MaxBuffer < maxBufferMin:
		return wrong("MaxBuffer", "must be 0 or at least %d", maxBufferMin)
	case o.Drain < 0:
		return wrong("Drain", "must not be negative")
	}
	if o.Loops == 0 {
		o.Loops = runtime.NumCPU()
	}
	if o.Reply == "" {
		o.Reply = ReplyEcho
	}
	if o.MaxBuffer == 0 {
		o.MaxBuffer = 1 << 20
	}
	if o.Drain == 0 {
		o.Drain = 5 * time.Second
	}
	return o, nil
}
