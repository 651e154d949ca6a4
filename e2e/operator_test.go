package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// runOnce starts the binary with these arguments alone and waits for its end.
func runOnce(t *testing.T, args []string, opts ...option) (p *process, code int) {
	t.Helper()
	p = startProcess(t, filepath.Join(binDir, "fooproxy"), args, opts...)
	return p, p.exit()
}

// What an operator gets wrong is said in exactly one line that names it, with the exit code of its kind.
func TestOperatorErrors(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	ok(t, err)
	t.Cleanup(func() { taken.Close() })
	const forward = "--forward=127.0.0.1:8000"
	dir := shortTemp(t)
	missing := filepath.Join(dir, "none", "x")
	for _, row := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"port in use", []string{"--listen=" + taken.Addr().String(), forward}, 1, fmt.Sprintf(`in use.*\(process %d\)`, os.Getpid())},
		{"address of another host", []string{"--listen=192.0.2.1:0", forward}, 1, `192\.0\.2\.1`},
		{"unknown host", []string{"--listen=127.0.0.1:0", "--forward=no-such-host.invalid:1"}, 1, `no-such-host\.invalid`},
		{"unknown flag", []string{"--lisen=127.0.0.1:0"}, 2, `lisen.*did you mean --listen`},
		{"flag without value", []string{"--listen"}, 2, `--listen.*missing`},
		{"stray argument", []string{"8001", "8000"}, 2, `8001`},
		{"not a number", []string{"--loops=many"}, 2, `--loops.*many`},
		{"unknown word", []string{"--engine=steam"}, 2, `--engine.*steam.*epoll`},
		{"no unit", []string{"--timeout-idle=5"}, 2, `--timeout-idle.*5s`},
		{"port out of range", []string{"--port=70000"}, 2, `--port.*70000`},
		{"two places to listen", []string{"--port=1", "--listen=127.0.0.1:2"}, 2, `--port.*--listen`},
		{"upstream is the listener", []string{"--listen=127.0.0.1:8001", "--forward=127.0.0.1:8001"}, 2, `8001`},
		{"upstream is the listener of all addresses", []string{"--listen=0.0.0.0:8001", "--forward=127.0.0.1:8001"}, 2, `8001`},
		{"config file missing", []string{"--config=" + missing}, 2, regexp.QuoteMeta(missing)},
		{"log in a missing directory", []string{"--listen=127.0.0.1:0", forward, "--log=" + missing}, 1, regexp.QuoteMeta(missing)},
		{"pid file in a missing directory", []string{"--listen=127.0.0.1:0", forward, "--pidfile=" + missing}, 1, regexp.QuoteMeta(missing)},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p, code := runOnce(t, row.args)
			if code != row.code {
				t.Errorf("exit code %d, want %d", code, row.code)
			}
			text := oneLine(t, p)
			if !strings.HasPrefix(text, "fooproxy: ") || !regexp.MustCompile(row.says).MatchString(text) {
				t.Errorf("standard error is %q, want it to match %q", text, row.says)
			}
			if out := p.output(); out != "" {
				t.Errorf("standard output is %q", out)
			}
		})
	}
}

// A port below 1024 without the right to it.
func TestLowPort(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
	ok(t, err)
	first, err := strconv.Atoi(strings.TrimSpace(string(text)))
	ok(t, err)
	if first <= 80 {
		t.Fatalf("this kernel gives port 80 to everybody: net.ipv4.ip_unprivileged_port_start is %d", first)
	}
	asNobody := func(c *exec.Cmd) {
		if os.Getuid() == 0 {
			c.SysProcAttr.Credential = &syscall.Credential{Uid: 65534, Gid: 65534}
			c.Dir = "/"
		}
	}
	p, code := runOnce(t, []string{"--listen=127.0.0.1:80", "--forward=127.0.0.1:8000"}, asNobody)
	if line := oneLine(t, p); code != 1 || !strings.Contains(line, "80") || !strings.Contains(line, "CAP_NET_BIND_SERVICE") {
		t.Errorf("exit code %d, %q", code, line)
	}
}

