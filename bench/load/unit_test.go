package load

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// newTestLoop is a loop without any socket.
func newTestLoop(t *rapid.T, conns int, sizes string) *loop {
	m, err := ParseMix(sizes)
	if err != nil {
		t.Fatal(err)
	}
	l, err := newLoop(&Options{Conns: conns, Depth: 1 << 20, Threads: 1, Mix: m, Alone: -1}, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	l.poll.Close()
	return l
}

// What leaves is the requests one after the other, however little the socket takes each time.
func TestPartialSendsLoseNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sizes := rapid.SampledFrom([]string{"1", "16", "17:1,18:1,40:1", "4096", "4097", "9000:1,16:3", "70000,5000,16"}).Draw(t, "sizes")
		l := newTestLoop(t, 3, sizes)
		c := &l.conns[rapid.IntRange(0, 2).Draw(t, "slot")]
		first := rapid.Uint64Range(0, 1<<40).Draw(t, "first number")
		c.queued, c.sent, c.done, c.oldest = first, first, first, first
		messages := rapid.IntRange(1, 60).Draw(t, "messages")
		var want, got []byte
		for range messages {
			c.enqueue(l.opt.Mix.pick(&l.rng), 0)
			want = append(want, naiveRequest(l, c, c.queued-1)...)
		}
		for c.sent < c.queued {
			offered := l.gather(c, c.queued, 1)
			var all []byte
			for i := range l.iov {
				all = append(all, iovBytes(&l.iov[i])...)
			}
			if len(all) != offered || offered == 0 {
				t.Fatalf("%d bytes laid out, %d offered", len(all), offered)
			}
			n := rapid.IntRange(0, offered).Draw(t, "taken")
			got = append(got, all[:n]...)
			l.account(c, n)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("sent %d bytes that differ from the %d bytes of the requests", len(got), len(want))
		}
	})
}

// naiveRequest writes request n of c in the plainest way.
func naiveRequest(l *loop, c *conn, n uint64) []byte {
	text := fmt.Appendf(nil, "REQ %d", n<<l.shift|uint64(c.slot))
	size := int(c.at(n).size)
	for i := 0; len(text) < size-1; i++ {
		text = append(text, l.pattern[int(l.seqOf(c, n)%patternLen)*patternStride+i])
	}
	return append(text, '\n')
}

// Answers are understood alike however the stream is cut.
func TestCutAnswers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newTestLoop(t, 2, "16")
		c := &l.conns[1]
		var stream []byte
		count := rapid.IntRange(1, 30).Draw(t, "answers")
		naks := 0
		for i := range count {
			c.enqueue(16, 0)
			c.at(uint64(i)).sent = 1
			kind := "ACK"
			if rapid.Bool().Draw(t, "nak") {
				kind = "NAK"
				naks++
			}
			stream = fmt.Appendf(stream, "%s%s%d%s\n", kind, rapid.StringMatching(`[ \t\r]{1,5}`).Draw(t, "white space"),
				l.seqOf(c, uint64(i)), rapid.StringMatching(`([ \t\r][a-zA-Z 0-9é]{0,80})?`).Draw(t, "data"))
		}
		c.sent = c.queued
		for len(stream) > 0 {
			n := rapid.IntRange(1, len(stream)).Draw(t, "cut")
			if err := l.answers(c, stream[:n], 2); err != nil {
				t.Fatal(err)
			}
			stream = stream[n:]
		}
		if c.done != uint64(count) || l.answered != uint64(count) || l.naks != uint64(naks) || c.oldest != c.sent {
			t.Fatalf("%d answers with %d NAK, want %d with %d", l.answered, l.naks, count, naks)
		}
	})
}

var answerLine = regexp.MustCompile(`^(ACK|NAK)[ \t\r]+([0-9]{1,19})([ \t\r][^\n]*)?\n$`)

// What the generator takes for an answer is what a regular expression takes for one.
func TestHeadAgainstRegexp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		line := rapid.StringMatching(`[ANR]?[CA]?[CK]?[ \t\r]{0,3}-?[0-9]{0,21}[ \tx]{0,2}[a-z]{0,5}`).Draw(t, "line") + "\n"
		h, n, need, ok := parseHead([]byte(line))
		match := answerLine.FindStringSubmatch(line)
		if (match != nil) != (ok && !need) {
			t.Fatalf("%q: ok %v, need %v, regexp %q", line, ok, need, match)
		}
		if match == nil {
			return
		}
		seq, err := strconv.ParseUint(match[2], 10, 64)
		if err != nil || h.seq != seq || h.nak != (match[1] == "NAK") || n > len(line)-1 {
			t.Fatalf("%q: %+v, regexp %q", line, h, match)
		}
		for cut := range n {
			if _, _, need, ok := parseHead([]byte(line[:cut])); !need || !ok {
				t.Fatalf("%q cut to %d: need %v, ok %v", line, cut, need, ok)
			}
		}
	})
}

