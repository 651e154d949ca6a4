package accesslog

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pipe makes a named pipe that holds one page, and opens its reading end without waiting for a writer.
func pipe(t *testing.T) (path string, reader *os.File) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reader.Close() })
	if _, err := unix.FcntlInt(reader.Fd(), unix.F_SETPIPE_SZ, 4096); err != nil {
		t.Fatal(err)
	}
	return path, reader
}

func TestDeviceIsFull(t *testing.T) {
	const lines = 3000
	for _, overflow := range []string{Drop, Block} {
		t.Run(overflow, func(t *testing.T) {
			said, log := logger()
			l := open(t, Options{Path: "/dev/full", Overflow: overflow, Rings: 2, RingBytes: ringBytesMin, Logger: log})
			produce(l, lines)
			eventually(t, "the failure is noticed", l.failed.Load)
			for range 3 {
				l.nudge() // instead of waiting for the next attempt
				eventually(t, "another attempt", func() bool { return len(l.wake) == 0 })
			}
			if err := l.Close(); err == nil || !strings.Contains(err.Error(), "no space left on device") {
				t.Errorf("close: %v", err)
			}
			if got := l.Dropped(); got != 2*lines {
				t.Errorf("%d dropped, want %d", got, 2*lines)
			}
			if s := said.String(); strings.Count(s, "\n") != 1 || !strings.Contains(s, "level=WARN") || !strings.Contains(s, "no space") {
				t.Errorf("want one warning, got\n%s", s)
			}
		})
	}
}

// The file may not grow beyond a limit that lies within a line; later it may.
func TestFullDiskHasRoomAgain(t *testing.T) {
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	limit := func(bytes uint64) {
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: bytes, Max: before.Max}); err != nil {
			t.Fatal(err)
		}
	}
	defer limit(before.Cur)

	const lines = 1000
	path := filepath.Join(t.TempDir(), "log")
	said, log := logger()
	l := open(t, Options{Path: path, Rings: 2, RingBytes: 1 << 20, Logger: log})
	// After a hundred lines and the part of the next that says whose it is.
	var lineBytes int
	f := newFormat(&textShape)
	for seq := range int64(100) {
		lineBytes += len(f.appendRequest(nil, &Request{Time: seq, Conn: 1, Client: client, Seq: seq, Fits: true, Result: ACK}))
	}
	stop := lineBytes + len("1970-01-01T00:00:00.000100Z REQ conn=1 client=")
	limit(uint64(stop))
	// The second ring's line is the unfinished one; the first ring's must not come in between.
	produceOn(l, 1, lines)
	eventually(t, "the failure is noticed", l.failed.Load)
	produceOn(l, 0, lines)
	if log := read(t, path); len(log) != stop || !strings.HasSuffix(log, " client=") {
		t.Errorf("stopped after %d bytes: %q", len(log), log)
	}
	limit(before.Cur)
	l.nudge()
	eventually(t, "the recovery is noticed", func() bool { return !l.failed.Load() })
	closeLog(t, l)
	if n := l.Dropped(); n != 0 {
		t.Errorf("%d lines dropped that had room in their rings", n)
	}
	checkSum(t, l, read(t, path), lines)
	if s := said.String(); strings.Count(s, "\n") != 2 || !strings.Contains(s, "level=INFO") {
		t.Errorf("want a warning and its end, got\n%s", s)
	}
}

// A pipe takes only parts of lines; the reader must still get whole ones, whatever the policy.
func TestSlowPipe(t *testing.T) {
	const lines = 5000
	for _, overflow := range []string{Drop, Block} {
		t.Run(overflow, func(t *testing.T) {
			path, reader := pipe(t)
			l := open(t, Options{Path: path, Overflow: overflow, Rings: 2, RingBytes: ringBytesMin})
			got := make(chan string)
			go func() {
				var all bytes.Buffer
				part := make([]byte, 701)
				for {
					n, err := unix.Read(int(reader.Fd()), part)
					all.Write(part[:max(n, 0)])
					if n == 0 {
						got <- all.String()
						return
					}
					if err == unix.EAGAIN {
						_, _ = unix.Poll([]unix.PollFd{{Fd: int32(reader.Fd()), Events: unix.POLLIN}}, 1000)
					}
				}
			}()
			produce(l, lines)
			closeLog(t, l)
			checkSum(t, l, <-got, lines)
			if n := l.Dropped(); overflow == Block && n != 0 {
				t.Errorf("%d lines dropped", n)
			}
		})
	}
}

