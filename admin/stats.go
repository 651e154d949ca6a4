package admin

import (
	"os"
	"runtime/metrics"
	"time"

	"fooproxy/stats"
)

// Stats is the answer of /stats. Counters are totals since the start, times are in the units of their names. Figures with the
// name of a line of SIGUSR1 are the same figure.
type Stats struct {
	Time     time.Time `json:"time"`
	Uptime   float64   `json:"uptime_seconds"`
	PID      int       `json:"pid"`
	Version  string    `json:"version"`
	Engine   string    `json:"engine"`          // uring, epoll
	Fallback string    `json:"fallback_reason"` // why it is not io_uring, "" when it is or was not asked for
	Listen   string    `json:"listen"`
	Forward  string    `json:"forward"`
	Draining bool      `json:"draining"`

	MsgTotal       uint64  `json:"msg_total"`
	MsgReq         uint64  `json:"msg_req"`
	MsgAck         uint64  `json:"msg_ack"`
	MsgNak         uint64  `json:"msg_nak"`
	RequestRate1   float64 `json:"request_rate_1s"`
	RequestRate10  float64 `json:"request_rate_10s"`
	ResponseRate1  float64 `json:"response_rate_1s"`
	ResponseRate10 float64 `json:"response_rate_10s"`

	// Counters has every other counter and level of SIGUSR1 by its name, such as bad, unmatched, bytes_request, log_dropped.
	Counters map[string]uint64 `json:"counters"`

	Connections Connections       `json:"connections"`
	Ends        map[string]uint64 `json:"ends"` // connections ended, by reason as in the log: client-fin, violation-request, …
	Violations  Violations        `json:"violations"`
	Latency     *Latency          `json:"latency"` // null unless answers are matched with requests
	Loops       []Loop            `json:"loops"`
	Buffers     Buffers           `json:"buffers"`
	Log         Log               `json:"log"`
	Process     Process           `json:"process"`
	History     History           `json:"history"`
}

// Connections tells how many there are.
type Connections struct {
	Open    uint64            `json:"open"`
	Total   uint64            `json:"total"`
	Max     int               `json:"max"`
	ByState map[string]uint64 `json:"by_state"` // of those open: connecting, open, closing
	ByClass map[string]uint64 `json:"by_class"` // of those open: unknown, foo, arbitrary, tunnel
}

// Violations counts places where a peer broke the grammar, by what was wanted there.
type Violations struct {
	Total    uint64            `json:"total"`
	ByReason map[string]uint64 `json:"by_reason"` // type, space, seq, seq-end, utf-8, shorter-line
}

// Latency is what requests took, from the turn of the loop that forwarded them to the one that forwarded their answer.
type Latency struct {
	Total  Quantiles `json:"total"`
	Last1  Quantiles `json:"last_1s"`  // the last whole second, renewed each second
	Last10 Quantiles `json:"last_10s"` // the last ten of them
	// Distribution of the last ten seconds, or since the start while there is less: rising, without empty bars at either end.
	Distribution []Bar `json:"distribution"`
}

// Quantiles of a set of requests, in µs; 0 when there are none.
type Quantiles struct {
	Count uint64  `json:"count"`
	Mean  float64 `json:"mean_us"`
	P50   float64 `json:"p50_us"`
	P90   float64 `json:"p90_us"`
	P99   float64 `json:"p99_us"`
	P999  float64 `json:"p999_us"`
	Max   float64 `json:"max_us"`
}

// Bar is how many requests took more than the bar before, up to UpTo.
type Bar struct {
	UpTo  float64 `json:"up_to_us"`
	Count uint64  `json:"count"`
}

// Loop is what one event loop does.
type Loop struct {
	Index         int     `json:"index"`
	CPU           int     `json:"cpu"`      // that it is pinned to, -1 = none
	Busy1         float64 `json:"busy_1s"`  // share of the last whole second that its thread ran, 0 to 1
	Busy10        float64 `json:"busy_10s"` // of the last ten
	Accepted      uint64  `json:"accepted"`
	Connections   uint64  `json:"connections"`
	MsgTotal      uint64  `json:"msg_total"`
	RequestRate1  float64 `json:"request_rate_1s"`
	ResponseRate1 float64 `json:"response_rate_1s"`
	BufferedBytes uint64  `json:"buffered_bytes"`
	ReadPauses    uint64  `json:"read_pauses"`
	NoBuffer      uint64  `json:"no_buffer"`
}

// Buffers is what the loops hold for peers that take data more slowly than it comes.
type Buffers struct {
	HeldBytes  uint64 `json:"held_bytes"`
	ReadPauses uint64 `json:"read_pauses"`
	NoBuffer   uint64 `json:"no_buffer"`
}

