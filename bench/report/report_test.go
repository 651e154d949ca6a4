package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"fooproxy/bench/load"
)

// sample is a small report: two targets, three workloads, as many rounds as cpu has entries, with the CPU per message given.
func sample(base, ours []float64) *Report {
	r := &Report{
		Begun: time.Unix(0, 0), Took: "1s", Command: []string{"foobench", "compare"}, Baseline: "haproxy", FloorNs: []float64{9000, 9100, 8900},
		Machine: Machine{CPU: "a <CPU>", Kernel: "6.18"},
		Targets: []Target{{Name: "fooproxy-uring", Version: "1"}, {Name: "haproxy", Version: "2.6"}, {Name: "nginx", Missing: "not installed: apt install nginx"}},
		Workloads: []Workload{
			{Name: "pingpong16", Loop: "pingpong", Conns: 16, About: "16 connections"},
			{Name: "pingpong256", Loop: "pingpong", Conns: 256, About: "256 connections"},
			{Name: "idle", Loop: "idle", Idle: true, Conns: 100, About: "still"},
		},
	}
	for _, w := range r.Workloads {
		for _, c := range []struct {
			name string
			cpu  []float64
		}{{"fooproxy-uring", ours}, {"haproxy", base}} {
			cell := Cell{Target: c.name, Workload: w.Name}
			for round, cpu := range c.cpu {
				times := load.Times{Count: 100000, P50: time.Duration(cpu), P99: time.Duration(3 * cpu), P999: time.Duration(5 * cpu)}
				for _, q := range []float64{0, 50, 90, 99, 99.9, 99.999} {
					times.Curve = append(times.Curve, load.Point{Percentile: q, Time: time.Duration(cpu * (1 + q))})
				}
				cell.Runs = append(cell.Runs, Run{Round: round, Result: load.Result{
					Loop: "closed", Answers: 1000, PerSec: 1e9 / cpu, Elapsed: time.Second, Service: times,
					Usage: &load.TargetUsage{CPUPerMsg: cpu, Resident: 1 << 20, PerConn: cpu / 10, Switches: 10},
				}})
			}
			r.Cells = append(r.Cells, cell)
		}
	}
	return r
}

