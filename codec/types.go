package codec

import "strconv"

// Type is the kind of a message.
type Type uint8

// The message types of Foo.
const (
	REQ Type = 1 // a client's request
	ACK Type = 2 // a server's positive answer
	NAK Type = 3 // a server's negative answer
)

// String is the type as it stands on the wire, or "Type(n)".
func (t Type) String() string {
	switch t {
	case REQ:
		return "REQ"
	case ACK:
		return "ACK"
	case NAK:
		return "NAK"
	}
	return "Type(" + strconv.Itoa(int(t)) + ")"
}

// Dir says which way a stream flows, and so which types it may hold.
type Dir uint8

// The two directions of a connection.
const (
	Requests Dir = 0 // client to server: only REQ is valid
	Answers  Dir = 1 // server to client: only ACK and NAK are valid
)

// String is "request" or "response", as the log spells it.
func (d Dir) String() string {
	if d == Requests {
		return "request"
	}
	return "response"
}

// Counts are messages by type.
type Counts struct{ Req, Ack, Nak uint64 }

// Total is the number of messages of all types.
func (c Counts) Total() uint64 { return c.Req + c.Ack + c.Nak }

// Want says what the grammar asked for at the byte that broke it.
type Want uint8

// What can be missing, in the order of a line.
const (
	WantNone        Want = iota
	WantType             // a letter of a type that is valid in this direction
	WantSpace            // SP, HTAB or CR after the type
	WantSeq              // a digit, or "-" before the first digit
	WantSeqEnd           // a further digit, white space or LF
	WantUTF8             // a byte that continues valid UTF-8
	WantShorterLine      // the end of a line that has reached the longest size allowed
)

var wantNames = [...]string{"", "type", "space", "seq", "seq-end", "utf-8", "shorter-line"}

// String is the word that the log prints after "want=".
func (w Want) String() string {
	if int(w) < len(wantNames) {
		return wantNames[w]
	}
	return "Want(" + strconv.Itoa(int(w)) + ")"
}

// Violation is where a stream stops being Foo. It is an error, so that Parse
// can return it.
type Violation struct {
	Line   uint64 // 1-based number of the line in its stream
	Offset uint64 // 0-based offset in that line of the first byte that cannot be Foo
	Want   Want
}

// Error spells the violation for an operator.
func (v Violation) Error() string {
	return "line " + strconv.FormatUint(v.Line, 10) + ", offset " +
		strconv.FormatUint(v.Offset, 10) + ": want " + v.Want.String()
}
