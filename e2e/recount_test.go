package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// recounted is what fooproxy recount prints for these logs, and what it says on standard error.
func recounted(t testing.TB, logs ...string) (totals stats, said string, code int) {
	t.Helper()
	cmd := exec.Command(filepath.Join(binDir, "fooproxy-plain"), append([]string{"recount"}, logs...)...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	totals = stats{}
	for line := range strings.Lines(string(out)) {
		var name string
		var value float64
		if _, err := fmt.Sscanf(line, "%s %g", &name, &value); err != nil {
			t.Fatalf("recount prints %q: %v", line, err)
		}
		totals[name] = value
	}
	return totals, errs.String(), cmd.ProcessState.ExitCode()
}

// agree wants recount's figures to be those of SIGUSR1, whatever both of them know.
func agree(t testing.TB, logged, counted stats) {
	t.Helper()
	both := 0
	for name, n := range logged {
		want, known := counted[name]
		if known {
			both++
		}
		if known && n != want {
			t.Errorf("%s is %v by the log, %v by SIGUSR1", name, n, want)
		}
	}
	if both < 20 {
		t.Errorf("the log and SIGUSR1 have only %d figures in common", both)
	}
}

// A million messages over many connections: answered in any order, twice, or never, answers that nobody asked for, Seqs beyond
// int64, violations of either side, and every way to end. The log adds up to what SIGUSR1 says, and both to what was sent.
func TestRecountOfAMillionMessages(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		t.Run(format, func(t *testing.T) {
			eachEngine(t, func(t *testing.T, engine string) {
				u := newUpstream(t)
				log := filepath.Join(t.TempDir(), "log")
				p := launchPlain(t, engine, u.addr, []string{"--log=" + log, "--log-format=" + format, "--log-overflow=block", "--loops=2"})
				const conns, rounds = 20, 26
				var talks [conns]*millionth
				for i := range talks {
					talks[i] = newMillionth(i)
					talks[i].client, talks[i].server = p.pair(u)
				}
				ok(t, forAll(conns, func(i int) error { return talks[i].run(rounds) }))
				want := stats{"unmatched": 0, "bad": 0}
				for i, k := range talks {
					for name, n := range k.sum {
						want[name] += n
					}
					if i%5 == 4 {
						want["bad"]++
					}
					if i%10 == 9 { // the server's violation; endSomehow has the client's
						ok(t, k.server.send([]byte("ACK 1\nOK 2\n")))
						want["msg_total"]++
						want["msg_ack"]++
						want["unmatched"]++
						ok(t, k.client.expectText("ACK 1\n"))
						ok(t, k.client.ends(fin, rst))
						k.client.Close()
						k.server.Close()
						continue
					}
					endSomehow(t, k.client, k.server, i)
				}
				if want["msg_total"] < 1e6 || want["unmatched"] == 0 || want["bad"] == 0 {
					t.Fatalf("the test's own messages are too few: %v", want)
				}
				want["connections"] = 0
				p.reaches(want)
				counted := p.stats()
				p.stop()
				logged, said, code := recounted(t, log)
				agree(t, logged, counted)
				for name, n := range want {
					if got, known := logged[name]; known && got != n {
						t.Errorf("%s is %v by the log, %v were sent", name, got, n)
					}
				}
				if said != "" || code != 0 || logged["connections_ended"] != conns {
					t.Errorf("exit code %d, %v connections:\n%s", code, logged["connections_ended"], said)
				}
			})
		})
	}
}

// millionth is a connection's share of the million messages.
type millionth struct {
	client, server *peer
	random         *rand.Rand
	next           int
	sum            stats
}

func newMillionth(i int) *millionth {
	return &millionth{random: rand.New(rand.NewPCG(1, uint64(i))), sum: stats{}}
}

const hugeSeq = "99999999999999999999"

