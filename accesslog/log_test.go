package accesslog

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	if childMain() {
		return
	}
	goleak.VerifyTestMain(m)
}

func open(t *testing.T, o Options) *Log {
	t.Helper()
	l, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func closeLog(t *testing.T, l *Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

// eventually waits for a condition; only a hang ends it otherwise.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// produce logs n requests on every ring at once; a line's conn is its ring and its seq its number there.
func produce(l *Log, n int) {
	var producers sync.WaitGroup
	for i := range l.rings {
		producers.Go(func() { produceOn(l, i, n) })
	}
	producers.Wait()
}

func produceOn(l *Log, ring, n int) {
	for seq := range n {
		l.Ring(ring).Request(&Request{Time: int64(seq), Conn: uint64(ring), Client: client, Seq: int64(seq), Fits: true, Result: ACK})
		if seq%7 == 0 {
			l.Ring(ring).Flush()
		}
	}
	l.Ring(ring).Flush()
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// account reads what produce wrote: every line whole, no line twice, each ring's in order. It returns the lines per ring.
func account(t *testing.T, log string, rings int) []uint64 {
	t.Helper()
	counts, last := make([]uint64, rings), make([]int64, rings)
	for i := range last {
		last[i] = -1
	}
	for line := range strings.Lines(log) {
		fields := strings.Fields(line)
		if len(fields) == 3 && fields[1] == kindLog && strings.HasSuffix(line, "\n") {
			continue
		}
		if len(fields) != 9 || !strings.HasSuffix(line, " lat_us=0\n") || !strings.HasPrefix(fields[2], "conn=") || !strings.HasPrefix(fields[4], "seq=") {
			t.Fatalf("not a whole line: %q", line)
		}
		ring, err1 := strconv.Atoi(fields[2][len("conn="):])
		seq, err2 := strconv.ParseInt(fields[4][len("seq="):], 10, 64)
		if err1 != nil || err2 != nil || ring >= rings {
			t.Fatalf("not a whole line: %q", line)
		}
		if seq <= last[ring] {
			t.Fatalf("ring %d: line %d comes after %d", ring, seq, last[ring])
		}
		last[ring] = seq
		counts[ring]++
	}
	return counts
}

func checkSum(t *testing.T, l *Log, log string, produced uint64) {
	t.Helper()
	for i, written := range account(t, log, len(l.rings)) {
		if dropped := l.Ring(i).Dropped(); written+dropped != produced {
			t.Errorf("ring %d: %d written + %d dropped, want %d", i, written, dropped, produced)
		}
	}
}

func TestEveryLineIsWrittenOrCounted(t *testing.T) {
	const lines = 50_000
	for _, overflow := range []string{Drop, Block} {
		t.Run(overflow, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "log")
			l := open(t, Options{Path: path, Overflow: overflow, Rings: 3, RingBytes: ringBytesMin})
			produce(l, lines)
			closeLog(t, l)
			log := read(t, path)
			checkSum(t, l, log, lines)
			if totals := recountOf(t, log); totals.Dropped != l.Dropped() {
				t.Errorf("the log tells of %d dropped lines, want %d", totals.Dropped, l.Dropped())
			}
			if n := l.Dropped(); overflow == Block && n != 0 {
				t.Errorf("%d lines dropped", n)
			} else if overflow == Drop && n == 0 {
				t.Error("nothing was dropped: the test shows nothing about dropping")
			}
		})
	}
}

func TestWriterSleepsAndWakes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l := open(t, Options{Path: path, Rings: 2, Format: JSON})
	for i := range 20 {
		eventually(t, "the writer sleeps", func() bool { return l.state.Load() == asleep })
		l.Ring(i % 2).Answer(&Answer{})
		l.Ring(i % 2).Flush()
		eventually(t, "the line is written", func() bool { return strings.Count(read(t, path), "\n") == i+1 })
	}
}

func TestReopenStorm(t *testing.T) {
	const lines, rings = 30_000, 2
	dir := t.TempDir()
	path := filepath.Join(dir, "log")
	l := open(t, Options{Path: path, Overflow: Block, Rings: rings, RingBytes: ringBytesMin})
	produced := make(chan struct{})
	go func() {
		defer close(produced)
		produce(l, lines)
	}()
	files := 0
	for running := true; running; files++ {
		select {
		case <-produced:
			running = false
		default:
		}
		if err := os.Rename(path, filepath.Join(dir, fmt.Sprintf("log.%06d", files))); err != nil {
			t.Fatal(err)
		}
		if err := l.Reopen(); err != nil {
			t.Fatal(err)
		}
	}
	closeLog(t, l)
	names, err := filepath.Glob(filepath.Join(dir, "log.*"))
	if err != nil || len(names) != files {
		t.Fatalf("%d files, %v; want %d", len(names), err, files)
	}
	var all strings.Builder
	for _, name := range append(names, path) {
		log := read(t, name)
		account(t, log, rings) // whole lines in each
		all.WriteString(log)
	}
	checkSum(t, l, all.String(), lines)
	if n := l.Dropped(); n != 0 {
		t.Errorf("%d lines dropped", n)
	}
}

func TestReopenThatFailsKeepsTheFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dir")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "log")
	l := open(t, Options{Path: path, Rings: 1})
	moved := dir + ".moved"
	if err := os.Rename(dir, moved); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("reopen: %v", err)
	}
	l.Ring(0).Conn(&Conn{})
	l.Ring(0).Flush()
	closeLog(t, l)
	checkRecount(t, read(t, filepath.Join(moved, "log")), &sums{Connections: 1})
	if err := l.Reopen(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("reopen after close: %v", err)
	}
	if err := l.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("close after close: %v", err)
	}
}

// A line that a killed process left unfinished must not swallow the first new one.
func TestUnfinishedLineOfAnEarlierProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	for _, before := range []string{"", "whole\n", "torn"} {
		if err := os.WriteFile(path, []byte(before), 0o600); err != nil {
			t.Fatal(err)
		}
		l := open(t, Options{Path: path, Rings: 1})
		l.Ring(0).Conn(&Conn{})
		l.Ring(0).Flush()
		closeLog(t, l)
		want := &sums{Connections: 1}
		if before != "" {
			want.Skipped = 1
		}
		checkRecount(t, read(t, path), want)
		if log := read(t, path); strings.Contains(log, "\n\n") || log[0] == '\n' {
			t.Errorf("an empty line after %q: %q", before, log)
		}
	}
}

func TestLinesAfterCloseAreDropped(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l := open(t, Options{Path: path, Rings: 1, Overflow: Block, RingBytes: ringBytesMin})
	started := make(chan struct{})
	const lines = 200_000
	producer := make(chan struct{})
	go func() {
		defer close(producer)
		for seq := range lines {
			l.Ring(0).Request(&Request{Client: client, Seq: int64(seq), Fits: true, Result: ACK})
			if seq == 1000 {
				close(started)
			}
		}
		l.Ring(0).Flush()
	}()
	<-started
	closeLog(t, l)
	<-producer
	checkSum(t, l, read(t, path), lines)
	if l.Dropped() == 0 {
		t.Error("no line came after the end: the test shows nothing")
	}
}

func TestOptions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	tests := []struct {
		options Options
		want    string
	}{
		{Options{Path: path, Rings: 1, Format: "xml"}, `"xml" is neither text nor json`},
		{Options{Path: path, Rings: 1, Overflow: "wait"}, `"wait" is neither drop nor block`},
		{Options{Path: path}, "0 rings"},
		{Options{Path: path, Rings: 1, RingBytes: -1}, "-1 bytes"},
		{Options{Path: path, Rings: 1, RingBytes: ringBytesMax + 1}, "at most"},
		{Options{Path: filepath.Join(path, "x", "y"), Rings: 1}, "no such file"},
		{Options{Path: filepath.Dir(path), Rings: 1}, "is a directory"},
	}
	for _, test := range tests {
		l, err := Open(test.options)
		if err == nil {
			closeLog(t, l)
		}
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: error %v, want one with %q", test.options, err, test.want)
		}
	}
	for bytes, want := range map[int]int{0: ringBytesDefault, 1: ringBytesMin, ringBytesMin: ringBytesMin, ringBytesMin + 1: 2 * ringBytesMin} {
		l := open(t, Options{Path: path, Rings: 1, RingBytes: bytes})
		if got := int(l.Ring(0).size); got != want {
			t.Errorf("ring of %d bytes has %d, want %d", bytes, got, want)
		}
		closeLog(t, l)
	}
}

// lockedBuffer collects what slog prints.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func logger() (*lockedBuffer, *slog.Logger) {
	b := new(lockedBuffer)
	return b, slog.New(slog.NewTextHandler(b, nil))
}

// CPU time of the whole process per line: the producer's and the writer's.
func BenchmarkLog(b *testing.B) {
	for _, path := range []string{"/dev/null", filepath.Join(b.TempDir(), "log")} {
		b.Run(filepath.Base(path), func(b *testing.B) {
			l, err := Open(Options{Path: path, Rings: 1, Overflow: Block})
			if err != nil {
				b.Fatal(err)
			}
			var before, after unix.Rusage
			_ = unix.Getrusage(unix.RUSAGE_SELF, &before)
			q := Request{Time: 1_767_323_045_123_456, Conn: 42, Client: client, Fits: true, Size: 18, Result: ACK, AnswerSize: 9, Latency: 184}
			for b.Loop() {
				q.Seq++
				l.Ring(0).Request(&q)
				if q.Seq&63 == 0 {
					l.Ring(0).Flush()
				}
			}
			l.Ring(0).Flush()
			_ = l.Close()
			_ = unix.Getrusage(unix.RUSAGE_SELF, &after)
			cpu := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
			b.ReportMetric(float64(cpu)/float64(b.N), "cpu-ns/op")
		})
	}
}
