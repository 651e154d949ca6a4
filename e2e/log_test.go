package e2e

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Everything the proxy counted can be counted again from its log: requests, answers in any order, missing and unmatched
// answers, violations and every kind of end, over many connections.
func TestLogRecounts(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		log := filepath.Join(t.TempDir(), "log")
		p := start(t, engine, u.addr, "--log="+log, "--loops=2")
		const conns = 40
		for i := range conns {
			c, s := p.pair(u)
			req := requests(i, 30, 10+i).bytes()
			ok(t, c.send(req))
			ok(t, s.expectBytes(req))
			answers := reversed(acks(i, 25+i%10, 10).bytes(), i%3)
			ok(t, s.send(answers))
			ok(t, c.expectBytes(answers))
			endSomehow(t, c, s, i)
		}
		p.reaches(stats{"connections": 0})
		counted := p.stats()
		p.stop()
		records := parseLog(t, readFile(t, log))
		for name, n := range recount(t, records) {
			if n != counted[name] {
				t.Errorf("%s is %v by the log, %v by SIGUSR1", name, n, counted[name])
			}
		}
		ends := stats{}
		for _, r := range of(records, "CONN") {
			ends["end_"+strings.ReplaceAll(r.f["end"], "-", "_")]++
		}
		for name, n := range counted {
			if strings.HasPrefix(name, "end_") && ends[name] != n {
				t.Errorf("%s is %v by the log, %v by SIGUSR1", name, ends[name], n)
			}
		}
		if n := float64(len(of(records, "RES"))); n != counted["unmatched"] {
			t.Errorf("%v RES lines, unmatched is %v", n, counted["unmatched"])
		}
	})
}

// reversed turns the order of the lines around; every n-th is a NAK.
func reversed(stream []byte, n int) (out []byte) {
	lines := strings.SplitAfter(string(stream), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		if n > 0 && i%(n+1) == 0 && lines[i] != "" {
			lines[i] = "NAK" + lines[i][3:]
		}
		out = append(out, lines[i]...)
	}
	return out
}

// endSomehow ends a pair in one of five ways.
func endSomehow(t *testing.T, c, s *peer, way int) {
	t.Helper()
	switch way % 5 {
	case 0:
		finish(t, c, s)
	case 1:
		ok(t, s.CloseWrite())
		ok(t, c.ends(fin))
		ok(t, c.CloseWrite())
		ok(t, s.ends(fin))
	case 2:
		ok(t, c.reset())
		ok(t, s.ends(rst))
	case 3:
		ok(t, s.reset())
		ok(t, c.ends(rst))
	case 4:
		ok(t, c.send([]byte("\n")))
		ok(t, s.ends(fin))
		s.Close()
		ok(t, c.ends(fin, rst))
	}
	c.Close()
	s.Close()
}

// The fields of the log say what happened, to the byte.
func TestLogFields(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		log := filepath.Join(t.TempDir(), "log")
		p := start(t, engine, u.addr, "--log="+log)
		const slow = 30 * time.Millisecond
		from := time.Now()
		c, s := p.pair(u)
		const req, ack = "REQ 7 some data\nREQ -8\n", "NAK 7 no\r\n"
		ok(t, c.send([]byte(req)))
		ok(t, s.expectText(req))
		time.Sleep(slow) // the time that is measured
		ok(t, s.send([]byte(ack)))
		ok(t, c.expectText(ack))
		clientAddr := c.LocalAddr().String()
		finish(t, c, s)
		p.reaches(stats{"connections": 0, "bytes_request": float64(len(req)), "bytes_response": float64(len(ack))})
		longest := time.Since(from)
		p.stop()
		records := parseLog(t, readFile(t, log))
		if len(records) != 3 {
			t.Fatalf("%d log lines, want 3: %v", len(records), records)
		}
		wants := []struct{ kind, fields string }{
			{"REQ", "client=" + clientAddr + " seq=7 len=16 res=NAK rlen=10 lat_us="},
			{"REQ", "client=" + clientAddr + " seq=-8 len=7 res=-"},
			{"CONN", "client=" + clientAddr + " server=" + u.addr + " class=foo dur_ms="},
			{"CONN", fmt.Sprintf(" req=2 ack=0 nak=1 open=1 in=%d out=%d end=client-fin", len(req), len(ack))},
		}
		for _, w := range wants {
			found := false
			for _, r := range of(records, w.kind) {
				found = found || strings.Contains(r.text, w.fields)
			}
			if !found {
				t.Errorf("no %s line with %q in\n%s", w.kind, w.fields, readFile(t, log))
			}
		}
		for _, r := range records {
			at, err := time.Parse("2006-01-02T15:04:05.000000Z", strings.Fields(r.text)[0])
			if err != nil || at.Before(from.Add(-time.Second)) || at.After(time.Now().Add(time.Second)) {
				t.Errorf("the time of %q is not now", r.text)
			}
			for name, unit := range map[string]time.Duration{"lat_us": time.Microsecond, "dur_ms": time.Millisecond} {
				if text := r.f[name]; text != "" && text != "-" {
					if n := r.number(t, name); n < float64(slow/unit) || n > float64(longest/unit+1) {
						t.Errorf("%s is %v, want %v to %v", name, n, slow, longest)
					}
				}
			}
		}
	})
}