func TestTextShowsMediansAndRatios(t *testing.T) {
	r := sample([]float64{12000, 13000, 11000}, []float64{9000, 9100, 8900})
	var b bytes.Buffer
	r.WriteText(&b)
	for _, want := range []string{
		"left out: nginx: not installed: apt install nginx", "9µs ±2% ×0.75", "12µs ±17%", "1.17KiB", "floor: 9.00 µs",
		"fooproxy-uring 1.00", "haproxy 0.75",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
}

func TestRatioPairsRounds(t *testing.T) {
	// Round 1 was disturbed for both: the ratio within the round does not show it.
	f := FigureNamed("cpu/msg")
	r := sample([]float64{10000, 30000, 10000}, []float64{9000, 27000, 9000})
	s := Ratio(f, r.Cell("pingpong16", "fooproxy-uring"), r.Cell("pingpong16", "haproxy"))
	if s.Median != 0.9 || s.Spread > 1e-9 || s.N != 3 {
		t.Fatalf("%+v", s)
	}
	if s := Ratio(f, nil, r.Cell("pingpong16", "haproxy")); s.N != 0 {
		t.Fatalf("%+v", s)
	}
}

// Runs that were measured in turns are compared turn by turn, and a turn in which the machine was slow does not count.
func TestRatioPairsTurns(t *testing.T) {
	f := FigureNamed("cpu/msg")
	run := func(cpu ...time.Duration) Run {
		r := Run{Result: load.Result{Answers: 1000, Usage: &load.TargetUsage{CPUPerMsg: 99}}}
		for _, c := range cpu {
			r.Result.Turns = append(r.Result.Turns, load.Turn{Elapsed: time.Second, Answers: 10, CPU: 10 * c})
		}
		return r
	}
	base, ours := run(1000, 5000, 1000, 2000, 1000), run(900, 4500, 3000, 1800, 900)
	a, b := &Cell{Runs: []Run{ours}}, &Cell{Runs: []Run{base}}
	if s := Ratio(f, a, b); math.Abs(s.Median-0.9) > 1e-9 {
		t.Errorf("the ratio is %.3f, want 0.9", s.Median)
	}
	if s := a.Stat(f); s.Median != 1800 {
		t.Errorf("the run's figure is %.0f, want its median turn's, 1800", s.Median)
	}
	// With a turn missing, or one without an answer, whole runs are compared.
	base.Result.Turns = base.Result.Turns[:4]
	if s := Ratio(f, a, &Cell{Runs: []Run{base}}); math.Abs(s.Median-1800.0/1500) > 1e-9 {
		t.Errorf("the ratio is %.3f, want 1.2", s.Median)
	}
	base.Result.Turns[0].Answers = 0
	if s := (&Cell{Runs: []Run{base}}).Stat(f); s.Median != 99 {
		t.Errorf("the run's figure is %.0f, want that of the whole window, 99", s.Median)
	}
}

// The table for readers: what matters of each workload, with the ratio to the base line and to the better of the peers.
func TestMarkdown(t *testing.T) {
	r := sample([]float64{12000, 12000, 12000}, []float64{9000, 9000, 9000})
	r.Targets[0].Engine, r.Targets[2].Missing = true, ""
	r.Targets = append(r.Targets, Target{Name: "direct", Direct: true})
	for _, w := range r.Workloads {
		nginx, direct := *r.Cell(w.Name, "haproxy"), *r.Cell(w.Name, "fooproxy-uring")
		nginx.Target, direct.Target = "nginx", "direct"
		nginx.Runs, direct.Runs = slices.Clone(nginx.Runs), slices.Clone(direct.Runs)
		for i := range nginx.Runs {
			nginx.Runs[i].Result.Usage = &load.TargetUsage{CPUPerMsg: 10000, PerConn: 2400}
			direct.Runs[i].Result.PerSec *= 1.5
		}
		r.Cells = append(r.Cells, nginx, direct)
	}
	var b bytes.Buffer
	r.WriteMarkdown(&b)
	for _, want := range []string{
		"| workload | figure | fooproxy-uring | haproxy | nginx |\n|---|---|---:|---:|---:|\n",
		"| pingpong16 | CPU/message | 9µs (0.75, 0.90) | 12µs | 10µs (0.83) |\n",
		"| idle | resident per connection | 900B (0.75, 0.75) | 1.17KiB | 2.34KiB (2.00) |\n",
		"| pingpong16 | 167k/s | 111k/s, fooproxy-uring | 1.50 |\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
}

func TestSaveAndLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.json")
	r := sample([]float64{12000}, []float64{9000})
	if err := r.Save(path); err != nil {
		t.Fatal(err)
	}
	got, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	var a, b bytes.Buffer
	r.WriteText(&a)
	got.WriteText(&b)
	if a.String() != b.String() {
		t.Fatalf("%s\n%s", a.String(), b.String())
	}
	if err := (&Report{}).Save(path); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil {
		t.Fatal("a file without cells was accepted")
	}
}

// The page is whole, refers to nothing outside, and escapes what it shows.
func TestPage(t *testing.T) {
	r := sample([]float64{12000, 13000, 11000}, []float64{9000, 9100, 8900})
	plots, err := r.Plots()
	if err != nil {
		t.Fatal(err)
	}
	var titles []string
	for _, p := range plots {
		titles = append(titles, p.Title)
		d := xml.NewDecoder(bytes.NewReader(p.SVG))
		for {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", p.Title, err)
			}
		}
	}
	for _, want := range []string{
		"CPU per message", "Messages per second", "Scaling with connections: cpu/msg", "Latency by percentile: pingpong16",
		"Memory of idle connections",
	} {
		if !slices.Contains(titles, want) {
			t.Errorf("no plot %q in %q", want, titles)
		}
	}
	var b bytes.Buffer
	if err := r.WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	if !strings.Contains(text, "a &lt;CPU&gt;") || strings.Contains(text, "a <CPU>") {
		t.Error("the machine's name is not escaped")
	}
	for _, outside := range []string{"<script", "<link", "src=", "@import"} {
		if strings.Contains(text, outside) {
			t.Errorf("the page has %q", outside)
		}
	}
	if strings.Count(text, "<svg") != len(plots) {
		t.Errorf("%d pictures, want %d", strings.Count(text, "<svg"), len(plots))
	}
}

