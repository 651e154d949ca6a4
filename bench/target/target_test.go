package target

import (
	"context"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"fooproxy/bench/sys"
)

// child is a target that runs a shell script.
func child(script string) Target {
	return Target{Name: "child", Command: func(Env) ([]string, error) { return []string{"sh", "-c", script}, nil }}
}

func TestTargetThatEndsAtOnce(t *testing.T) {
	_, err := Start(t.Context(), child("echo no such flag >&2; exit 3"), Env{Listen: "127.0.0.1:1"})
	if err == nil || !strings.Contains(err.Error(), "no such flag") || !strings.Contains(err.Error(), "exit status 3") {
		t.Fatalf("the error does not say why: %v", err)
	}
}

func TestTargetThatNeverListens(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p, err := Start(ctx, child("sleep 1000"), Env{Listen: "127.0.0.1:1"})
	if err == nil || p != nil {
		t.Fatal(p, err)
	}
}

func TestSpawnPins(t *testing.T) {
	cores := sys.Cores()
	core := cores[len(cores)-1]
	p, err := Spawn([]string{"sleep", "1000"}, core, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(p.PID, &set); err != nil {
		t.Fatal(err)
	}
	if set.Count() != 1 || !set.IsSet(core) {
		t.Fatalf("the child may run on %d CPUs, want CPU %d only", set.Count(), core)
	}
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	if ended, _ := p.Ended(); !ended {
		t.Fatal("a stopped child has not ended")
	}
}

func TestListening(t *testing.T) {
	dir, err := os.MkdirTemp("", "fb")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for _, text := range []string{"127.0.0.1:0", "unix:" + dir + "/s"} {
		addr, err := sys.Resolve(text)
		if err != nil {
			t.Fatal(err)
		}
		fd, err := addr.Listen(1)
		if err != nil {
			t.Fatal(err)
		}
		if addr.IsTCP() {
			text = "127.0.0.1:" + port(fd)
		}
		if !listening(text) {
			t.Errorf("%s is listening and was not found", text)
		}
		sys.Close(fd)
		if listening(text) {
			t.Errorf("%s is closed and was found listening", text)
		}
	}
}

func port(fd int32) string { return strconv.Itoa(sys.LocalPort(fd)) }

func TestSelect(t *testing.T) {
	all := All(Programs{Foobench: "/bin/foobench", Fooproxy: "/bin/fooproxy"})
	picked, err := Select(all, "haproxy, fooproxy-epoll+--cork=true+--nodelay=false")
	if err != nil || len(picked) != 2 || picked[0].Name != "haproxy" {
		t.Fatal(picked, err)
	}
	args, err := picked[1].Command(Env{Listen: "a", Forward: "b"})
	if err != nil || !strings.HasSuffix(strings.Join(args, " "), "--cork=true --nodelay=false") {
		t.Fatal(args, err)
	}
	twice, err := Select(all, "haproxy,haproxy,haproxy#2")
	if err != nil || twice[0].Name != "haproxy" || twice[1].Name != "haproxy#2" || twice[2].Name == twice[1].Name {
		t.Fatalf("a target against itself: %+v, %v", twice, err)
	}
	if _, err := Select(all, "squid"); err == nil || !strings.Contains(err.Error(), "haproxy") {
		t.Fatalf("the error does not list what there is: %v", err)
	}
	if picked, err := Select(all, ""); err != nil || len(picked) != len(all) {
		t.Fatal(len(picked), err)
	}
}

func TestPeersAreConfiguredForBothKindsOfSocket(t *testing.T) {
	for _, target := range []Target{haproxy(), nginx()} {
		for _, e := range []Env{
			{Listen: "127.0.0.1:2001", Forward: "127.0.0.1:2000", MaxConns: 5000},
			{Listen: "unix:/a/in", Forward: "unix:/a/out", MaxConns: 5000},
		} {
			e.Dir = t.TempDir()
			if _, err := target.Find(); err != nil {
				if !strings.Contains(err.Error(), "apt install") {
					t.Errorf("%s: the error does not say how to install it: %v", target.Name, err)
				}
				continue
			}
			if _, err := target.Command(e); err != nil {
				t.Fatal(err)
			}
			entries, err := os.ReadDir(e.Dir)
			if err != nil {
				t.Fatal(err)
			}
			written := false
			for _, entry := range entries {
				if text, err := os.ReadFile(e.Dir + "/" + entry.Name()); err == nil {
					written = true
					for _, address := range []string{e.Listen, e.Forward} {
						if _, where, _ := strings.Cut(address, ":"); !strings.Contains(string(text), where) {
							t.Errorf("%s: %s is not in its configuration", target.Name, where)
						}
					}
				}
			}
			if !written {
				t.Errorf("%s has no configuration", target.Name)
			}
		}
	}
}
