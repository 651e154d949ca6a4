// Command fooclient talks to a Foo server or proxy: line by line on a terminal, or as a filter that sends what it reads from
// standard input and prints the answers.
//
//	           ┌ terminal.go: lines, history ┐
//	stdin ───▶ │                             ├─▶ message.go ─▶ connection ─▶ answers.go ─▶ stdout
//	           └ filter.go: a stream         ┘       └──── ledger.go ────────────┘
//
// message.go makes a request of a line of text, answers.go checks what comes back, and the ledger knows which requests still
// have no answer. Reading and writing run concurrently: however much is sent, answers are taken all the time, so neither
// side waits for the other for ever.
//
// Line editing is golang.org/x/term's: of the libraries at hand it alone prints while a line is being edited as a documented
// operation (Terminal.Write), without goroutines or a state of the whole process behind it, and it is maintained with Go.
package main