// fill logs on ring 0 until the pipe and the ring are full. A write of more than a page fills the pipe up to its last byte,
// which lies within a line: the ring is large enough for the first write to be such a one.
func fill(t *testing.T, l *Log) (lines int64) {
	t.Helper()
	eventually(t, "a line is dropped", func() bool {
		for range 100 {
			l.Ring(0).Request(&Request{Client: client, Seq: lines, Fits: true, Result: ACK})
			lines++
		}
		l.Ring(0).Flush()
		return l.Dropped() > 0
	})
	return lines
}

func TestReaderOfThePipeGoesAway(t *testing.T) {
	path, reader := pipe(t)
	said, log := logger()
	l := open(t, Options{Path: path, Rings: 1, RingBytes: 64 << 10, Logger: log})
	lines := fill(t, l)
	head := make([]byte, 1<<20)
	n, err := reader.Read(head)
	if err != nil {
		t.Fatal(err)
	}
	_ = reader.Close()
	eventually(t, "the failure is noticed", l.failed.Load)
	if err := l.Close(); err == nil || !strings.Contains(err.Error(), "broken pipe") {
		t.Errorf("close: %v", err)
	}
	if s := said.String(); strings.Count(s, "level=WARN") != 1 {
		t.Errorf("want one warning, got\n%s", s)
	}
	// What the writer put into the pipe after the read above is lost with the pipe, and only that.
	whole := uint64(strings.Count(string(head[:n]), "\n"))
	if written := uint64(lines) - l.Dropped(); written < whole {
		t.Errorf("%d lines counted as written, but %d were read", written, whole)
	}
}

// Reopen must work while the old pipe is stuck within a line; that line is then whole in the new file.
func TestReopenWithAStuckPipe(t *testing.T) {
	path, reader := pipe(t)
	l := open(t, Options{Path: path, Rings: 1, RingBytes: 64 << 10})
	lines := fill(t, l)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	closeLog(t, l)
	old, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	end := bytes.LastIndexByte(old, '\n') + 1
	if end == len(old) {
		t.Fatal("the pipe got stuck between two lines: the test shows nothing")
	}
	checkSum(t, l, string(old[:end])+read(t, path), uint64(lines))
}

// A pipe that nobody reads must not keep Close, nor a producer that waits for room.
func TestCloseWithAStuckPipe(t *testing.T) {
	path, _ := pipe(t)
	_, log := logger()
	l := open(t, Options{Path: path, Rings: 1, Overflow: Block, RingBytes: ringBytesMin, Logger: log})
	l.patience = 10 * time.Millisecond
	const lines = 10_000
	producer := make(chan struct{})
	go func() {
		defer close(producer)
		produce(l, lines)
	}()
	r := l.Ring(0)
	eventually(t, "the ring is full", func() bool { return r.head.Load()-r.tail.Load() > r.size-lineMax })
	if err := l.Close(); err == nil || !strings.Contains(err.Error(), "lines lost") {
		t.Errorf("close: %v", err)
	}
	<-producer
	if n := l.Dropped(); n == 0 || n >= lines {
		t.Errorf("%d of %d lines dropped", n, lines)
	}
}

func TestPipeWithoutAReader(t *testing.T) {
	path, reader := pipe(t)
	_ = reader.Close()
	if _, err := Open(Options{Path: path, Rings: 1}); err == nil || !strings.Contains(err.Error(), "nothing reads") {
		t.Errorf("open: %v", err)
	}
}

const childLines = 2000

// childMain is the child process of the test below: it logs to its standard output.
func childMain() bool {
	if os.Getenv("ACCESSLOG_CHILD") == "" {
		return false
	}
	l, err := Open(Options{Path: Stdout, Rings: 2, Overflow: Block, RingBytes: ringBytesMin})
	if err != nil {
		panic(err)
	}
	produce(l, childLines)
	if err := l.Reopen(); err != nil {
		panic(err)
	}
	if err := l.Close(); err != nil {
		panic(err)
	}
	_, _ = os.Stdout.WriteString("still open\n")
	return true
}

func TestStandardOutput(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(self)
	child.Env = append(os.Environ(), "ACCESSLOG_CHILD=1")
	child.Stderr = os.Stderr
	out, err := child.Output()
	if err != nil {
		t.Fatal(err)
	}
	log, ok := strings.CutSuffix(string(out), "still open\n")
	if !ok {
		t.Error("the log closed standard output")
	}
	for i, n := range account(t, log, 2) {
		if n != childLines {
			t.Errorf("ring %d: %d lines, want %d", i, n, childLines)
		}
	}
}