// Log is the request log.
type Log struct {
	Enabled bool   `json:"enabled"`
	Dropped uint64 `json:"dropped"`
}

// Process is what the Go runtime says.
type Process struct {
	Goroutines uint64 `json:"goroutines"`
	HeapBytes  uint64 `json:"heap_bytes"`
	HeapAllocs uint64 `json:"heap_allocs"`
	GCCycles   uint64 `json:"gc_cycles"`
}

// History is one value for each of the last seconds, the oldest first, at most historyLen.
type History struct {
	RequestRate  []float64 `json:"request_rate"`
	ResponseRate []float64 `json:"response_rate"`
	P50          []float64 `json:"p50_us"`
	P99          []float64 `json:"p99_us"`
}

// collect fills a Stats from one view of the proxy.
func (s *Server) collect() *Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.source.View(&s.view)
	total, info := &s.view.Total, s.source.Info()
	out := &Stats{
		Time: time.Now(), Uptime: time.Since(info.Start).Seconds(), PID: os.Getpid(), Version: s.options.Version,
		Engine: info.Engine, Fallback: info.Fallback, Listen: info.Listen, Forward: s.options.Forward,
		Draining: s.source.Draining(),

		MsgTotal: total.Total(), MsgReq: total.Local[stats.Req], MsgAck: total.Local[stats.Ack], MsgNak: total.Local[stats.Nak],
		RequestRate1: total.RequestRate1, RequestRate10: total.RequestRate10,
		ResponseRate1: total.ResponseRate1, ResponseRate10: total.ResponseRate10,

		Counters: map[string]uint64{}, Ends: map[string]uint64{},
		Connections: connectionsOf(total, s.options.MaxConn),
		Violations:  Violations{Total: total.Local[stats.Bad], ByReason: map[string]uint64{}},
		Buffers: Buffers{
			HeldBytes:  total.Local[stats.Buffered],
			ReadPauses: total.Local[stats.ReadPauses],
			NoBuffer:   total.Local[stats.NoBuffer],
		},
		Log:     Log{Enabled: s.options.Log, Dropped: total.Local[stats.LogDropped]},
		Process: processFigures(),
		History: s.sampler.history(),
	}
	for c := stats.Nak + 1; c < stats.NumCounters; c++ {
		out.Counters[c.String()] = total.Local[c]
		if c >= stats.EndFirst {
			out.Ends[c.Reason()] = total.Local[c]
		}
	}
	for _, r := range violationReasons {
		out.Violations.ByReason[r.label] = total.Local[r.counter]
	}
	if s.source.Tracking() {
		out.Latency = s.sampler.latency(&s.view.Latency)
	}
	out.Loops = s.sampler.loops(s.view.Loops)
	return out
}

func connectionsOf(s *stats.Snapshot, most int) Connections {
	l := &s.Local
	c := Connections{Open: s.Open(), Total: l[stats.Accepted], Max: most}
	state := map[string]uint64{"connecting": l[stats.Connecting], "closing": l[stats.Closing]}
	state["open"] = less(c.Open, l[stats.Connecting]+l[stats.Closing])
	class := map[string]uint64{"foo": l[stats.OpenFoo], "arbitrary": l[stats.OpenArbitrary], "tunnel": l[stats.OpenTunnel]}
	class["unknown"] = less(c.Open, l[stats.OpenFoo]+l[stats.OpenArbitrary]+l[stats.OpenTunnel])
	c.ByState, c.ByClass = state, class
	return c
}

// less is a - b, and 0 when figures of two turns would make it negative.
func less(a, b uint64) uint64 { return a - min(a, b) }

func quantilesOf(d *stats.Distribution) Quantiles {
	const micro = float64(time.Microsecond)
	at := func(share float64) float64 { return float64(d.Quantile(share)) / micro }
	return Quantiles{
		Count: d.Count, Mean: d.Mean() / micro, Max: float64(d.Max) / micro,
		P50: at(0.5), P90: at(0.9), P99: at(0.99), P999: at(0.999),
	}
}

// processFigures reads what stops nothing, unlike runtime.ReadMemStats.
func processFigures() (p Process) {
	into := []struct {
		name string
		to   *uint64
	}{
		{"/sched/goroutines:goroutines", &p.Goroutines},
		{"/memory/classes/heap/objects:bytes", &p.HeapBytes},
		{"/gc/heap/allocs:objects", &p.HeapAllocs},
		{"/gc/cycles/total:gc-cycles", &p.GCCycles},
	}
	samples := make([]metrics.Sample, len(into))
	for i := range into {
		samples[i].Name = into[i].name
	}
	metrics.Read(samples)
	for i := range into {
		if samples[i].Value.Kind() == metrics.KindUint64 {
			*into[i].to = samples[i].Value.Uint64()
		}
	}
	return p
}
