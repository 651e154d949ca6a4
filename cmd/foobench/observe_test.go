package main

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// buildFooproxy builds the proxy beside foobench.
func buildFooproxy(t *testing.T) {
	t.Helper()
	fooproxy := filepath.Join(filepath.Dir(foobench), "fooproxy")
	if out, err := exec.Command("go", "build", "-o", fooproxy, "../fooproxy").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// The scrapes are answered while the load goes on; what p99 does then is for a quiet machine to say.
func TestScrape(t *testing.T) {
	buildFooproxy(t)
	code, stdout, stderr := run(t, "scrape", "--engine", "epoll", "-c", "100", "-R", "500", "--windows", "1")
	if code != exitOK {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	for _, want := range []string{"100 connections", "all right", "nothing", "/metrics", "/stats"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("%q is missing in\n%s", want, stdout)
		}
	}
}

// What nobody asked for is hardly there, and what was asked for is seen.
func TestUnasked(t *testing.T) {
	buildFooproxy(t)
	share := func(target string) float64 {
		code, stdout, stderr := run(t, "profile", "--unasked", "--target", target, "--time", "1s", "--out", t.TempDir())
		m := regexp.MustCompile(`lines of observability: ([0-9.]+) %`).FindStringSubmatch(stdout)
		if code != exitOK || m == nil {
			t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
		}
		percent, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		return percent
	}
	if unasked, asked := share("fooproxy-epoll"), share("fooproxy-epoll+--log=/dev/null"); unasked > 1 || asked < 5 {
		t.Errorf("%.2f %% with nothing asked for, %.2f %% with a log", unasked, asked)
	}
}