// Everything wrong in a config file is listed at once, each with file and line.
func TestBadConfigFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "fooproxy.conf")
	ok(t, os.WriteFile(path, []byte("# a comment\n"+
		"loops = 1\n"+
		"loops = many\n"+ // 3
		"lisen = 127.0.0.1:0\n"+ // 4
		"timeout-idle = 5\n"+ // 5
		"engine = steam\n"+ // 6
		"maxconn = 10 # fine\n"+
		"forward\n"), 0o644)) // 8
	p, code := runOnce(t, []string{"--config=" + path})
	if code != 2 {
		t.Errorf("exit code %d, want 2", code)
	}
	lines := strings.Split(strings.TrimSuffix(p.errors(), "\n"), "\n")
	at := []int{3, 4, 5, 6, 8}
	if len(lines) != len(at) {
		t.Fatalf("%d lines, want %d:\n%s", len(lines), len(at), p.errors())
	}
	for i, line := range lines {
		if want := fmt.Sprintf("%s:%d: ", path, at[i]); !strings.Contains(line, want) {
			t.Errorf("%q names not %q", line, want)
		}
	}
}

// Flags win over the environment, that over the config file, that over the defaults.
func TestPrecedence(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		dir := shortTemp(t)
		sock := func(name string) string { return "unix:" + filepath.Join(dir, name) }
		conf := filepath.Join(dir, "conf")
		ok(t, os.WriteFile(conf, []byte("listen "+sock("file")+"\nforward = "+sock("s")+"\ntimeout-idle 1h\n"), 0o644))
		for _, row := range []struct {
			want string
			args []string
			env  []string
		}{
			{"file", []string{"--config=" + conf}, nil},
			{"file", nil, []string{"FOOPROXY_CONFIG=" + conf}},
			{"env", []string{"--config=" + conf}, []string{"FOOPROXY_LISTEN=" + sock("env")}},
			{"flag", []string{"--config=" + conf, "--listen=" + sock("flag")}, []string{"FOOPROXY_LISTEN=" + sock("env")}},
		} {
			path, args, opts := command(engine)
			child := startProcess(t, path, append(args, row.args...), append(opts, withEnv(row.env...))...)
			if addr := awaitAddr(t, child); addr != sock(row.want) {
				t.Errorf("%v %v: listens on %s, want %s", row.args, row.env, addr, sock(row.want))
			}
			child.signal(syscall.SIGTERM)
			if code := child.exit(); code != 0 {
				t.Errorf("exit code %d, want 0", code)
			}
		}
	})
}

// --check says yes or no and starts nothing.
func TestCheck(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	ok(t, err)
	defer taken.Close()
	p, code := runOnce(t, []string{"--check", "--listen=" + taken.Addr().String(), "--forward=127.0.0.1:8000", "--maxconn=7"})
	out := p.output()
	if code != 0 || p.errors() != "" || !regexp.MustCompile(`(?m)^maxconn\s*=\s*7\b`).MatchString(out) {
		t.Errorf("exit code %d, errors %q, output:\n%s", code, p.errors(), out)
	}
	// What it prints is a config file that means the same.
	conf := filepath.Join(t.TempDir(), "conf")
	ok(t, os.WriteFile(conf, []byte(out), 0o644))
	again, code := runOnce(t, []string{"--check", "--config=" + conf})
	values := regexp.MustCompile(`(?m)\s*#.*$`)
	if got := again.output(); code != 0 || values.ReplaceAllString(got, "") != values.ReplaceAllString(out, "") {
		t.Errorf("exit code %d; checked again it is\n%s\nand was\n%s", code, got, out)
	}
	if _, code := runOnce(t, []string{"--check", "--loops=-1"}); code != 2 {
		t.Errorf("exit code %d for a wrong value, want 2", code)
	}
}

func TestVersionAndHelp(t *testing.T) {
	t.Parallel()
	for flag, want := range map[string]string{"--version": `^fooproxy \S+\n`, "--help": `--forward`, "-h": `--on-violation`} {
		p, code := runOnce(t, []string{flag})
		if out := p.output(); code != 0 || p.errors() != "" || !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("%s: exit code %d, errors %q, output:\n%s", flag, code, p.errors(), out)
		}
	}
}

// The pid file holds the process id while it runs and is gone after a clean stop.
func TestPidfile(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		path := filepath.Join(t.TempDir(), "pid")
		p := start(t, engine, closedPort(t), "--pidfile="+path)
		if text := readFile(t, path); text != fmt.Sprintf("%d\n", p.pid()) {
			t.Errorf("the pid file holds %q, the pid is %d", text, p.pid())
		}
		p.stop()
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("after the stop the pid file is still there (%v)", err)
		}
	})
}

// The answer to SIGUSR1 names the engine that was asked for.
func TestEngineIsNamed(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		name := engineOf(engine)
		p := start(t, engine, closedPort(t))
		p.signal(syscall.SIGUSR1)
		if text := string(<-p.packets); !strings.Contains(text, "\nengine "+name+"\n") {
			t.Errorf("no line %q in\n%s", "engine "+name, text)
		}
	})
}
