package load

import (
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"fooproxy/bench/proc"
)

// Result is what a run found, over its measured window. Times are in nanoseconds in JSON as well.
type Result struct {
	Command []string `json:"command,omitempty"` // filled in by the caller
	Target  string   `json:"target"`
	Loop    string   `json:"loop"` // "closed" or "open"

	Conns   int     `json:"connections"`
	Depth   int     `json:"depth"`
	Threads int     `json:"threads"`
	Sizes   string  `json:"sizes"`
	Rate    float64 `json:"rate,omitempty"` // asked for, per second

	Elapsed  time.Duration `json:"elapsed_ns"`
	Answers  uint64        `json:"answers"`
	Naks     uint64        `json:"naks"`
	BytesOut uint64        `json:"bytes_out"`
	BytesIn  uint64        `json:"bytes_in"`
	Closed   uint64        `json:"connections_closed,omitempty"` // churn: made, used and closed
	PerSec   float64       `json:"answers_per_second"`
	Unended  int           `json:"not_ended_by_target,omitempty"` // connections open a second after our FIN

	Service  Times  `json:"service"`            // from sending to the answer
	Response *Times `json:"response,omitempty"` // open loop: from when the request was due

	Generator Generator    `json:"generator"`
	Usage     *TargetUsage `json:"target_usage,omitempty"`
	Turns     []Turn       `json:"turns,omitempty"`   // when it was measured in turns
	Invalid   []string     `json:"invalid,omitempty"` // why the figures say more about the generator than about the target
	hist      histograms   // for --hdr
}

// histograms are the times of a window.
type histograms struct{ service, response, lag *hdrhistogram.Histogram }

func (h *histograms) merge(o histograms) {
	h.service.Merge(o.service)
	h.response.Merge(o.response)
	h.lag.Merge(o.lag)
}

func (h *histograms) reset() {
	h.service.Reset()
	h.response.Reset()
	h.lag.Reset()
}

// Times summarises a histogram.
type Times struct {
	Count  int64         `json:"count"`
	Mean   time.Duration `json:"mean_ns"`
	StdDev time.Duration `json:"stddev_ns"`
	Min    time.Duration `json:"min_ns"`
	P50    time.Duration `json:"p50_ns"`
	P90    time.Duration `json:"p90_ns"`
	P99    time.Duration `json:"p99_ns"`
	P999   time.Duration `json:"p99_9_ns"`
	P9999  time.Duration `json:"p99_99_ns"`
	Max    time.Duration `json:"max_ns"`
	Curve  []Point       `json:"curve,omitempty"`
}

// Point is one step of a latency curve.
type Point struct {
	Percentile float64       `json:"percentile"`
	Time       time.Duration `json:"ns"`
}

// Generator says how the generator itself fared.
type Generator struct {
	CPU     time.Duration `json:"cpu_ns"`
	Busy    float64       `json:"busy"`       // share of the window in which a thread had something to do; the busiest thread's
	Waited  float64       `json:"waited"`     // share of the window a thread was ready but had no CPU; the worst thread's
	Foreign float64       `json:"foreign"`    // share of the window that others than the target used of its CPU
	LagP99  time.Duration `json:"lag_p99_ns"` // open loop: how late requests were made
	LagMax  time.Duration `json:"lag_max_ns"`
}

// TargetUsage is what the target's processes used.
type TargetUsage struct {
	CPU         time.Duration `json:"cpu_ns"`
	CPUPerMsg   float64       `json:"cpu_ns_per_message"`
	UserShare   float64       `json:"user_share"`
	Busy        float64       `json:"busy"` // CPU time over wall time
	Resident    uint64        `json:"resident_bytes"`
	ResidentNew int64         `json:"resident_new_bytes"` // since before the connections were made
	PerConn     float64       `json:"resident_bytes_per_connection"`
	Switches    float64       `json:"context_switches_per_second"`
	Threads     int           `json:"threads"`
}

// Latency is what a user waits: the response time in open loop, the service time in closed loop.
func (r *Result) Latency() *Times {
	if r.Response != nil {
		return r.Response
	}
	return &r.Service
}

func times(h *hdrhistogram.Histogram) Times {
	at := func(q float64) time.Duration { return time.Duration(h.ValueAtQuantile(q)) }
	t := Times{
		Count: h.TotalCount(), Mean: time.Duration(h.Mean()), StdDev: time.Duration(h.StdDev()), Min: time.Duration(h.Min()),
		P50: at(50), P90: at(90), P99: at(99), P999: at(99.9), P9999: at(99.99), Max: time.Duration(h.Max()),
	}
	for _, q := range []float64{0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 98, 99, 99.5, 99.8, 99.9, 99.95, 99.98, 99.99, 99.999} {
		t.Curve = append(t.Curve, Point{q, at(q)})
	}
	return t
}

