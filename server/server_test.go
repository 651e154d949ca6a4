package server

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAnswersEverythingThenFin(t *testing.T) {
	for _, listen := range []string{"127.0.0.1:0", "unix"} {
		for _, loops := range []int{1, 3} {
			for _, reply := range []string{ReplyEcho, ReplyEmpty, "text"} {
				t.Run(fmt.Sprintf("%s/loops=%d/%s", listen, loops, reply), func(t *testing.T) {
					o := Options{Listen: listen, Loops: loops, Reply: reply}
					if listen == "unix" {
						o.Listen = "unix:" + filepath.Join(t.TempDir(), "s")
					}
					s := start(t, o)
					sent := requests(50_000) + corpus
					for range 2 {
						same(t, connect(t, s).ask(sent), answersTo(sent, reply, never))
					}
					n := uint64(2 * strings.Count(sent, "\n"))
					await(t, "the counters", func() bool {
						return s.Counts() == Counts{Req: n, Ack: n, Accepted: 2}
					})
				})
			}
		}
	}
}

func TestOneByteSegments(t *testing.T) {
	s := start(t, Options{})
	c := connect(t, s)
	for i := range len(corpus) {
		c.send(corpus[i : i+1])
	}
	c.fin()
	same(t, c.rest(), answersTo(corpus, ReplyEcho, never))
}

func TestPingPongOnManyConnections(t *testing.T) {
	s := start(t, Options{Loops: 2})
	var clients []*client
	for range 50 {
		clients = append(clients, connect(t, s))
	}
	for round := range 20 {
		for i, c := range clients {
			c.send(fmt.Sprintf("REQ %d from %d\n", round, i))
		}
		for i, c := range clients {
			same(t, c.line(), fmt.Sprintf("ACK %d from %d\n", round, i))
		}
	}
}

func TestHugeMessage(t *testing.T) {
	const size = 64 << 20
	huge := "REQ 1 " + strings.Repeat("0123456789abcdef", size/16) + "\nREQ 2 after\n"
	for _, o := range []Options{{}, {Reply: ReplyEmpty}, {Reorder: 4}, {Delay: time.Millisecond}} {
		t.Run(fmt.Sprintf("%+v", o), func(t *testing.T) {
			s := start(t, o)
			reply := o.Reply
			if reply == "" {
				reply = ReplyEcho
			}
			same(t, connect(t, s).ask("REQ 0\n"+huge), answersTo("REQ 0\n"+huge, reply, never))
			s.Kill()
			for _, l := range s.loops {
				if l.spares.size > 8<<20 {
					t.Errorf("a message of %d bytes has left %d bytes of buffers behind", size, l.spares.size)
				}
			}
		})
	}
}

func TestHugeSeq(t *testing.T) {
	s := start(t, Options{Reply: ReplyEmpty})
	sent := "REQ 1\nREQ " + strings.Repeat("7", 10<<20) + " x\nREQ 2\n"
	same(t, connect(t, s).ask(sent), answersTo(sent, ReplyEmpty, never))
}

func TestBadInputEndsTheConnection(t *testing.T) {
	for _, bad := range []string{"\n", "req 3\n", "ACK 3\n", "REQ\n", "REQ x\n", "REQ 12x\n", " REQ 3\n", "REQ 3 \xff\n", "GET / HTTP/1.1\r\n\r\n"} {
		t.Run(fmt.Sprintf("%q", bad), func(t *testing.T) {
			s := start(t, Options{})
			canary := connect(t, s)
			c := connect(t, s)
			c.send("REQ 1 one\nREQ 2\n" + bad + "REQ 4\n")
			same(t, c.rest(), "ACK 1 one\nACK 2\n")
			_ = c.Close()
			await(t, "the counters", func() bool { return s.Counts() == Counts{Req: 2, Ack: 2, Bad: 1, Accepted: 2, Open: 1} })
			canary.send("REQ 5\n")
			same(t, canary.line(), "ACK 5\n")
		})
	}
}

func TestUnfinishedRequestGetsNoAnswer(t *testing.T) {
	for _, o := range []Options{{}, {Reply: ReplyEmpty}, {Reorder: 3}} {
		s := start(t, o)
		same(t, connect(t, s).ask("REQ 1\nREQ 2 unfinis"), "ACK 1\n")
	}
}

func TestStopAnswersWhatWasReceived(t *testing.T) {
	s := start(t, Options{Delay: 20 * time.Millisecond})
	idle, busy := connect(t, s), connect(t, s)
	sent := requests(1000)
	busy.send(sent)
	await(t, "everything received", func() bool { return s.Counts().Req == 1000 })
	stopped := make(chan struct{})
	go func() {
		s.Stop()
		close(stopped)
	}()
	same(t, busy.rest(), answersTo(sent, ReplyEcho, never))
	same(t, idle.rest(), "")
	if _, err := net.Dial("tcp", s.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a stopped server still listens: %v", err)
	}
	_ = idle.Close()
	_ = busy.Close()
	<-stopped
	if c := s.Counts(); c.Open != 0 || c.Ack != 1000 {
		t.Errorf("%+v", c)
	}
}

