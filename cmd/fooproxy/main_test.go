package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"fooproxy/proxy"
)

// childEnv marks a process that is to be fooproxy itself instead of its tests; its value says how start behaves.
const childEnv = "TEST_CHILD_START"

func TestMain(m *testing.M) {
	switch os.Getenv(childEnv) {
	case "fake":
		os.Exit(run(os.Args[1:], os.Stdout, os.Stderr, func(cfg proxy.Config) (service, error) {
			return newFake(cfg.Listen), nil
		}))
	case "early":
		os.Exit(run(os.Args[1:], os.Stdout, os.Stderr, func(cfg proxy.Config) (service, error) {
			passedOn := make(chan os.Signal, len(early))
			for _, sig := range early { // who connects before start has returned may send one already
				if sig == unix.SIGPIPE { // stays ignored
					_ = unix.Kill(os.Getpid(), sig)
					continue
				}
				signal.Notify(passedOn, sig)
				_ = unix.Kill(os.Getpid(), sig)
				<-passedOn // or TERM overtakes those before it on another thread
			}
			return newFake(cfg.Listen), nil
		}))
	case "refuse":
		os.Exit(run(os.Args[1:], os.Stdout, os.Stderr, func(proxy.Config) (service, error) {
			return nil, errors.New("--listen: address in use; choose another port")
		}))
	}
	os.Exit(m.Run())
}

// early are signals that come while the listeners are being opened.
var early = []unix.Signal{unix.SIGUSR1, unix.SIGHUP, unix.SIGPIPE, unix.SIGTERM}

// child prepares fooproxy as a process of its own. The service behind it is a fake; the end-to-end tests have the real one.
func child(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(childEnviron(), env...)
	return cmd
}

// childEnviron makes a child fooproxy. The race detector's pause of a second at each exit buys nothing here.
func childEnviron() []string {
	return append(os.Environ(), childEnv+"=fake", "GORACE=atexit_sleep_ms=0")
}

// outcome runs fooproxy to its end.
func outcome(t *testing.T, env []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return finish(t, child(t, env, args...))
}

func finish(t *testing.T, cmd *exec.Cmd) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

func TestWrongUsageIsOneLineAndExits2(t *testing.T) {
	for _, c := range []struct {
		env  []string
		args []string
		want string
	}{
		{nil, []string{"--prot", "1"}, `unknown flag "--prot"; did you mean --port?`},
		{nil, []string{"--quux"}, `unknown flag "--quux"; fooproxy --help lists all`},
		{nil, []string{"-p"}, `-p: a value is missing after it`},
		{nil, []string{"--listen"}, `--listen: a value is missing after it`},
		{nil, []string{"-p", "66000"}, `-p "66000": is not a port; give a number from 0 to 65535 (0 = any free port), an address goes to --listen`},
		{nil, []string{"--pin", "false"}, `argument "false" belongs to no flag; write --pin=false`},
		{nil, []string{"--pin=maybe"}, `--pin "maybe": is neither true nor false; write true or false`},
		{nil, []string{"8001"}, `argument "8001" belongs to no flag; fooproxy takes flags only, see fooproxy --help`},
		{nil, []string{"-p", "1", "--listen", ":2"}, `-p and --listen both say where to listen; leave one of them`},
		{nil, []string{"-p", "8001", "-f", "8001"}, `-f "127.0.0.1:8001": is where fooproxy itself listens; give the server's address`},
		{nil, []string{"-p", "8000"}, `--forward "127.0.0.1:8000": is where fooproxy itself listens; give the server's address`},
		{nil, []string{"--admin", "0.0.0.0:6060"}, `--admin "0.0.0.0:6060": other hosts could look inside and end the proxy; give 127.0.0.1:PORT or unix:/PATH, or --admin-public if you mean it`},
		{nil, []string{"--track=off", "--log", "/l"}, `--track and --log contradict each other: the log says what became of each request; leave one of them`},
		{nil, []string{"--config", "/nope/x"}, `--config "/nope/x": cannot be read: no such file or directory`},
		{[]string{"FOOPROXY_CONFIG=/"}, nil, `FOOPROXY_CONFIG "/": cannot be read: is a directory`},
		{[]string{"FOOPROXY_PORT=tcp://1.2.3.4:5"}, nil, `FOOPROXY_PORT "tcp://1.2.3.4:5": is not a port; give a number from 0 to 65535 (0 = any free port), an address goes to --listen`},
	} {
		code, stdout, stderr := outcome(t, c.env, c.args...)
		if code != 2 || stdout != "" || stderr != "fooproxy: "+c.want+"\n" {
			t.Errorf("%v %v: exit %d, stdout %q, stderr:\n%swant:\nfooproxy: %s", c.env, c.args, code, stdout, stderr, c.want)
		}
	}
}

