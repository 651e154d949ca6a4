package main

import (
	"bufio"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
)

func TestExitCodes(t *testing.T) {
	addr := startServer(t)
	nak := startServer(t, "--nak", "1")
	refused := startPeer(t, func(net.Conn, *bufio.Reader) {}) // closes at once
	silent := startPeer(t, func(_ net.Conn, r *bufio.Reader) { _, _ = io.Copy(io.Discard, r) })
	garbage := startPeer(t, func(c net.Conn, r *bufio.Reader) {
		_, _ = r.ReadString('\n')
		_, _ = io.WriteString(c, "ACK 1 fine\nHTTP/1.1 400\n")
		_, _ = io.Copy(io.Discard, r)
	})
	unused, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := unused.Addr().String()
	_ = unused.Close()

	for name, test := range map[string]struct {
		stdin  string
		args   []string
		code   int
		stdout string
		stderr string // a part of it
	}{
		"ack":             {"one\ntwo\n", []string{addr}, exitAck, "ACK 1 one\nACK 2 two\n", ""},
		"no final LF":     {"one\n\n \ntwo", []string{addr}, exitAck, "ACK 1 one\nACK 2 two\n", ""},
		"nothing":         {"", []string{addr}, exitAck, "", ""},
		"verbose":         {"one\n", []string{"-v", addr}, exitAck, "> REQ 1 one\n< ACK 1 one\n", ""},
		"help":            {"", []string{"--help"}, exitAck, help, ""},
		"nak":             {"one\n", []string{nak}, exitNak, "NAK 1 one\n", ""},
		"no server":       {"one\n", []string{nobody}, exitBroken, "", "refused; is the server running?"},
		"no socket":       {"one\n", []string{"unix:/nonexistent/s"}, exitBroken, "", "no such file"},
		"not UTF-8":       {"one\n\xff\ntwo\n", []string{addr}, exitBroken, "ACK 1 one\nACK 2 two\n", "line 2 is not UTF-8"},
		"not Foo":         {"one\ntwo\n", []string{garbage}, exitBroken, "ACK 1 fine\n", `got "HTTP`},
		"closed":          {"one\ntwo\n", []string{refused}, exitMissing, "", "the server has closed the connection"},
		"silent":          {"one\n", []string{"--timeout", "50ms", silent}, exitMissing, "", "no answer for 50ms, unanswered requests: 1"},
		"unknown flag":    {"", []string{"--nope"}, exitUsage, "", "--nope: unknown flag"},
		"flag value":      {"", []string{"-p", "x"}, exitUsage, "", `-p: invalid value "x": must be`},
		"no flag value":   {"", []string{"--timeout"}, exitUsage, "", "--timeout: its value is missing"},
		"address":         {"", []string{"8001"}, exitUsage, "", `address "8001": must be`},
		"two addresses":   {"", []string{addr, "x:1"}, exitUsage, "", `"x:1"`},
		"port and addres": {"", []string{"-p", "80", addr}, exitUsage, "", "--port: the address"},
	} {
		t.Run(name, func(t *testing.T) {
			got := runClient(t, strings.NewReader(test.stdin), test.args...)
			if got.code != test.code || got.stdout != test.stdout || !strings.Contains(got.stderr, test.stderr) {
				t.Errorf("%+v", got)
			}
			if lines := strings.Count(got.stderr, "\n"); lines > 1 || (lines == 1) == (test.stderr == "") {
				t.Errorf("standard error has %d lines: %q", lines, got.stderr)
			}
		})
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("FOOCLIENT_VERBOSE", "true")
	if got := runClient(t, strings.NewReader("x\n"), startServer(t)); got.stdout != "> REQ 1 x\n< ACK 1 x\n" {
		t.Errorf("%+v", got)
	}
	t.Setenv("FOOCLIENT_TIMEOUT", "soon")
	if got := runClient(t, nil, "localhost:1"); got.code != exitUsage || !strings.Contains(got.stderr, `"FOOCLIENT_TIMEOUT": must be`) {
		t.Errorf("%+v", got)
	}
}

// TestManyRequests sends far more than the sockets hold: who does not read while writing hangs here.
func TestManyRequests(t *testing.T) {
	sent := requests(50_000)
	want := strings.ReplaceAll(sent, "REQ", "ACK")
	got := runClient(t, strings.NewReader(sent), startServer(t))
	if got.code != exitAck {
		t.Errorf("exit code %d, %s", got.code, got.stderr)
	}
	same(t, got.stdout, want)
	padded := strings.ReplaceAll(sent, "hello", strings.Repeat("hello ", 100))
	got = runClient(t, strings.NewReader(padded), startServer(t))
	same(t, got.stdout, strings.ReplaceAll(padded, "REQ", "ACK"))
}

func TestHugeMessage(t *testing.T) {
	huge := "before\nREQ 2 " + strings.Repeat("0123456789abcdef", 4<<20) + "\nafter\n"
	got := runClient(t, strings.NewReader(huge), startServer(t))
	if got.code != exitAck {
		t.Errorf("exit code %d, %s", got.code, got.stderr)
	}
	same(t, got.stdout, "ACK 1 before\nACK"+huge[len("before\nREQ"):len(huge)-len("after\n")]+"ACK 3 after\n")
}

func TestSameSeedSameAnswers(t *testing.T) {
	sent := requests(2000)
	flags := []string{"--nak", "0.2", "--reorder", "16", "--seed", "5"}
	first := runClient(t, strings.NewReader(sent), startServer(t, flags...))
	second := runClient(t, strings.NewReader(sent), startServer(t, flags...))
	same(t, second.stdout, first.stdout)
	if first.code != exitNak {
		t.Errorf("exit code %d", first.code)
	}
	got, want := strings.SplitAfter(first.stdout, "\n"), strings.SplitAfter(sent, "\n")
	naks := 0
	for i, l := range got {
		naks += strings.Count(l, "NAK")
		got[i] = strings.Replace(strings.Replace(l, "NAK", "REQ", 1), "ACK", "REQ", 1)
	}
	if naks < 300 || naks > 500 {
		t.Errorf("%d of 2000 answers are NAKs", naks)
	}
	if slices.Equal(got, want) {
		t.Error("nothing is reordered")
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Error("the answers are not those to the requests")
	}
}

// lineByLine hands on every line that is written to it.
type lineByLine struct {
	strings.Builder
	lines chan string
}

func (l *lineByLine) Write(b []byte) (int, error) {
	for line := range strings.Lines(string(b)) {
		l.lines <- line
	}
	return l.Builder.Write(b)
}

// TestAnswersComeAtOnce takes the answer to each line before it sends the next one: nothing may be kept back. The end of the
// input comes last and must wake a client that would wait for answers for ever.
func TestAnswersComeAtOnce(t *testing.T) {
	addr := startServer(t)
	in, out := io.Pipe()
	stdout := lineByLine{lines: make(chan string)}
	done := make(chan result, 1)
	go func() { done <- runClientTo(t, in, &stdout, "--timeout", "0s", addr) }()
	for _, l := range []string{"1 a\n", "2 b\n", "3 c\n"} {
		_, _ = io.WriteString(out, "REQ "+l)
		same(t, <-stdout.lines, "ACK "+l)
	}
	_ = out.Close()
	if got := <-done; got.code != exitAck || got.stdout != "ACK 1 a\nACK 2 b\nACK 3 c\n" {
		t.Errorf("%+v", got)
	}
}

func TestStrayAnswersAreNoAnswers(t *testing.T) {
	addr := startPeer(t, func(c net.Conn, r *bufio.Reader) {
		_, _ = r.ReadString('\n')
		_, _ = io.WriteString(c, "ACK 5 stray\nACK 1\nACK 1 twice\n")
		_, _ = r.ReadString('\n')
	})
	got := runClient(t, strings.NewReader("one\n"), addr)
	if got.code != exitAck || !strings.Contains(got.stderr, "answers to no request: 2") {
		t.Errorf("%+v", got)
	}
	addr = startPeer(t, func(c net.Conn, r *bufio.Reader) {
		_, _ = r.ReadString('\n')
		_, _ = io.WriteString(c, "ACK 2 stray\n")
	})
	if got := runClient(t, strings.NewReader("one\n"), addr); got.code != exitMissing {
		t.Errorf("%+v", got)
	}
}

// TestServerEndsFirst: lines that come after the server has gone are missing answers, not success.
func TestServerEndsFirst(t *testing.T) {
	in, out := io.Pipe()
	closed := make(chan struct{})
	addr := startPeer(t, func(c net.Conn, r *bufio.Reader) {
		_, _ = r.ReadString('\n')
		_, _ = io.WriteString(c, "ACK 1\n")
		_ = c.Close()
		close(closed)
	})
	done := make(chan result, 1)
	go func() { done <- runClient(t, in, addr) }()
	_, _ = io.WriteString(out, "one\n")
	<-closed
	_, _ = io.WriteString(out, "two\n")
	_ = out.Close()
	if got := <-done; got.code != exitMissing || got.stdout != "ACK 1\n" {
		t.Errorf("%+v", got)
	}
}