func TestStopDoesNotWaitForEver(t *testing.T) {
	s := start(t, Options{Drain: 10 * time.Millisecond})
	c := connect(t, s)
	c.send("REQ 1\n")
	c.line()
	s.Stop() // returns although the client stays
	same(t, c.rest(), "")
}

func TestKillEndsAStop(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	s := start(t, Options{Listen: "unix:" + path, Loops: 2, Drain: time.Hour})
	c := connect(t, s)
	c.send("REQ 1\n")
	c.line()
	stopped := make(chan struct{})
	go func() {
		s.Stop()
		close(stopped)
	}()
	same(t, c.rest(), "") // Stop has begun
	s.Kill()
	<-stopped
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the socket's file is left: %v", err)
	}
	s.Stop()
}

func TestStopWithoutStart(t *testing.T) {
	s, err := New(Options{Listen: "127.0.0.1:0", Loops: 2})
	if err != nil {
		t.Fatal(err)
	}
	s.Stop()
	s.Start()
	if _, err := net.Dial("tcp", s.Addr()); err == nil {
		t.Error("a stopped server listens")
	}
}

func TestDelay(t *testing.T) {
	const delay = 30 * time.Millisecond
	s := start(t, Options{Delay: delay})
	c := connect(t, s)
	for i := range 3 {
		begun := time.Now()
		c.send(fmt.Sprintf("REQ %d\n", i))
		same(t, c.line(), fmt.Sprintf("ACK %d\n", i))
		if took := time.Since(begun); took < delay {
			t.Errorf("answered after %v, the delay is %v", took, delay)
		}
	}
	sent := requests(20_000)
	same(t, c.ask(sent), answersTo(sent, ReplyEcho, never))
}

// TestRandomIsTheSameHoweverItArrives asks servers of one seed in different segments.
func TestRandomIsTheSameHoweverItArrives(t *testing.T) {
	sent := requests(3000)
	ask := func(seed uint64, segment int) string {
		s := start(t, Options{Seed: seed, NakShare: 0.3, Reorder: 7, Loops: 2})
		probe := connect(t, s) // sends nothing: it must not change what the next connection gets
		_ = probe.Close()
		c := connect(t, s)
		go func() {
			for at := 0; at < len(sent); at += segment {
				_, _ = io.WriteString(c.Conn, sent[at:min(at+segment, len(sent))])
			}
			_ = c.Conn.(*net.TCPConn).CloseWrite()
		}()
		return c.rest()
	}
	whole := ask(1, len(sent))
	same(t, ask(1, 1000), whole)
	same(t, ask(1, 37), whole)
	if ask(2, len(sent)) == whole {
		t.Error("another seed gives the same answers")
	}
	if n := strings.Count(whole, "NAK"); n < 800 || n > 1000 {
		t.Errorf("%d of 3000 answers are NAKs, the share is 0.3", n)
	}
}

func TestReorderStaysWithinItsWindow(t *testing.T) {
	const window, count = 10, 1003 // the last window is not full
	s := start(t, Options{Reorder: window})
	sent := requests(count)
	got := strings.SplitAfter(connect(t, s).ask(sent), "\n")
	want := strings.SplitAfter(answersTo(sent, ReplyEcho, never), "\n")
	if slices.Equal(got, want) {
		t.Error("nothing is reordered")
	}
	for at := 0; at < count; at += window {
		end := min(at+window, count)
		slices.Sort(got[at:end])
		slices.Sort(want[at:end])
		if !slices.Equal(got[at:end], want[at:end]) {
			t.Fatalf("answers %d to %d are %q", at, end-1, got[at:end])
		}
	}
}

func TestReorderAnswersAPausingClient(t *testing.T) {
	s := start(t, Options{Reorder: 100})
	c := connect(t, s)
	for range 3 {
		c.send("REQ 1\nREQ 2\nREQ 3\n")
		got := []string{c.line(), c.line(), c.line()}
		slices.Sort(got)
		if !slices.Equal(got, []string{"ACK 1\n", "ACK 2\n", "ACK 3\n"}) {
			t.Fatalf("%q", got)
		}
	}
}

func TestChurn(t *testing.T) {
	s := start(t, Options{})
	for i := range 2000 {
		c := connect(t, s)
		c.send(fmt.Sprintf("REQ %d\n", i))
		same(t, c.line(), fmt.Sprintf("ACK %d\n", i))
		if i%3 == 0 {
			_ = c.Conn.(*net.TCPConn).SetLinger(0) // an RST instead of a FIN
		}
		_ = c.Close()
	}
	await(t, "all closed", func() bool { return s.Counts().Open == 0 })
	if n := len(s.loops[0].conns); n > 100 {
		t.Errorf("%d slots for one connection at a time", n)
	}
}

func TestSlowReaderGetsEverything(t *testing.T) {
	s := start(t, Options{MaxBuffer: maxBufferMin})
	c := connect(t, s)
	_ = c.Conn.(*net.TCPConn).SetReadBuffer(64 << 10)
	sent := requests(300_000)
	canary := connect(t, s)
	go func() {
		_, _ = io.WriteString(c.Conn, sent)
		_ = c.Conn.(*net.TCPConn).CloseWrite()
	}()
	for range 100 {
		canary.send("REQ 1\n")
		canary.line()
	}
	same(t, c.rest(), answersTo(sent, ReplyEcho, never))
}