// What peers send cannot forge or break log lines.
func TestLogEscapes(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		for _, format := range []string{"text", "json"} {
			u := newUpstream(t)
			log := filepath.Join(t.TempDir(), "log")
			p := start(t, engine, u.addr, "--log="+log, "--on-violation=forward", "--log-format="+format)
			k := beside(t, p, u)
			c, s := p.pair(u)
			text := "REQ 1 \x1b[2J\x00\r2026-01-01T00:00:00.000000Z CONN conn=1\n" +
				"REQ 2\x1b[31m\"\\\r\u2028 forged=1\n" + "REQ 3 \xff\x9b\n" + "REQ 4\u202e\x07\x00\n"
			ok(t, c.send([]byte(text)))
			ok(t, s.expectText(text))
			finish(t, c, s)
			p.reaches(stats{"connections": 0, "bad": 3})
			k.check()
			p.stop()
			content := readFile(t, log)
			for i, b := range []byte(content) {
				if b != '\n' && (b < ' ' || b > '~') {
					t.Fatalf("byte %#02x in the log: %q", b, excerpt([]byte(content), i))
				}
			}
			if n := strings.Count(content, "\n") - int(k.rounds) - 1; n != 5 {
				t.Errorf("%d log lines, want 1 REQ, 3 BAD and 1 CONN:\n%s", n, content)
			}
			if format == "text" {
				_ = parseLog(t, content)
			}
		}
	})
}

// HUP after the file was moved away: later lines go to a new file, and no line is lost or doubled.
func TestLogReopens(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		u.serve(echo)
		dir := t.TempDir()
		log := filepath.Join(dir, "log")
		p := start(t, engine, u.addr, "--log="+log)
		k := beside(t, p, u)
		var old []string
		for i := range 5 {
			k.live()
			moved := filepath.Join(dir, fmt.Sprint(i))
			ok(t, os.Rename(log, moved))
			old = append(old, moved)
			p.signal(syscall.SIGHUP)
			eventually(t, "the log is there again", func() bool {
				return strings.Count(p.errors(), "request log reopened") == i+1
			})
		}
		k.check()
		p.reaches(stats{"connections": 0, "log_dropped": 0})
		counted := p.ask() // the canary is in the log
		p.stop()
		text := ""
		for _, path := range append(old, log) {
			text += readFile(t, path)
		}
		if readFile(t, log) == "" {
			t.Error("nothing was logged after the last HUP")
		}
		if n := recount(t, parseLog(t, text)); n["msg_req"] != counted["msg_req"] || n["msg_ack"] != counted["msg_ack"] {
			t.Errorf("the logs hold %v requests and %v answers of %v and %v", n["msg_req"], n["msg_ack"], counted["msg_req"], counted["msg_ack"])
		}
	})
}

