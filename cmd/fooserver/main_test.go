package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func TestExitCodes(t *testing.T) {
	used, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer used.Close()
	for name, test := range map[string]struct {
		args   []string
		code   int
		stderr string // a part of it
	}{
		"help":            {[]string{"--help"}, exitClean, ""},
		"version":         {[]string{"--version"}, exitClean, ""},
		"address in use":  {[]string{"--listen", used.Addr().String()}, exitBroken, "address already in use; choose another"},
		"no such host":    {[]string{"--listen", "256.1.1.1:0"}, exitBroken, "256.1.1.1"},
		"no directory":    {[]string{"--listen", "unix:/nonexistent/s"}, exitBroken, "no such file"},
		"unknown flag":    {[]string{"--nope"}, exitUsage, "--nope: unknown flag"},
		"argument":        {[]string{"8000"}, exitUsage, `"8000" belongs to no flag`},
		"missing value":   {[]string{"--seed"}, exitUsage, "--seed: its value is missing"},
		"port":            {[]string{"-p", "65536"}, exitUsage, `-p: invalid value "65536": must be a number from 0 to 65535`},
		"listen":          {[]string{"--listen", "8000"}, exitUsage, `--listen: "8000" must be`},
		"loops":           {[]string{"--loops", "-1"}, exitUsage, "--loops: "},
		"nak":             {[]string{"--nak", "NaN"}, exitUsage, "--nak: "},
		"reply":           {[]string{"--reply", "a\nb"}, exitUsage, "--reply: must be UTF-8 without a line end"},
		"delay":           {[]string{"--delay", "5"}, exitUsage, "--delay: "},
		"reorder":         {[]string{"--reorder", "70000"}, exitUsage, "--reorder: "},
		"seed":            {[]string{"--seed", "-1"}, exitUsage, "--seed: "},
		"drain time-out":  {[]string{"--drain-timeout", "-1s"}, exitUsage, "--drain-timeout: "},
		"boolean version": {[]string{"--version=maybe"}, exitUsage, "--version: "},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := runToEnd(t, test.args...)
			if code != test.code || !strings.Contains(stderr, test.stderr) {
				t.Errorf("exit code %d, %q", code, stderr)
			}
			if lines := strings.Count(stderr, "\n"); lines != min(code, 1) || (code == 0) == (stdout == "") {
				t.Errorf("standard output is %q, standard error %q", stdout, stderr)
			}
		})
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("FOOSERVER_REPLY", "from the environment")
	t.Setenv("FOOSERVER_NAK", "1")
	p := startServer(t, []string{"--nak", "0"})
	if got := p.ask("REQ 1\n"); got != "ACK 1 from the environment\n" {
		t.Errorf("got %q", got)
	}
	t.Setenv("FOOSERVER_PORT", "x")
	code, _, stderr := runToEnd(t)
	if code != exitUsage || !strings.Contains(stderr, `"FOOSERVER_PORT": must be`) {
		t.Errorf("exit code %d, %q", code, stderr)
	}
}

func TestStatistics(t *testing.T) {
	p := startServer(t, []string{"--nak", "0.5", "--seed", "3"})
	var sent strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&sent, "REQ %d\n", i)
	}
	answers := p.ask(sent.String())
	naks := strings.Count(answers, "NAK")
	_ = p.ask("REQ 1\nnonsense\n")

	var figures map[string]string
	await(t, "the statistics of all requests", func() bool {
		before := len(p.printed())
		p.signal(syscall.SIGUSR1)
		await(t, "statistics", func() bool { return strings.Contains(p.printed()[before:], "uptime_seconds") })
		figures = map[string]string{}
		for i, l := range strings.Split(strings.TrimSpace(p.printed()[before:]), "\n") {
			name, value, _ := strings.Cut(l, " ")
			if want := []string{"msg_total", "msg_req", "msg_ack", "msg_nak"}; i < len(want) && name != want[i] {
				t.Fatalf("line %d is %q", i, l)
			}
			figures[name] = value
		}
		return figures["connections"] == "0"
	})
	last := 0 // the verdict on the request before the nonsense is the second connection's own
	if n, _ := strconv.Atoi(figures["msg_nak"]); n > naks {
		last = 1
	}
	for name, want := range map[string]int{
		"msg_total": 2002, "msg_req": 1001, "msg_ack": 1001 - naks - last, "msg_nak": naks + last, "bad": 1,
		"connections_total": 2,
	} {
		if figures[name] != strconv.Itoa(want) {
			t.Errorf("%s is %s, want %d", name, figures[name], want)
		}
	}
	p.signal(syscall.SIGTERM)
	if code := p.code(); code != exitClean {
		t.Errorf("exit code %d", code)
	}
}

