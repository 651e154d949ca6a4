package compare

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"fooproxy/bench/load"
	"fooproxy/bench/report"
	"fooproxy/bench/sys"
	"fooproxy/bench/target"
)

// Workload is one kind of traffic.
type Workload struct {
	Name   string
	Short  string // for tables that have little room
	About  string
	Flags  []string // of foobench load
	Conns  int
	Loop   string // name shared by the same traffic at several numbers of connections
	Stream bool   // raw bytes through a tunnel; a "message" is a MiB of them
	Unix   bool   // both sides of the target are unix sockets
	Idle   bool
	Churn  bool
	Open   bool // its rate is half of what the base line reaches in closed loop with the same connections
}

func closedLoop(name, loop string, conns, depth int, sizes string) Workload {
	return Workload{
		Name: name, Loop: loop, Conns: conns,
		Short: fmt.Sprintf("%d × %d, %s", conns, depth, sizeText(sizes)),
		About: fmt.Sprintf("%d connections × %d outstanding, requests of %s bytes", conns, depth, sizes),
		Flags: []string{"-c", strconv.Itoa(conns), "-P", strconv.Itoa(depth), "-s", sizes},
	}
}

// bySendfile is the workload with requests that are not copied to their sockets, as an ordinary client's are.
func (w Workload) bySendfile() Workload {
	w.Short, w.About = w.Short+", by sendfile", w.About+", which leave by sendfile(2)"
	w.Flags = append(w.Flags, "--sendfile")
	return w
}

// overUnix is the workload with unix sockets on both sides of the target.
func (w Workload) overUnix() Workload {
	w.Unix, w.Short, w.About = true, w.Short+", unix sockets", w.About+", both sides unix sockets"
	return w
}

// sizeText is a size as people say it, and a mix by its mean.
func sizeText(sizes string) string {
	mix, err := load.ParseMix(sizes)
	if err != nil {
		return sizes
	}
	text := report.Format(mix.Mean(), "B")
	if strings.Contains(sizes, ",") {
		text = "mixed, mean " + text
	}
	return text
}

// idleConns is how many idle connections are held. A proxy needs two descriptors for each, and a Go relay, which splices,
// four more for its pipes.
const idleConns = 2000

// Workloads lists all, in the order of the tables.
func Workloads() []Workload {
	churn := Workload{
		Name: "churn", Short: "32 at a time, one request each", Loop: "churn", Conns: 32, Churn: true,
		About: "32 at a time: connect, one request of 16 bytes, end, wait for the other end",
		Flags: []string{"-c", "32", "-P", "1", "-s", "16", "--churn", "1"},
	}
	idle := Workload{
		Name: "idle", Short: fmt.Sprintf("%d idle", idleConns), Loop: "idle", Conns: idleConns, Idle: true,
		About: fmt.Sprintf("%d connections that have had one answer and are still", idleConns),
		Flags: []string{"-c", strconv.Itoa(idleConns), "-P", "1", "-s", "16", "--idle"},
	}
	crowd := closedLoop("crowd", "crowd", 16, 1, "16")
	crowd.Conns += idleConns
	crowd.Short += fmt.Sprintf(", among %d idle", idleConns)
	crowd.About += fmt.Sprintf(", among %d connections that are still", idleConns)
	crowd.Flags = append(crowd.Flags, "--still", strconv.Itoa(idleConns))
	open := Workload{
		Name: "openloop", Short: "64, open loop at half load", Loop: "openloop", Conns: 64, Open: true,
		About: "64 connections, Poisson arrivals at half of the base line's highest rate, requests of 64 bytes; times from the intended send",
		Flags: []string{"-c", "64", "-s", "64", "--arrivals", "poisson"},
	}
	return []Workload{
		closedLoop("pingpong16", "pingpong", 16, 1, "16"),
		closedLoop("pingpong256", "pingpong", 256, 1, "16"),
		closedLoop("pingpong1024", "pingpong", 1024, 1, "16"),
		closedLoop("pipelined", "pipelined", 16, 64, "16"),
		closedLoop("mix1k", "mix1k", 64, 8, "128:0.4,1024:0.5,4096:0.1"),
		closedLoop("bulk16k", "bulk16k", 8, 16, "16384"),
		closedLoop("sendfile16k", "sendfile16k", 8, 16, "16384").bySendfile(),
		closedLoop("bulk1m", "bulk1m", 8, 2, "1048576"),
		churn, idle, crowd, open, closedLoop("unix", "unix", 16, 1, "16").overUnix(),
	}
}