func TestCannotStartIsOneLineAndExits1(t *testing.T) {
	for _, c := range []struct {
		env  string
		args []string
		want string
	}{
		{childEnv + "=refuse", nil, `--listen: address in use; choose another port`},
		{childEnv + "=fake", []string{"--pidfile", "/nope/x.pid"}, `--pidfile "/nope/x.pid": cannot be written: no such file or directory; give a path in a directory you may write to`},
		{childEnv + "=fake", []string{"--check", "--pidfile", "/nope/x.pid"}, `--pidfile "/nope/x.pid": cannot be created in "/nope": no such file or directory`},
		{childEnv + "=fake", []string{"--check", "--log", "/"}, `--log "/": is a directory; give the path of a file`},
		{childEnv + "=fake", []string{"--check", "--listen", "unix:/nope/x"}, `--listen "/nope/x": cannot be created in "/nope": no such file or directory`},
	} {
		code, _, stderr := outcome(t, []string{c.env}, c.args...)
		if code != 1 || stderr != "fooproxy: "+c.want+"\n" {
			t.Errorf("%v: exit %d, stderr:\n%swant:\nfooproxy: %s", c.args, code, stderr, c.want)
		}
	}
}

func TestUnknownHostIsNamed(t *testing.T) {
	code, _, stderr := outcome(t, nil, "--check", "-f", "no-such-host.invalid:80")
	if code != exitBroken || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, `-f "no-such-host.invalid:80": host name: `) {
		t.Errorf("exit %d, stderr:\n%s", code, stderr)
	}
}

func TestHelpShowsEverySetting(t *testing.T) {
	code, stdout, stderr := outcome(t, nil, "--help")
	if code != 0 || stderr != "" {
		t.Fatalf("exit %d, stderr %q", code, stderr)
	}
	for _, s := range newOptions().table {
		if !strings.Contains(stdout, "--"+s.name+" ") {
			t.Errorf("--help does not show --%s", s.name)
		}
	}
	for line := range strings.Lines(stdout) {
		if len(line) > 121 {
			t.Errorf("line of %d bytes: %s", len(line), line)
		}
	}
}

func TestVersionNeedsNoRightConfiguration(t *testing.T) {
	code, stdout, stderr := outcome(t, []string{"FOOPROXY_PORT=x"}, "--version")
	lines := strings.Split(stdout, "\n")
	if code != exitClean || stderr != "" || len(lines) < 4 || !strings.HasPrefix(lines[0], "fooproxy ") || !strings.HasPrefix(lines[1], "go1.") {
		t.Errorf("exit %d, stdout:\n%sstderr:\n%s", code, stdout, stderr)
	}
}

func TestUnknownVariableIsWarnedOf(t *testing.T) {
	_, _, stderr := outcome(t, []string{"FOOPROXY_MAXCON=3", "FOOPROXY_CHECK=1", "FOOPROXY_LOOPS=1"}, "--check")
	if !strings.Contains(stderr, "name=FOOPROXY_MAXCON\n") || strings.Count(stderr, "\n") != 1 {
		t.Errorf("stderr:\n%s", stderr)
	}
}