func TestTermAnswersWhatWasReceived(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		p := startServer(t, []string{"--delay", "100ms", "--drain-timeout", "1m"})
		c := p.connect()
		_, _ = io.WriteString(c, "REQ 1\nREQ 2\n")
		await(t, "both requests", func() bool {
			before := len(p.printed())
			p.signal(syscall.SIGUSR1)
			await(t, "statistics", func() bool { return strings.Contains(p.printed()[before:], "uptime_seconds") })
			return strings.Contains(p.printed()[before:], "msg_req 2\n")
		})
		p.signal(s)
		if got, err := io.ReadAll(c); string(got) != "ACK 1\nACK 2\n" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		_ = c.Close()
		if code := p.code(); code != exitClean {
			t.Errorf("exit code %d after %v", code, s)
		}
	}
}

func TestSecondTermStopsAtOnce(t *testing.T) {
	p := startServer(t, []string{"--drain-timeout", "1h"})
	c := p.connect()
	_, _ = io.WriteString(c, "REQ 1\n")
	r := bufio.NewReader(c)
	_, _ = r.ReadString('\n')
	p.signal(syscall.SIGTERM)
	if _, err := r.ReadByte(); err != io.EOF { // the first TERM has been obeyed
		t.Fatal(err)
	}
	p.signal(syscall.SIGTERM)
	if code := p.code(); code != exitClean {
		t.Errorf("exit code %d", code)
	}
}

func TestPipelinedRequestsAndHalfClose(t *testing.T) {
	p := startServer(t, nil)
	var sent strings.Builder
	for i := range 50_000 {
		fmt.Fprintf(&sent, "REQ %d hello %d\n", i, i*i)
	}
	if got := p.ask(sent.String()); got != strings.ReplaceAll(sent.String(), "REQ", "ACK") {
		t.Error("the answers are not those to the requests")
	}
}

func TestOneByteSegments(t *testing.T) {
	p := startServer(t, []string{"--reply", "empty"})
	c := p.connect()
	for _, b := range []byte("REQ 1 hello\r\nREQ\t-20 x\n") {
		_, _ = c.Write([]byte{b})
	}
	_ = c.CloseWrite()
	if got, err := io.ReadAll(c); string(got) != "ACK 1\nACK -20\n" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// TestSlowReader: one client takes nothing while another is served, then gets everything.
func TestSlowReader(t *testing.T) {
	p := startServer(t, []string{"--loops", "1"})
	c := p.connect()
	sent := strings.Repeat("REQ 1 "+strings.Repeat("x", 1000)+"\n", 40_000)
	go func() {
		_, _ = io.WriteString(c, sent)
		_ = c.CloseWrite()
	}()
	for i := range 1000 {
		request := fmt.Sprintf("REQ %d\n", i)
		if got := p.ask(request); got != strings.Replace(request, "REQ", "ACK", 1) {
			t.Fatalf("%q", got)
		}
	}
	got, err := io.ReadAll(c)
	if err != nil || string(got) != strings.ReplaceAll(sent, "REQ", "ACK") {
		t.Errorf("%d bytes of %d, %v", len(got), len(sent), err)
	}
}

// TestOutOfDescriptors: with room for a few connections at once all clients are served in turn.
func TestOutOfDescriptors(t *testing.T) {
	p := startServer(t, []string{"--loops", "1"}, "sh", "-c", `ulimit -n 16; exec "$@"`, "sh")
	var clients []*net.TCPConn
	for i := range 40 {
		c := p.connect()
		clients = append(clients, c)
		_, _ = fmt.Fprintf(c, "REQ %d\n", i)
	}
	for i, c := range clients { // the kernel accepts in the order of connecting
		if got, err := bufio.NewReader(c).ReadString('\n'); err != nil || got != fmt.Sprintf("ACK %d\n", i) {
			t.Fatalf("client %d: %q, %v", i, got, err)
		}
		_ = c.Close()
	}
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	p := startServer(t, []string{"--listen", "unix:" + path})
	if p.addr != "unix:"+path {
		t.Errorf("listens on %q", p.addr)
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "REQ 1\n")
	if got, err := bufio.NewReader(c).ReadString('\n'); got != "ACK 1\n" {
		t.Errorf("%q, %v", got, err)
	}
}