// Others lists the workloads that are not among all: those of tunnels, which a target that speaks only Foo cannot run, and bulk
// between unix sockets.
func Others() []Workload {
	stream := func(name string, conns int, about string, flags ...string) Workload {
		return Workload{
			Name: name, Loop: name, Conns: conns, Stream: true,
			Short: fmt.Sprintf("%d streams, %s", conns, about),
			About: fmt.Sprintf("%d raw byte streams, %s; a message is a MiB that has arrived", conns, about),
			Flags: append([]string{"-c", strconv.Itoa(conns)}, flags...),
		}
	}
	return []Workload{
		stream("tunnel", 4, "one way"), stream("tunnelboth", 4, "both ways", "--both"), stream("tunnel1", 1, "one way"),
		stream("tunnelunix", 4, "one way").overUnix(),
		closedLoop("bulk16kunix", "bulk16kunix", 8, 16, "16384").overUnix(),
		closedLoop("sendfile16kunix", "sendfile16kunix", 8, 16, "16384").bySendfile().overUnix(),
		closedLoop("bulk1munix", "bulk1munix", 8, 2, "1048576").overUnix(),
	}
}

// SelectWorkloads picks workloads by name; "all" or "" is every one but the streams, and the name of a loop is all of its
// workloads.
func SelectWorkloads(names string) ([]Workload, error) {
	all := Workloads()
	if names == "" || names == "all" {
		return all, nil
	}
	var picked []Workload
	for name := range strings.SplitSeq(names, ",") {
		name = strings.TrimSpace(name)
		found := len(picked)
		for _, w := range append(all, Others()...) {
			if w.Name == name || w.Loop == name {
				picked = append(picked, w)
			}
		}
		if found == len(picked) {
			var known []string
			for _, w := range append(all, Others()...) {
				known = append(known, w.Name)
			}
			return nil, fmt.Errorf("no workload %q; there are %s", name, strings.Join(known, ", "))
		}
	}
	return picked, nil
}

// LoadTimes is what a run's length and pace are.
type LoadTimes struct {
	Window, Warmup time.Duration
	Rate           float64 // of workloads in open loop
	Spin           bool
	Turns          bool // Window is the length of a turn; see foobench load --turns
}

// loadFlags is what a workload asks of foobench load.
func (w *Workload) loadFlags(t LoadTimes) []string {
	flags := append([]string{"-d", t.Window.String(), "--warmup", t.Warmup.String()}, w.Flags...)
	if w.Open {
		flags = append(flags, "-R", strconv.FormatFloat(t.Rate, 'f', -1, 64))
	}
	if t.Spin {
		flags = append(flags, "--spin")
	}
	return flags
}

// command is the generator's.
func (w *Workload) command() string {
	if w.Stream {
		return "stream"
	}
	return "load"
}

// LoadArgs is the command of the generator for a workload, its result as JSON on stdout; the last argument is the target.
// A direct target needs no upstream.
func (w *Workload) LoadArgs(foobench string, env target.Env, t LoadTimes, direct bool) []string {
	args := append([]string{foobench, w.command()}, w.loadFlags(t)...)
	args = append(args, "--json", "-")
	if t.Turns {
		args = append(args, "--turns")
	}
	if !direct {
		args = append(args, "--respond", env.Forward)
	}
	return append(args, env.Listen)
}

// NewEnv finds a place for a target under a workload: ports, or paths of sockets in dir, which is empty. With a cable the target
// is at its end here, and the generator at the other.
func NewEnv(dir string, w Workload, core int, cable bool) (target.Env, error) {
	e := target.Env{Dir: dir, Core: core, MaxConns: max(w.Conns, 1000), Tunnel: w.Stream}
	if w.Unix {
		e.Listen, e.Forward = "unix:"+filepath.Join(dir, "in"), "unix:"+filepath.Join(dir, "out")
		return e, nil
	}
	hosts := [2]string{"127.0.0.1", "127.0.0.1"}
	if cable {
		hosts = [2]string{sys.CableHere, sys.CableThere}
	}
	for i, address := range []*string{&e.Listen, &e.Forward} {
		port, err := target.FreePort()
		if err != nil {
			return e, err
		}
		*address = fmt.Sprintf("%s:%d", hosts[i], port)
	}
	return e, nil
}
