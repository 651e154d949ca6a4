package admin

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"fooproxy/stats"
)

// latencyBounds are the buckets of the latency histogram in seconds: a factor of two from 16 µs to 8 s.
var latencyBounds = prometheus.ExponentialBuckets(16e-6, 2, 20)

// family is all series of one name. Its values come from a view of the proxy when it is scraped, so that the loops know nothing of it.
type family struct {
	name, help string
	label      string // of its series, "" = there is one
	kind       prometheus.ValueType
	series     []series
}

// series is one value of a family.
type series struct {
	label   string
	counter stats.Counter
}

func one(c stats.Counter) []series { return []series{{"", c}} }

// families are those that show a counter or a level as it is.
var families = [...]family{
	{"messages_total", "Valid messages forwarded.", "type", prometheus.CounterValue, []series{{"REQ", stats.Req}, {"ACK", stats.Ack}, {"NAK", stats.Nak}}},
	{"connections_accepted_total", "Client connections accepted.", "", prometheus.CounterValue, one(stats.Accepted)},
	{"connections_closed_total", "Connections that have ended, by the first reason.", "reason", prometheus.CounterValue, endSeries()},
	{"connections_classified_total", "Connections by what their first bytes have shown.", "class", prometheus.CounterValue, []series{
		{"foo", stats.ClassFoo}, {"arbitrary", stats.ClassArbitrary}, {"tunnel", stats.ClassTunnel},
	}},
	{"protocol_violations_total", "Places where a peer broke the grammar, by what was wanted there.", "reason", prometheus.CounterValue, violationReasons[:]},
	{"bytes_total", "Bytes accepted for forwarding.", "direction", prometheus.CounterValue, []series{
		{"request", stats.BytesRequest}, {"response", stats.BytesResponse}, {"tunnel-in", stats.BytesTunnelIn}, {"tunnel-out", stats.BytesTunnelOut},
	}},
	{"spliced_bytes_total", "Bytes of requests and responses that went on within the kernel.", "", prometheus.CounterValue, one(stats.BytesSpliced)},
	{"buffered_bytes", "Bytes held for peers that have not taken them yet.", "", prometheus.GaugeValue, one(stats.Buffered)},
	{"read_pauses_total", "Times that a side was no longer read because its peer is slow.", "", prometheus.CounterValue, one(stats.ReadPauses)},
	{"pending_pauses_total", "Times that a client was no longer read because it has too many requests outstanding.", "", prometheus.CounterValue, one(stats.PendingPauses)},
	{"connections_refused_total", "Clients refused because their address has or makes too many connections; not among the accepted.", "reason", prometheus.CounterValue, []series{
		{"connections", stats.RefusedConns}, {"rate", stats.RefusedRate},
	}},
	{"receive_buffers_exhausted_total", "Receives that found no buffer.", "", prometheus.CounterValue, one(stats.NoBuffer)},
	{"pipes_exhausted_total", "Times that data was copied for want of a pipe.", "", prometheus.CounterValue, one(stats.NoPipe)},
	{"zerocopy_sends_total", "Sends without a copy.", "", prometheus.CounterValue, one(stats.ZeroCopySends)},
	{"zerocopy_copied_total", "Sends without a copy that the kernel copied after all.", "", prometheus.CounterValue, one(stats.ZeroCopyCopied)},
	{"zerocopy_denied_total", "Times that sending without a copy was given up.", "", prometheus.CounterValue, one(stats.ZeroCopyDenied)},
	{"accept_errors_total", "Failed accepts.", "", prometheus.CounterValue, one(stats.AcceptErrors)},
	{"accept_pauses_total", "Times that accepting was suspended.", "", prometheus.CounterValue, one(stats.AcceptPauses)},
	{"log_dropped_total", "Lines that the request log dropped.", "", prometheus.CounterValue, one(stats.LogDropped)},
	{"requests_outstanding", "Requests waiting for their answers; 0 unless tracked.", "", prometheus.GaugeValue, one(stats.Outstanding)},
	{"requests_unanswered_total", "Requests without an answer when their connection ended.", "", prometheus.CounterValue, one(stats.Unanswered)},
	{"responses_unmatched_total", "Answers that match no outstanding request.", "", prometheus.CounterValue, one(stats.Unmatched)},
	{"responses_duplicate_total", "Unmatched answers that repeat one of their connection's latest.", "", prometheus.CounterValue, one(stats.Duplicate)},
	{"messages_untracked_total", "Messages that could not be tracked: Seq beyond 64 bits, or too many outstanding.", "", prometheus.CounterValue, one(stats.Untracked)},
}

