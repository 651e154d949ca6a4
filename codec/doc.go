// Package codec knows the Foo wire format and nothing else.
//
//	Msg  := Type WS Seq [WS Data] LF
//	Type := "REQ" | "ACK" | "NAK"
//	WS   := one or more of SP, HTAB, CR
//	Seq  := ["-"] DIGIT+                    any length
//	Data := any UTF-8 without LF, may be empty
//
// What lives here:
//
//	Scanner   a tap on one direction of one connection. Feed tells, chunk by
//	          chunk, how many bytes are a prefix of valid Foo, counts the
//	          messages by type, and says where and why a stream stops being Foo.
//	          It is a small value without pointers: a session's state that can
//	          be copied, compared and handed over.
//	Head      reads Type, Seq and size of lines that Scanner has passed, for
//	          whoever matches answers to requests.
//	Parse     checks and takes apart one whole line.
//
// The session calls Feed with each received buffer, in place; nothing is
// copied or kept, and no call allocates. The package does no input or output,
// starts no goroutine and reads no clock.
package codec
