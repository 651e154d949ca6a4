package accesslog

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// One in so many requests and lone answers of each ring, whatever their Seqs; connections and violations always.
func TestSample(t *testing.T) {
	for _, format := range []string{Text, JSON} {
		path := filepath.Join(t.TempDir(), "log")
		l := open(t, Options{Path: path, Format: format, Rings: 2, Sample: 7})
		const lines = 700
		for i := range lines {
			r := l.Ring(i % 2)
			r.Request(&Request{Client: client, Seq: 1, Fits: true, Result: ACK})
			r.Answer(&Answer{Client: client, Seq: 2, Fits: true, Result: NAK})
			r.Conn(&Conn{Class: "foo", End: "client-fin", Req: 3, Ack: 2, Nak: 1})
			r.Bad(&Bad{})
			r.Flush()
		}
		if err := os.Rename(path, path+".1"); err != nil {
			t.Fatal(err)
		}
		if err := l.Reopen(); err != nil {
			t.Fatal(err)
		}
		closeLog(t, l)
		first, last := read(t, path+".1"), read(t, path)
		for _, log := range []string{first, last} {
			if head, _, _ := strings.Cut(log, "\n"); !strings.Contains(head, "LOG") || !strings.Contains(head, "sample") {
				t.Errorf("%s: a file begins with %q", format, head)
			}
		}
		got := recountOf(t, first+last)
		if got.Req+got.Unmatched != 2*lines/7 || got.Req != lines/7 || got.Bad != lines || got.Ended.Connections != lines || got.Sample != 7 {
			t.Errorf("%s: %+v", format, got)
		}
		if req, ack, nak := got.Messages(); req != 3*lines || ack != 2*lines || nak != lines {
			t.Errorf("%s: messages %d, %d, %d", format, req, ack, nak)
		}
		if why := got.Missing(); len(why) != 1 || !strings.Contains(why[0], "one in 7 requests") {
			t.Errorf("%s: missing: %q", format, why)
		}
	}
}

// A LOG line that the file takes only a part of goes whole into the next file, once.
func TestNoteCutByTheFilesEnd(t *testing.T) {
	for _, room := range []int{0, 1, 20, 39} {
		path, reader := pipe(t)
		fd, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		fill := make([]byte, 4096-room) // so that only room bytes are left
		if n, err := unix.Write(fd, fill); err != nil || n != len(fill) {
			t.Fatal(n, err)
		}
		l, r := quietLog(t, &textShape, ringBytesMin)
		l.shape, l.path, l.sample = &textShape, path, 3
		l.next.Store(1 << 32) // so that a full pipe is not waited for
		w := writer{log: l, fd: fd, own: nil}
		w.noteFile(false)
		r.dropped.Store(17)
		_ = w.drain()
		w.leaveOwn()
		next := filepath.Join(t.TempDir(), "next")
		if w.fd, err = openFile(next); err != nil {
			t.Fatal(err)
		}
		_ = unix.Close(fd)
		w.noteFile(false)
		if err := w.drain(); err != nil {
			t.Fatal(err)
		}
		_ = unix.Close(w.fd)
		got := recountOf(t, read(t, next))
		if got.Dropped != 17 || got.Sample != 3 {
			t.Errorf("with %d bytes of room the next file has %q", room, read(t, next))
		}
		_ = reader.Close()
	}
}

// Data is printed only when asked for, cut and escaped, and the longest line has room.
func TestData(t *testing.T) {
	nasty := []byte(strings.Repeat("\x00\"\\\xff", 100))
	for _, format := range []string{Text, JSON} {
		for _, most := range []int{0, 1, 255} {
			path := filepath.Join(t.TempDir(), "log")
			l := open(t, Options{Path: path, Format: format, Rings: 1, Data: most})
			r := l.Ring(0)
			for _, result := range []Result{None, ACK, NAK} {
				r.Request(&Request{Client: client, Fits: true, Result: result, Data: nasty, AnswerData: nasty[1:]})
			}
			r.Answer(&Answer{Client: client, Result: ACK, Data: nasty})
			r.Flush()
			closeLog(t, l)
			log := read(t, path)
			if got := recountOf(t, log); got.Req != 3 || got.Unanswered != 1 || got.Untracked != 1 {
				t.Errorf("%s, %d bytes: %+v\n%s", format, most, got, log)
			}
			if n := strings.Count(log, "rdata"); most == 0 && (n != 0 || strings.Contains(log, "data")) || most > 0 && n != 3 {
				t.Errorf("%s, %d bytes: data is %d times in\n%s", format, most, n, log)
			}
			for _, c := range []byte(strings.ReplaceAll(log, "\n", "")) {
				if c < ' ' || c > '~' {
					t.Fatalf("byte %#x in %q", c, log)
				}
			}
		}
	}
	if n := lineMax + dataLine(255); n > lineLimit {
		t.Errorf("recounting reads lines of %d bytes, the longest has %d", lineLimit, n)
	}
}

// A line that was cut anywhere, so that the next one follows on it, is found and named.
func TestMalformedLinesAreNamed(t *testing.T) {
	f := newFormat(&textShape)
	var lines []string
	lines = append(lines, string(f.appendRequest(nil, &Request{Client: client, Seq: 7, Fits: true, Size: 18, Result: ACK, AnswerSize: 9, Latency: 184})))
	lines = append(lines, string(f.appendConn(nil, &Conn{Client: client, Server: server, Class: "foo", End: "client-fin"})))
	for cut := 1; cut < len(lines[0])-1; cut++ {
		log := lines[1] + lines[0][:cut] + lines[1] + lines[0]
		var named []string
		var got Totals
		_ = got.Read(strings.NewReader(log), func(number uint64, line []byte, why error) {
			named = append(named, fmt.Sprintf("%d %s", number, line))
		})
		if len(named) != 1 || !strings.HasPrefix(named[0], "2 ") || got.Malformed != 1 || got.Req != 1 || got.Ended.Connections != 1 {
			t.Fatalf("cut after %d bytes: %q, %+v", cut, named, got)
		}
	}
}
