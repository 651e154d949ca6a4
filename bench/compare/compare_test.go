package compare

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"fooproxy/bench/target"
)

func TestSelectWorkloads(t *testing.T) {
	names := func(list []Workload) (n []string) {
		for _, w := range list {
			n = append(n, w.Name)
		}
		return n
	}
	for text, want := range map[string][]string{
		"pipelined, churn": {"pipelined", "churn"},
		"pingpong":         {"pingpong16", "pingpong256", "pingpong1024"},
		"":                 names(Workloads()),
		"all":              names(Workloads()),
	} {
		got, err := SelectWorkloads(text)
		if err != nil || !slices.Equal(names(got), want) {
			t.Errorf("%q: %q, %v", text, names(got), err)
		}
	}
	if _, err := SelectWorkloads("flood"); err == nil || !strings.Contains(err.Error(), "pingpong1024") {
		t.Errorf("the error does not list what there is: %v", err)
	}
}

func TestLoadArgs(t *testing.T) {
	open, err := SelectWorkloads("openloop")
	if err != nil {
		t.Fatal(err)
	}
	env, err := NewEnv(t.TempDir(), open[0], 0, false)
	if err != nil {
		t.Fatal(err)
	}
	args := strings.Join(open[0].LoadArgs("foobench", env, LoadTimes{Window: time.Second, Rate: 1000, Spin: true}, false), " ")
	for _, want := range []string{"foobench load -d 1s --warmup 0s", "-R 1000", "--spin", "--respond " + env.Forward, "--json - "} {
		if !strings.Contains(args, want) {
			t.Errorf("%q is missing in %s", want, args)
		}
	}
	if !strings.HasSuffix(args, " "+env.Listen) || env.Listen == env.Forward {
		t.Errorf("the target %s does not stand last in %s", env.Listen, args)
	}
	if args := open[0].LoadArgs("foobench", env, LoadTimes{}, true); slices.Contains(args, "--respond") {
		t.Error("a direct target was given an upstream")
	}
}

// An ordinary client copies its requests to its socket; only the workloads that say so have them leave by sendfile.
func TestOnlyWhatSaysSoLeavesBySendfile(t *testing.T) {
	said := 0
	for _, w := range append(Workloads(), Others()...) {
		says := strings.Contains(w.Name, "sendfile")
		if says {
			said++
		}
		if flag := slices.Contains(w.Flags, "--sendfile"); flag != says || strings.Contains(w.Short, "sendfile") != says {
			t.Errorf("%s, %q: flags %q", w.Name, w.Short, w.Flags)
		}
	}
	if said == 0 {
		t.Error("no workload is sent by sendfile")
	}
}

func TestOptionsThatCannotBe(t *testing.T) {
	missing := target.Target{Name: "squid", Find: func() (string, error) { return "", errors.New("not installed") }}
	good := Options{Runs: 1, Time: time.Millisecond, Turn: time.Millisecond, TargetCore: 0, LoadCore: 1, Out: io.Discard}
	for name, change := range map[string]func(o *Options){
		"no runs":          func(o *Options) { o.Runs = 0 },
		"no time":          func(o *Options) { o.Time = 0 },
		"no turn":          func(o *Options) { o.Turn = 0 },
		"one CPU for both": func(o *Options) { o.LoadCore = o.TargetCore },
		"nothing to run":   func(o *Options) { o.Targets = []target.Target{missing} },
		"no such base line": func(o *Options) {
			here := missing
			here.Find = func() (string, error) { return "1", nil }
			o.Targets, o.Baseline = []target.Target{here}, "haproxy"
		},
	} {
		o := good
		change(&o)
		if _, err := Run(t.Context(), o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestTurnsAreInterleaved(t *testing.T) {
	a, b, c := &contender{}, &contender{}, &contender{}
	list := []*contender{a, b, c}
	for n, want := range [][]*contender{{a, b, c}, {c, b, a}, {a, b, c}, {c, b, a}} {
		if got := inTurn(list, n); !slices.Equal(got, want) {
			t.Errorf("turn %d is in another order", n)
		}
	}
	if list[0] != a {
		t.Error("the list itself was turned round")
	}
}

func TestRunsAreCutIntoTurns(t *testing.T) {
	for _, test := range []struct {
		time   time.Duration
		idle   bool
		n      int
		length time.Duration
	}{
		{10 * time.Millisecond, false, 1, 10 * time.Millisecond},
		{250 * time.Millisecond, false, 5, 50 * time.Millisecond},
		{2 * time.Second, false, 40, 50 * time.Millisecond},
		{2 * time.Second, true, 1, 50 * time.Millisecond},
	} {
		c := &comparison{Options: Options{Time: test.time, Turn: 50 * time.Millisecond}}
		if n, length := c.turns(Workload{Idle: test.idle}); n != test.n || length != test.length {
			t.Errorf("%v, idle %v: %d turns of %v", test.time, test.idle, n, length)
		}
	}
}
