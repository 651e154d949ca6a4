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

// adminURL waits for the line that says where the admin address is.
func adminURL(t *testing.T, r *running) string {
	t.Helper()
	url := regexp.MustCompile(`msg=admin url=(http://127\.0\.0\.1:\d+/)`).FindStringSubmatch(r.logged.String())
	if url == nil {
		t.Fatalf("no admin address:\n%s", r.logged.String())
	}
	return url[1]
}

func TestAdminServesOnLoopback(t *testing.T) {
	r := launch(t, "--admin", "0")
	url := adminURL(t, r)
	for path, want := range map[string]int{
		"healthz": http.StatusOK, "debug/pprof/goroutine?debug=1": http.StatusOK, "debug/vars": http.StatusNotFound,
	} {
		answer, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("%s: %s\n%.200s", path, answer.Status, body)
		}
	}
	r.signal(unix.SIGTERM)
	if code := r.exit(); code != exitClean {
		t.Errorf("exit %d", code)
	}
}

// A drain asked for over HTTP ends the process as TERM does.
func TestAdminDrains(t *testing.T) {
	r := launch(t, "--admin", "0")
	answer, err := http.Post(adminURL(t, r)+"drain", "", nil)
	if err != nil || answer.StatusCode != http.StatusAccepted {
		t.Fatalf("%v, %v", answer, err)
	}
	answer.Body.Close()
	if code := r.exit(); code != exitClean || !strings.Contains(r.logged.String(), `msg="draining,`) {
		t.Errorf("exit %d:\n%s", code, r.logged.String())
	}
}

func TestAdminPortInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	addr := taken.Addr().String()
	code, _, stderr := outcome(t, nil, "--admin", addr)
	if code != exitBroken || !strings.Contains(stderr, "fooproxy: --admin \""+addr+"\": ") || !strings.HasSuffix(stderr, "; choose another address\n") {
		t.Errorf("exit %d:\n%s", code, stderr)
	}
}