// summarise puts the threads' findings together.
func summarise(opt *Options, loops []*loop, parts []measured) *Result {
	r := &Result{
		Target: opt.Target, Loop: "closed", Conns: opt.Conns, Depth: opt.Depth, Threads: opt.Threads,
		Sizes: opt.Mix.String(), Rate: opt.Rate,
	}
	all := histograms{histogram(), histogram(), histogram()}
	for i, p := range parts {
		window := time.Duration(p.until.at - p.from.at)
		r.Elapsed = max(r.Elapsed, window)
		r.Answers += p.until.answered - p.from.answered
		r.Naks += p.until.naks - p.from.naks
		r.BytesIn += p.until.bytesIn - p.from.bytesIn
		r.BytesOut += p.until.bytesOut - p.from.bytesOut
		r.Closed += p.until.churned - p.from.churned
		r.Unended += p.unended
		r.Turns = append(r.Turns, p.turns...)
		all.merge(loops[i].histograms)
		if window > 0 {
			r.Generator.Busy = max(r.Generator.Busy, 1-float64(p.until.idle-p.from.idle)/float64(window))
			r.Generator.Waited = max(r.Generator.Waited, float64(p.until.waited-p.from.waited)/float64(window))
		}
	}
	r.hist = all
	r.PerSec = float64(r.Answers) / max(r.Elapsed, 1).Seconds()
	r.Service = times(all.service)
	r.Generator.CPU = parts[0].until.own - parts[0].from.own
	if opt.Rate > 0 {
		r.Loop = "open"
		response := times(all.response)
		r.Response = &response
		r.Generator.LagP99 = time.Duration(all.lag.ValueAtQuantile(99))
		r.Generator.LagMax = time.Duration(all.lag.Max())
	}
	if len(opt.PIDs) > 0 {
		r.Usage = r.usage(&parts[0])
	}
	r.judge(opt)
	return r
}

func (r *Result) usage(p *measured) *TargetUsage {
	var spent proc.Usage = p.until.target.Sub(p.from.target)
	u := &TargetUsage{
		CPU: spent.CPU, Busy: spent.CPU.Seconds() / max(r.Elapsed, 1).Seconds(), Resident: spent.Resident, Threads: spent.Threads,
		Switches:    float64(spent.Voluntary+spent.Involuntary) / max(r.Elapsed, 1).Seconds(),
		ResidentNew: int64(spent.Resident) - int64(p.base.target.Resident),
	}
	u.PerConn = float64(u.ResidentNew) / float64(r.Conns)
	if r.Answers > 0 {
		u.CPUPerMsg = float64(spent.CPU) / float64(r.Answers)
	}
	if spent.CPU > 0 {
		u.UserShare = min(1, float64(spent.User)/float64(spent.CPU))
	}
	if foreign := p.until.coreBusy - p.from.coreBusy - spent.CPU; foreign > 0 {
		r.Generator.Foreign = foreign.Seconds() / max(r.Elapsed, 1).Seconds()
	}
	return u
}

// The generator's own limits. Above busyMax a closed loop runs as fast as the generator, not as fast as the target; a
// generator that waits for a CPU measures its neighbours; a late request in an open loop is the generator's delay.
const (
	busyMax   = 0.98
	waitedMax = 0.05
	lagMax    = time.Millisecond
)

// judge fills in why the figures cannot be trusted. A target that is busy all the time is the limit, however busy the
// generator is beside it.
func (r *Result) judge(opt *Options) {
	g := &r.Generator
	targetFull := r.Usage != nil && r.Usage.Busy > 0.95
	if r.Loop == "closed" && !opt.Idle && !opt.Spin && g.Busy > busyMax && !targetFull {
		r.Invalid = append(r.Invalid, fmt.Sprintf("the generator was busy %.0f %% of the time: it set the pace, not the target",
			100*g.Busy))
	}
	if g.Waited > waitedMax {
		r.Invalid = append(r.Invalid, fmt.Sprintf("the generator was ready but had no CPU for %.0f %% of the time", 100*g.Waited))
	}
	if r.Response != nil && g.LagP99 > lagMax {
		r.Invalid = append(r.Invalid, fmt.Sprintf("1 %% of the requests were made more than %v late by the generator", g.LagP99))
	}
}
