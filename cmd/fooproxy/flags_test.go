package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fooproxy/proxy"
)

// configWith writes a config file and returns its path.
func configWith(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fooproxy.conf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func mustParse(t *testing.T, args ...string) *options {
	t.Helper()
	o, err := parseOptions(args)
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return o
}

func TestDefaults(t *testing.T) {
	o := mustParse(t)
	want := proxy.Config{
		Listen: ":8001", Forward: "127.0.0.1:8000", Engine: "auto", Pin: true, Accept: "reuseport", Backlog: 4096,
		NoDelay: true, ZeroCopy: "off", Splice: "auto", KeepAlive: time.Minute, MaxLine: 16 << 20, MaxBuffer: 512 << 10, Arbitrary: "close",
		OnViolation: "close", TimeoutConnect: 5 * time.Second, TimeoutLine: time.Minute, TimeoutHalfClose: time.Minute,
		LogFormat: "text", LogOverflow: "drop", LogSample: 1,
	}
	if diff := cmp.Diff(want, o.cfg); diff != "" {
		t.Error(diff)
	}
	if o.drainTimeout != 30*time.Second || o.admin != "" || o.pidfile != "" {
		t.Errorf("drain %v, admin %q, pidfile %q", o.drainTimeout, o.admin, o.pidfile)
	}
}

func TestEverySettingReachesTheConfiguration(t *testing.T) {
	o := mustParse(
		t, "--listen=[::1]:1", "-f=h:2", "--engine=epoll", "--loops=3", "--pin=off", "--accept=single", "--backlog=4",
		"--nodelay=no", "--cork", "--zerocopy=auto", "--splice=on", "--maxconn=5", "--max-line=6k", "--max-buffer=7M", "--arbitrary=tunnel",
		"--on-violation=forward", "--timeout-connect=8s", "--timeout-idle=9s", "--timeout-line=10s",
		"--timeout-half-close=11s", "--keepalive=12s", "--log=/l", "--log-format=json", "--log-overflow=block",
		"--drain-timeout=13s", "--pidfile=/p", "--admin=14", "--track=on",
		"--log-sample=15", "--log-data=16",
		"--maxconn-per-ip=15", "--rate-per-ip=16", "--max-pending=17",
	)
	want := proxy.Config{
		Listen: "[::1]:1", Forward: "h:2", Engine: "epoll", Loops: 3, Accept: "single", Backlog: 4, Cork: true, ZeroCopy: "auto", Splice: "on", MaxConn: 5,
		MaxConnPerIP: 15, RatePerIP: 16, MaxPending: 17,
		MaxLine: 6 << 10, MaxBuffer: 7 << 20, Arbitrary: "tunnel", OnViolation: "forward", TimeoutConnect: 8 * time.Second,
		Track: true, Violations: 256, TimeoutIdle: 9 * time.Second, TimeoutLine: 10 * time.Second, TimeoutHalfClose: 11 * time.Second,
		KeepAlive: 12 * time.Second, Log: "/l", LogFormat: "json", LogOverflow: "block",
		LogSample: 15, LogData: 16,
	}
	if diff := cmp.Diff(want, o.cfg); diff != "" {
		t.Error(diff)
	}
	if o.drainTimeout != 13*time.Second || o.pidfile != "/p" || o.admin != "127.0.0.1:14" {
		t.Errorf("drain %v, admin %q, pidfile %q", o.drainTimeout, o.admin, o.pidfile)
	}
}

func TestFlagOverVariableOverFileOverDefault(t *testing.T) {
	path := configWith(t, "loops 1\nbacklog 1\nmaxconn 1\n")
	t.Setenv("FOOPROXY_CONFIG", path)
	t.Setenv("FOOPROXY_LOOPS", "2")
	t.Setenv("FOOPROXY_BACKLOG", "2")
	t.Setenv("FOOPROXY_PORT", "") // empty counts as not set
	o := mustParse(t, "--loops", "3")
	if o.cfg.Loops != 3 || o.cfg.Backlog != 2 || o.cfg.MaxConn != 1 || o.port != 8001 {
		t.Errorf("loops %d, backlog %d, maxconn %d, port %d", o.cfg.Loops, o.cfg.Backlog, o.cfg.MaxConn, o.port)
	}
	for name, want := range map[string]string{
		"loops": "--loops", "backlog": "FOOPROXY_BACKLOG", "maxconn": path + ":3: maxconn", "port": "--port",
	} {
		if got := o.where(name); got != want {
			t.Errorf("%s comes from %q, want %q", name, got, want)
		}
	}
}

// A one-letter flag must win over the file just as the long one does, and is no environment variable.
func TestShortFlags(t *testing.T) {
	t.Setenv("FOOPROXY_P", "4")
	t.Setenv("FOOPROXY_F", "5")
	path := configWith(t, "port 3\nforward 6\n")
	if o := mustParse(t, "-p", "2", "-f", "7", "--config", path); o.cfg.Listen != ":2" || o.cfg.Forward != "127.0.0.1:7" {
		t.Errorf("listen %s, forward %s", o.cfg.Listen, o.cfg.Forward)
	}
	if o := mustParse(t, "--config", path); o.cfg.Listen != ":3" || o.cfg.Forward != "127.0.0.1:6" {
		t.Errorf("listen %s, forward %s", o.cfg.Listen, o.cfg.Forward)
	}
}

// Port and listen answer the same question: the source with the higher rank does, two of one rank are a mistake.
func TestPortAgainstListen(t *testing.T) {
	file := configWith(t, "listen 127.0.0.1:1\n")
	if o := mustParse(t, "-p", "2", "--config", file); o.cfg.Listen != ":2" {
		t.Errorf("a port flag over a file's listen: %s", o.cfg.Listen)
	}
	t.Setenv("FOOPROXY_PORT", "3")
	if o := mustParse(t, "--listen", ":4"); o.cfg.Listen != ":4" {
		t.Errorf("a listen flag over a port variable: %s", o.cfg.Listen)
	}
	if o := mustParse(t, "--config", file); o.cfg.Listen != ":3" {
		t.Errorf("a port variable over a file's listen: %s", o.cfg.Listen)
	}
	t.Setenv("FOOPROXY_LISTEN", ":5")
	if _, err := parseOptions(nil); err == nil || err.Error() != "FOOPROXY_PORT and FOOPROXY_LISTEN both say where to listen; leave one of them" {
		t.Error(err)
	}
}

func TestUnknownVariables(t *testing.T) {
	got := newOptions().unknownEnv([]string{"FOOPROXY_PORT=1", "FOOPROXY_PROT=1", "PATH=x", "FOOPROXY=1", "FOOPROXY_VERSION=2", "FOOPROXY_"})
	if want := []string{"FOOPROXY_PROT", "FOOPROXY_"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestSuggest(t *testing.T) {
	names := newOptions().names(func(*setting) bool { return true })
	for typed, want := range map[string]string{
		"prot": "port", "maxcon": "maxconn", "max_line": "max-line", "max-lines": "max-line", "Pin": "pin",
		"timeout": "", "x": "", "loop": "loops", "": "", "lxx": "", "lgo-format": "log-format",
	} {
		if got := suggest(typed, names); got != want {
			t.Errorf("%q: %q, want %q", typed, got, want)
		}
	}
}