// A report with a single run, with failed cells, with nothing but one workload: no picture may fail on it.
func TestPageOfPoorReports(t *testing.T) {
	one := sample([]float64{12000}, []float64{9000})
	one.Workloads, one.Cells = one.Workloads[:1], one.Cells[:2]
	failed := sample([]float64{12000, 1}, []float64{9000, 2})
	for i := range failed.Cells {
		failed.Cells[i].Runs, failed.Cells[i].Failure = nil, "the target ended"
	}
	if got := len(failed.Failures()); got != len(failed.Cells) {
		t.Fatal(got)
	}
	for _, r := range []*Report{one, failed} {
		var text bytes.Buffer
		r.WriteText(&text)
		if err := r.WriteHTML(&text); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDiff(t *testing.T) {
	base := []float64{12000, 12100, 11900, 12050, 11950}
	ours := []float64{9000, 9100, 8900, 9050, 8950}
	slower := make([]float64, 5)
	slowDay := make([]float64, 5)
	slowDayBase := make([]float64, 5)
	for i := range ours {
		slower[i] = ours[i] * 1.2
		slowDay[i], slowDayBase[i] = ours[i]*1.5, base[i]*1.5
	}
	find := func(changes []Change, target, figure string) Change {
		for _, c := range changes {
			if c.Workload == "pingpong16" && c.Target == target && c.Figure == figure {
				return c
			}
		}
		t.Fatalf("no change of %s of %s", figure, target)
		return Change{}
	}
	same := Diff(sample(base, ours), sample(base, ours))
	if n := WriteDiff(io.Discard, same, 0.01, 0.02, true); n != 0 {
		t.Errorf("%d changes between a report and itself", n)
	}
	worse := find(Diff(sample(base, ours), sample(base, slower)), "fooproxy-uring", "cpu/msg")
	if !worse.Significant(0.01, 0.02) || !worse.ByRatio || math.Abs(worse.Relative-0.2) > 0.01 {
		t.Errorf("%+v", worse)
	}
	changes := Diff(sample(base, ours), sample(slowDayBase, slowDay))
	if c := find(changes, "fooproxy-uring", "cpu/msg"); c.Significant(0.01, 0.02) {
		t.Errorf("a slow day was taken for a change: %+v", c)
	}
	if c := find(changes, "haproxy", "cpu/msg"); !c.Significant(0.01, 0.02) || c.ByRatio {
		t.Errorf("%+v", c)
	}
	var b bytes.Buffer
	if n := WriteDiff(&b, Diff(sample(base[:2], ours[:2]), sample(base[:2], slower[:2])), 0.01, 0.02, false); n != 0 || !strings.Contains(b.String(), "too few runs") {
		t.Errorf("%d changes from two runs each\n%s", n, b.String())
	}
	for _, c := range same {
		if c.Workload == "idle" && c.Figure != "B/conn" {
			t.Errorf("%s means nothing for idle connections", c.Figure)
		}
	}
}

// Values from the published table of the exact distribution and from R's wilcox.test.
func TestMannWhitneyKnown(t *testing.T) {
	for _, test := range []struct {
		a, b []float64
		want float64
	}{
		{[]float64{1, 2, 3, 4, 5}, []float64{6, 7, 8, 9, 10}, 2.0 / 252},
		{[]float64{1, 2, 3}, []float64{4, 5, 6}, 2.0 / 20},
		{[]float64{1}, []float64{2}, 1},
		{[]float64{1, 4}, []float64{2, 3}, 1},
		{[]float64{0.8, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46}, []float64{1.15, 0.88, 0.9, 0.74, 1.21}, 0.2544},
		{[]float64{5, 5, 5}, []float64{5, 5, 5}, 1},
		{nil, []float64{1}, 1},
	} {
		if got := MannWhitney(test.a, test.b); math.Abs(got-test.want) > 5e-5 {
			t.Errorf("%v against %v: p = %.5f, want %.5f", test.a, test.b, got, test.want)
		}
	}
}

// The p-value is the share of all ways to split the pooled values that are at least as unequal: counted here one by one.
func TestMannWhitneyAgainstEnumeration(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.Map(rapid.IntRange(0, 8), func(i int) float64 { return float64(i) })
		a := rapid.SliceOfN(value, 1, 6).Draw(t, "a")
		b := rapid.SliceOfN(value, 1, 6).Draw(t, "b")
		pooled := slices.Concat(a, b)
		u := func(member func(i int) bool) (u float64) {
			for i, x := range pooled {
				for j, y := range pooled {
					if member(i) && !member(j) {
						if x > y {
							u++
						} else if x == y {
							u += 0.5
						}
					}
				}
			}
			return u
		}
		mean := float64(len(a)*len(b)) / 2
		observed := math.Abs(u(func(i int) bool { return i < len(a) }) - mean)
		extreme, all := 0, 0
		for set := range 1 << len(pooled) {
			size := 0
			for i := range pooled {
				size += set >> i & 1
			}
			if size != len(a) {
				continue
			}
			all++
			if math.Abs(u(func(i int) bool { return set>>i&1 == 1 })-mean) >= observed {
				extreme++
			}
		}
		want := float64(extreme) / float64(all)
		if got := MannWhitney(a, b); math.Abs(got-want) > 1e-9 {
			t.Fatalf("p = %v, want %v", got, want)
		}
		if p := smallestP(len(a), len(b)); want < p/2-1e-9 { // ties can leave one of the two tails empty
			t.Fatalf("p = %v is below the smallest there should be, %v", want, p)
		}
	})
}

func TestFormat(t *testing.T) {
	for _, test := range []struct {
		v    float64
		unit string
		want string
	}{
		{204, "ns", "204ns"},
		{11800, "ns", "11.8µs"},
		{1.5e6, "ns", "1.5ms"},
		{2.5e9, "ns", "2.5s"},
		{900, "B", "900B"},
		{3379, "B", "3.3KiB"},
		{1 << 21, "B", "2MiB"},
		{4.64e6, "1/s", "4.64M"},
		{76000, "1/s", "76k"},
		{812, "1/s", "812"},
	} {
		if got := Format(test.v, test.unit); got != test.want {
			t.Errorf("%v %s: %q, want %q", test.v, test.unit, got, test.want)
		}
	}
	if !math.IsNaN(Median(nil)) || Median([]float64{3, 1, 2, 10}) != 2.5 {
		t.Error("median")
	}
}