func endSeries() (list []series) {
	for c := stats.EndFirst; c < stats.NumCounters; c++ {
		list = append(list, series{c.Reason(), c})
	}
	return list
}

// violationReasons are the labels of violations, as the log names what was wanted.
var violationReasons = [...]series{
	{"type", stats.BadType},
	{"space", stats.BadSpace},
	{"seq", stats.BadSeq},
	{"seq-end", stats.BadSeqEnd},
	{"utf-8", stats.BadUTF8},
	{"shorter-line", stats.BadLine},
}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("fooproxy_"+name, help, labels, nil)
}

var (
	latencyDesc     = describe("request_duration_seconds", "From forwarding a request to forwarding its answer.")
	connectionsDesc = describe("connections", "Open connections, by state.", "state")
	classesDesc     = describe("connections_by_class", "Open connections, by what their first bytes have shown.", "class")
	engineDesc      = describe("engine_info", "The engine that the loops run on, and why it is not io_uring.", "engine", "fallback_reason")
	buildDesc       = describe("build_info", "The version that runs.", "version")
	busyDesc        = describe("loop_busy_ratio", "Share of the last ten seconds that the loop's thread ran.", "loop")
	loopOpenDesc    = describe("loop_connections", "Open connections of the loop.", "loop")
	loopAcceptDesc  = describe("loop_connections_accepted_total", "Connections that the loop has accepted.", "loop")
	drainingDesc    = describe("draining", "1 while no new connections are taken.")
	metricDescs     = func() (descs [len(families)]*prometheus.Desc) {
		for i, m := range families {
			if m.label == "" {
				descs[i] = describe(m.name, m.help)
			} else {
				descs[i] = describe(m.name, m.help, m.label)
			}
		}
		return descs
	}()
)

// collector makes the metrics of a Server when it is scraped.
type collector struct{ server *Server }

// Describe says nothing: the families depend on no state, and Collect is checked by the registry.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect takes one view of the proxy, so that the metrics of a scrape agree with each other.
func (c collector) Collect(out chan<- prometheus.Metric) {
	s := c.server
	s.mu.Lock()
	defer s.mu.Unlock()
	s.source.View(&s.view)
	total, info := &s.view.Total, s.source.Info()
	send := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, kind, v, labels...)
	}
	for i, m := range families {
		for _, x := range m.series {
			if m.label == "" {
				send(metricDescs[i], m.kind, float64(total.Local[x.counter]))
			} else {
				send(metricDescs[i], m.kind, float64(total.Local[x.counter]), x.label)
			}
		}
	}
	open := connectionsOf(total, s.options.MaxConn)
	for state, n := range open.ByState {
		send(connectionsDesc, prometheus.GaugeValue, float64(n), state)
	}
	for class, n := range open.ByClass {
		send(classesDesc, prometheus.GaugeValue, float64(n), class)
	}
	send(engineDesc, prometheus.GaugeValue, 1, info.Engine, info.Fallback)
	send(buildDesc, prometheus.GaugeValue, 1, s.options.Version)
	send(drainingDesc, prometheus.GaugeValue, map[bool]float64{true: 1}[s.source.Draining()])
	for _, loop := range s.sampler.loops(s.view.Loops) {
		name := strconv.Itoa(loop.Index)
		send(busyDesc, prometheus.GaugeValue, loop.Busy10, name)
		send(loopOpenDesc, prometheus.GaugeValue, float64(loop.Connections), name)
		send(loopAcceptDesc, prometheus.CounterValue, float64(loop.Accepted), name)
	}
	if s.source.Tracking() {
		out <- latencyMetric(&s.view.Latency)
	}
}

func latencyMetric(d *stats.Distribution) prometheus.Metric {
	buckets := map[float64]uint64{}
	for _, bound := range latencyBounds {
		buckets[bound] = d.CountUpTo(int64(bound * float64(time.Second)))
	}
	return prometheus.MustNewConstHistogram(latencyDesc, d.Count, time.Duration(d.Sum).Seconds(), buckets)
}

// registry has everything that /metrics shows.
func (s *Server) registry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collector{s},
		collectors.NewBuildInfoCollector(),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return r
}

func (s *Server) metrics() http.Handler {
	return promhttp.HandlerFor(s.registry(), promhttp.HandlerOpts{MaxRequestsInFlight: 2, DisableCompression: true})
}