// The built-in upstream answers alike however the stream is cut.
func TestResponderOnCutRequests(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newTestLoop(t, 1, "16")
		l.opt.Echo = rapid.Bool().Draw(t, "echo")
		var u upstream
		var stream, want, got []byte
		for range rapid.IntRange(1, 20).Draw(t, "requests") {
			head := fmt.Sprintf("%s%d", rapid.StringMatching(`[ \t\r]{1,3}`).Draw(t, "white space"), rapid.Uint32().Draw(t, "seq"))
			data := rapid.StringMatching(`([ \t\r][a-zA-Z 0-9é]{0,90})?`).Draw(t, "data")
			stream = append(stream, "REQ"+head+data+"\n"...)
			if !l.opt.Echo {
				data = ""
			}
			want = append(want, "ACK"+head+data+"\n"...)
		}
		for len(stream) > 0 {
			n := rapid.IntRange(1, len(stream)).Draw(t, "cut")
			out, err := l.answer(&u, stream[:n])
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, out...)
			stream = stream[n:]
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("answered %q, want %q", got, want)
		}
	})
}

// A stall of the target must be charged to every request that was due in it: that is what an open loop is for. Here the
// generator gets no chance to send for 50 ms, at 1000 requests per second.
func TestOpenLoopCountsFromTheSchedule(t *testing.T) {
	m, err := ParseMix("16")
	if err != nil {
		t.Fatal(err)
	}
	l, err := newLoop(&Options{Conns: 1, Depth: 1, Threads: 1, Mix: m, Rate: 1000, Alone: -1}, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.poll.Close()
	ms := int64(time.Millisecond)
	l.feeding, l.from, l.until, l.recorded, l.nextDue = true, ms, 51*ms, 51*ms, float64(ms)
	l.now = 51 * ms
	if err := l.arrivals(); err != nil {
		t.Fatal(err)
	}
	c := &l.conns[0]
	if c.queued != 50 || l.feeding {
		t.Fatalf("%d requests made, want the 50 that were due", c.queued)
	}
	for n := range c.queued {
		c.at(n).sent = l.now
		c.sent++
		if err := l.settle(c, head{seq: l.seqOf(c, n)}, l.now); err != nil {
			t.Fatal(err)
		}
	}
	if got := time.Duration(l.service.Max()); got >= time.Microsecond {
		t.Fatalf("service time %v, want 0: each was answered when it was sent", got)
	}
	half := time.Duration(l.response.ValueAtQuantile(50))
	if half < 24*time.Millisecond || half > 27*time.Millisecond || time.Duration(l.response.Max()) < 49*time.Millisecond {
		t.Fatalf("response times: median %v, largest %v; want 25 ms and 50 ms", half, time.Duration(l.response.Max()))
	}
	if lag := time.Duration(l.lag.Max()); lag < 49*time.Millisecond {
		t.Fatalf("the generator's own delay is %v, want 50 ms", lag)
	}
}

// Poisson arrivals have the asked mean rate and a coefficient of variation of one.
func TestPoissonGaps(t *testing.T) {
	l, err := newLoop(&Options{Conns: 1, Threads: 2, Rate: 1000, Poisson: true}, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.poll.Close()
	const n = 200000
	var sum, squares float64
	for range n {
		g := l.gap()
		sum += g
		squares += g * g
	}
	mean := sum / n
	cv := (squares/n - mean*mean) / (mean * mean)
	if mean < 1.98e6 || mean > 2.02e6 || cv < 0.97 || cv > 1.03 {
		t.Fatalf("mean gap %.0f ns and squared coefficient of variation %.3f, want 2e6 (half of the rate each) and 1", mean, cv)
	}
}

// Once warm, the loop allocates nothing per message.
func TestNoAllocations(t *testing.T) {
	m, err := ParseMix("16:0.5,200:0.5")
	if err != nil {
		t.Fatal(err)
	}
	l, err := newLoop(&Options{Conns: 2, Depth: 64, Threads: 1, Mix: m, Alone: -1}, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.poll.Close()
	c := &l.conns[1]
	var u upstream
	batch := make([]byte, 0, 1<<16)
	round := func() {
		l.feed(c)
		offered := l.gather(c, c.queued, 1)
		batch = batch[:0]
		for i := range l.iov {
			batch = append(batch, iovBytes(&l.iov[i])...)
		}
		l.account(c, offered)
		out, err := l.answer(&u, batch)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.answers(c, out, 1000); err != nil {
			t.Fatal(err)
		}
	}
	round()
	if n := testing.AllocsPerRun(100, round); n != 0 {
		t.Fatalf("%v allocations per 64 messages", n)
	}
	if c.done != c.queued || c.done < 100*64 {
		t.Fatalf("%d of %d answered", c.done, c.queued)
	}
}

func TestMix(t *testing.T) {
	for _, bad := range []string{"", "0", "x", "64:", "64:0", "64:-1", "64:x", "99999999999", "64:NaN", "64:Inf"} {
		if _, err := ParseMix(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
	m, err := ParseMix("64:0.9, 16384:0.1")
	if err != nil {
		t.Fatal(err)
	}
	if m.Max() != 16384 || m.Mean() < 1695 || m.Mean() > 1697 {
		t.Fatalf("largest %d, mean %f", m.Max(), m.Mean())
	}
	l, err := newLoop(&Options{Conns: 1, Threads: 1, Mix: m}, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.poll.Close()
	large := 0
	for range 100000 {
		if l.opt.Mix.pick(&l.rng) == 16384 {
			large++
		}
	}
	if large < 9500 || large > 10500 {
		t.Fatalf("%d of 100000 are large, want 10000", large)
	}
}

func TestDigits(t *testing.T) {
	for _, v := range []uint64{0, 1, 9, 10, 99, 100, 999, 1e9 - 1, 1e9, 1<<63 - 1, 1e18, 1e19, 1<<64 - 1} {
		if got, want := digits(v), len(strconv.FormatUint(v, 10)); got != want {
			t.Errorf("digits(%d) = %d, want %d", v, got, want)
		}
	}
}

// The verdict on the generator itself.
func TestJudge(t *testing.T) {
	closed := &Options{}
	for _, test := range []struct {
		name   string
		opt    *Options
		result Result
		want   int
	}{
		{"idle enough", closed, Result{Loop: "closed", Generator: Generator{Busy: 0.9}}, 0},
		{"busy", closed, Result{Loop: "closed", Generator: Generator{Busy: 0.99}}, 1},
		{"busy, and so is the target", closed, Result{Loop: "closed", Generator: Generator{Busy: 0.99}, Usage: &TargetUsage{Busy: 0.99}}, 0},
		{"busy, the target is not", closed, Result{Loop: "closed", Generator: Generator{Busy: 0.99}, Usage: &TargetUsage{Busy: 0.5}}, 1},
		{"without a CPU", closed, Result{Loop: "closed", Generator: Generator{Waited: 0.2}}, 1},
		{"late", closed, Result{Loop: "open", Response: &Times{}, Generator: Generator{LagP99: time.Second}}, 1},
		{"in time", closed, Result{Loop: "open", Response: &Times{}, Generator: Generator{LagP99: time.Microsecond, Busy: 1}}, 0},
	} {
		r := test.result
		r.judge(test.opt)
		if len(r.Invalid) != test.want {
			t.Errorf("%s: %q", test.name, r.Invalid)
		}
	}
}

func TestText(t *testing.T) {
	o := self(t)
	r := mustRun(t, o)
	var text, hdr bytes.Buffer
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"closed loop", "not corrected for coordinated omission", "5000 answers", "p99.99"} {
		if !bytes.Contains(text.Bytes(), []byte(want)) {
			t.Errorf("%q is missing in\n%s", want, text.String())
		}
	}
	if err := r.WriteHDR(&hdr); err != nil || !bytes.Contains(hdr.Bytes(), []byte("TotalCount")) && !bytes.Contains(hdr.Bytes(), []byte("Total count")) {
		t.Errorf("%v\n%s", err, hdr.String())
	}
	o.Rate, o.Depth = 20000, 4
	r = mustRun(t, o)
	text.Reset()
	if err := r.WriteText(&text); err != nil || !bytes.Contains(text.Bytes(), []byte("response (from due)")) {
		t.Errorf("%v\n%s", err, text.String())
	}
}
