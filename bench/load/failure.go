package load

import (
	"fmt"
	"strconv"
)

// FailureKind says in what way a target failed.
type FailureKind string

// The ways a run fails. Any of them makes the run's figures worthless, so the run ends at once.
const (
	Refused     FailureKind = "refused"      // a connection could not be made
	Closed      FailureKind = "closed"       // a connection ended with requests outstanding or in the middle of the run
	Malformed   FailureKind = "malformed"    // bytes that are no answer
	Unknown     FailureKind = "unknown seq"  // an answer to a request that was not sent
	Doubled     FailureKind = "doubled"      // a second answer to the same request
	WrongConn   FailureKind = "wrong conn"   // an answer on a connection that did not ask
	WrongData   FailureKind = "wrong data"   // an answer whose data is not its request's
	Late        FailureKind = "late"         // no answer within the time-out
	WrongAsked  FailureKind = "bad request"  // the built-in upstream was sent something that is no request
	TargetEnded FailureKind = "target ended" // a measured process is gone
)

// Failure is a target's fault, found by the generator.
type Failure struct {
	Kind FailureKind
	Conn int // number of the connection, from 0; -1 when it is none's
	Text string
}

func (f *Failure) Error() string {
	if f.Conn < 0 {
		return f.Text
	}
	return fmt.Sprintf("connection %d: %s", f.Conn, f.Text)
}

// excerpt quotes the beginning of b for a message.
func excerpt(b []byte) string {
	const most = 48
	if len(b) > most {
		return strconv.QuoteToASCII(string(b[:most])) + "…"
	}
	return strconv.QuoteToASCII(string(b))
}
