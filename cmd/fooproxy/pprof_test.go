package main

import (
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPprofServesOnLoopbackOnly(t *testing.T) {
	r := launch(t, "--pprof", "0")
	url := regexp.MustCompile(`url=(http://127\.0\.0\.1:\d+/debug/pprof/)`).FindStringSubmatch(r.logged.String())
	if url == nil {
		t.Fatalf("no address of profiles:\n%s", r.logged.String())
	}
	for path, want := range map[string]int{
		"": http.StatusOK, "cmdline": http.StatusOK, "goroutine?debug=1": http.StatusOK, "../vars": http.StatusNotFound,
	} {
		answer, err := http.Get(url[1] + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		if answer.StatusCode != want || path == "goroutine?debug=1" && !strings.Contains(string(body), "goroutine profile") {
			t.Errorf("%s: %s\n%.200s", path, answer.Status, body)
		}
	}
	r.signal(unix.SIGTERM)
	if code := r.exit(); code != exitClean {
		t.Errorf("exit %d", code)
	}
}

func TestPprofPortInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	addr := taken.Addr().String()
	code, _, stderr := outcome(t, nil, "--pprof", addr)
	if code != exitBroken || !strings.Contains(stderr, "fooproxy: --pprof \""+addr+"\": ") || !strings.HasSuffix(stderr, "; choose another port\n") {
		t.Errorf("exit %d:\n%s", code, stderr)
	}
}