// run plays rounds of a thousand requests, each with its answers before the next one.
func (k *millionth) run(rounds int) error {
	for range rounds {
		requests, answers := k.round()
		err := together(
			func() error { return k.client.send(requests) },
			func() error { return k.server.expectBytes(requests) },
		)
		if err == nil {
			err = together(
				func() error { return k.server.send(answers) },
				func() error { return k.client.expectBytes(answers) },
			)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// round makes a thousand requests and their answers, and counts them.
func (k *millionth) round() (requests, answers []byte) {
	var lines []string
	answer := func(seq string) {
		if k.random.IntN(5) == 0 {
			k.sum["msg_nak"]++
			lines = append(lines, "NAK "+seq+" no\r\n")
		} else {
			k.sum["msg_ack"]++
			lines = append(lines, "ACK "+seq+"\n")
		}
	}
	for range 1000 {
		seq := fmt.Sprint(k.next - 500)
		k.next++
		if k.next%97 == 0 {
			seq = hugeSeq
		}
		requests = fmt.Appendf(requests, "REQ %s %x\n", seq, k.random.Uint32())
		k.sum["msg_req"]++
		switch k.random.IntN(40) {
		case 0: // never answered
			continue
		case 1:
			if seq != hugeSeq {
				k.sum["unmatched"]++
			}
			answer(seq) // twice
		case 2:
			k.sum["unmatched"]++
			answer(fmt.Sprint(1_000_000 + k.next))
		}
		answer(seq)
	}
	k.random.Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
	k.sum["msg_total"] = k.sum["msg_req"] + k.sum["msg_ack"] + k.sum["msg_nak"]
	return requests, []byte(strings.Join(lines, ""))
}

// A sampled log has one in N requests, says so, and still tells the totals: every connection is in it, and every violation.
func TestLogSample(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		u.serve(echo)
		dir := t.TempDir()
		log := filepath.Join(dir, "log")
		p := start(t, engine, u.addr, "--log="+log, "--log-sample=10", "--loops=1")
		const conns, rounds, batch = 4, 5, 100
		ok(t, forAll(conns, func(i int) error { return rally(p.addr, i, rounds, batch) }))
		moved := filepath.Join(dir, "moved")
		ok(t, os.Rename(log, moved))
		p.signal(syscall.SIGHUP)
		eventually(t, "the log is reopened", func() bool { return strings.Contains(p.errors(), "request log reopened") })
		bad := p.dial()
		ok(t, bad.send([]byte("REQ x\n")))
		ok(t, bad.ends(fin, rst))
		p.reaches(stats{"connections": 0, "bad": 1})
		counted := p.stats()
		p.stop()
		text := readFile(t, moved) + readFile(t, log)
		if n := strings.Count(text, " REQ "); n != conns*rounds*batch/10 {
			t.Errorf("%d REQ lines of %d requests", n, conns*rounds*batch)
		}
		for _, path := range []string{moved, log} {
			if first, _, _ := strings.Cut(readFile(t, path), "\n"); !strings.HasSuffix(first, " LOG sample=10") {
				t.Errorf("%s begins with %q", filepath.Base(path), first)
			}
		}
		logged, said, code := recounted(t, moved, log)
		agree(t, logged, counted)
		if code != 1 || !strings.Contains(said, "sampled, one in 10 requests") || strings.Count(said, "\n") != 1 {
			t.Errorf("exit code %d:\n%s", code, said)
		}
	})
}

// toppled is what fooproxy top --once prints of an admin address.
func toppled(t testing.TB, addr string) stats {
	t.Helper()
	out, err := exec.Command(filepath.Join(binDir, "fooproxy-plain"), "top", "--once", addr).CombinedOutput()
	if err != nil {
		t.Fatalf("top --once: %v\n%s", err, out)
	}
	return parseStats(t, string(out))
}

// What SIGUSR1 says, what top prints and what the log adds up to is the same, and what was sent.
func TestFiguresAgree(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		log, admin := filepath.Join(t.TempDir(), "log"), "unix:"+unixPath(t, "admin")
		p := start(t, engine, u.addr, "--log="+log, "--admin="+admin, "--loops=2", "--log-overflow=block")
		k := newMillionth(1)
		k.client, k.server = p.pair(u)
		ok(t, k.run(3))
		p.counts(k.sum)
		agreeAll(t, toppled(t, admin), p.stats()) // a connection is open
		finish(t, k.client, k.server)
		for i := range 5 {
			c, s := p.pair(u)
			ok(t, c.send([]byte("REQ 1\n")))
			ok(t, s.expectText("REQ 1\n"))
			endSomehow(t, c, s, i)
			k.sum["msg_req"]++
			k.sum["msg_total"]++
		}
		p.reaches(stats{"connections": 0, "bad": 1, "msg_total": k.sum["msg_total"], "msg_req": k.sum["msg_req"]})
		printed, counted := toppled(t, admin), p.stats()
		agreeAll(t, printed, counted)
		p.stop()
		logged, said, code := recounted(t, log)
		if said != "" || code != 0 {
			t.Errorf("exit code %d:\n%s", code, said)
		}
		agree(t, logged, counted)
		agree(t, logged, printed)
	})
}

// agreeAll wants top to print every total of SIGUSR1 with the same value. Rates, times and the process's own figures move on.
func agreeAll(t testing.TB, printed, counted stats) {
	t.Helper()
	for name, n := range counted {
		switch name {
		case "request_rate_1s", "request_rate_10s", "response_rate_1s", "response_rate_10s", "uptime_seconds",
			"goroutines", "heap_bytes", "heap_allocs", "gc_cycles", "loops":
			continue
		}
		if got, known := printed[name]; !known || got != n {
			t.Errorf("%s is %v by top (known: %v), %v by SIGUSR1", name, got, known, n)
		}
	}
}

// Rotation under load: however often the log is moved away and reopened, each request is in exactly one file, on a whole line,
// and the files together are a complete log.
func TestRotationUnderLoad(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		u.serve(echo)
		dir := t.TempDir()
		log := filepath.Join(dir, "log")
		p := launchPlain(t, engine, u.addr, []string{"--log=" + log, "--log-overflow=block", "--loops=2"})
		const conns, rounds, batch = 4, 40, 500
		loaded := make(chan error, 1)
		go func() { loaded <- forAll(conns, func(i int) error { return rally(p.addr, i, rounds, batch) }) }()
		files := []string{log}
		for running := true; running; {
			select {
			case err := <-loaded:
				ok(t, err)
				running = false
			default:
			}
			moved := fmt.Sprintf("%s.%03d", log, len(files))
			ok(t, os.Rename(log, moved))
			files = append(files, moved)
			p.signal(syscall.SIGHUP)
			eventually(t, "the log is reopened", func() bool {
				return strings.Count(p.errors(), "request log reopened") == len(files)-1
			})
		}
		p.reaches(stats{"connections": 0})
		counted := p.stats()
		p.stop()
		logged, said, code := recounted(t, files...)
		agree(t, logged, counted)
		if said != "" || code != 0 || logged["msg_req"] != conns*rounds*batch || len(files) < 4 {
			t.Errorf("exit code %d, %d files, %v requests:\n%s", code, len(files), logged["msg_req"], said)
		}
		for _, f := range files {
			if text := readFile(t, f); text != "" && !strings.HasSuffix(text, "\n") {
				t.Errorf("%s ends within a line", filepath.Base(f))
			}
		}
	})
}