// A log that nobody can write must not be felt: every byte passes, what was not written is counted, the exit is clean.
func TestLogCannotBeWritten(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		for _, row := range []struct {
			name  string
			block string // what --log-overflow=block does: a device that fails is not waited for
			sink  func(t *testing.T) (flag string, file *os.File)
		}{
			{"full device", "goes on", func(*testing.T) (string, *os.File) { return "/dev/full", nil }},
			{"full file system", "goes on", func(t *testing.T) (string, *os.File) { return fullDisk(t) + "/log", nil }},
			{"closed pipe", "goes on", func(t *testing.T) (string, *os.File) {
				r, w := pipe(t)
				ok(t, r.Close())
				return "/dev/fd/3", w
			}},
			{"pipe that nobody reads", "waits", func(t *testing.T) (string, *os.File) {
				_, w := pipe(t)
				return "/dev/fd/3", w
			}},
		} {
			for _, overflow := range []string{"drop", "block"} {
				if overflow == "block" && row.block == "waits" {
					continue
				}
				u := newUpstream(t)
				path, file := row.sink(t)
				p := startWith(t, engine, u.addr, []string{"--log=" + path, "--log-overflow=" + overflow, oneLoop}, withFileIf(file)...)
				k := measured(t, p, u)
				c, s := p.pair(u)
				const n = 60_000
				ok(t, converse(c, s, n))
				k.holds(row.name + ", " + overflow)
				k.check()
				finish(t, c, s)
				p.counts(stats{"msg_req": n, "msg_ack": n, "msg_nak": 0})
				if engine != relay && !holds(func() bool { return p.stats()["log_dropped"] > 0 }) {
					t.Errorf("%s: log_dropped is still 0", row.name)
				}
				if t.Failed() {
					t.Fatal(row.name, overflow)
				}
			}
		}
	})
}

// What a log that is too slow drops are whole lines, each of them counted: those that its reader gets at last, and those that are
// counted, are all.
func TestLogDropsWholeLines(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		r, w := pipe(t)
		p := startWith(t, engine, u.addr, []string{"--log=/dev/fd/3", oneLoop}, withFile(w))
		ok(t, w.Close()) // the child has its own
		c, s := p.pair(u)
		const n = 60_000
		ok(t, converse(c, s, n))
		read := make(chan string, 1)
		go func() {
			text, _ := io.ReadAll(r) // to the child's end
			read <- string(text)
		}()
		finish(t, c, s)
		p.reaches(stats{"connections": 0, "msg_req": n, "msg_ack": n})
		counted := p.stats()
		p.stop()
		dropped, all := int(counted["log_dropped"]), n+int(counted["unmatched"])+1 // answers that came before their requests have lines too
		lines, told := 0, 0
		for line := range strings.Lines(<-read) {
			kind := strings.Fields(line)[1]
			if kind == "LOG" { // the log says itself what it lacks
				var some int
				_, err := fmt.Sscanf(line[strings.Index(line, "dropped="):], "dropped=%d", &some)
				ok(t, err)
				told += some
				continue
			}
			lines++
			if !strings.HasSuffix(line, "\n") || shapes[kind] == nil || !shapes[kind].MatchString(strings.TrimSuffix(line, "\n")) {
				t.Errorf("log line out of shape: %q", line)
			}
		}
		if dropped == 0 || lines+dropped != all || told != dropped {
			t.Errorf("of %d lines %d are in the log and %d are dropped, of which it tells %d", all, lines, dropped, told)
		}
	})
}

// fullDisk is a directory on a file system that has hardly any room. Making it takes root.
func fullDisk(t *testing.T) string {
	t.Helper()
	dir := shortTemp(t)
	ok(t, os.NewSyscallError("mount", unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k")))
	t.Cleanup(func() { ok(t, os.NewSyscallError("umount", unix.Unmount(dir, unix.MNT_DETACH))) })
	return dir
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	ok(t, err)
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

func withFileIf(f *os.File) []option {
	if f == nil {
		return nil
	}
	return []option{withFile(f)}
}

// --log=- writes to standard output; a reader of it that goes away ends nothing.
func TestLogToClosedStdout(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		u.serve(echo)
		r, w := pipe(t)
		path, args, opts := command(engine)
		args = append(args, "--listen=127.0.0.1:0", "--forward="+u.addr, "--log=-")
		child := startProcess(t, path, args, append(opts, func(c *exec.Cmd) { c.Stdout = w })...)
		p := &proxy{process: child, engine: engine, addr: awaitAddr(t, child)}
		ok(t, r.Close())
		ok(t, w.Close())
		k := measured(t, p, u)
		child.signal(syscall.SIGUSR1)
		for range 50 {
			k.live()
		}
		k.holds("a log that nobody reads")
		k.check()
		p.stop()
	})
}

// converse plays n requests and as many answers at once between a client and a server.
func converse(c, s *peer, n int) error {
	return together(
		func() error { return c.sendAll(requests(1, n, 20)) },
		func() error { return s.expect(requests(1, n, 20)) },
		func() error { return s.sendAll(acks(1, n, 20)) },
		func() error { return c.expect(acks(1, n, 20)) },
	)
}
