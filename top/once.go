package top

import (
	"fmt"
	"maps"
	"slices"

	"fooproxy/admin"
)

// AppendOnce appends all figures, a name and a value a line. Those that SIGUSR1 prints have the same names, and the same eight
// come first.
func AppendOnce(b []byte, s *admin.Stats) []byte {
	line := func(name string, value any) { b = fmt.Appendf(b, "%s %v\n", name, value) }
	line("msg_total", s.MsgTotal)
	line("msg_req", s.MsgReq)
	line("msg_ack", s.MsgAck)
	line("msg_nak", s.MsgNak)
	line("request_rate_1s", s.RequestRate1)
	line("request_rate_10s", s.RequestRate10)
	line("response_rate_1s", s.ResponseRate1)
	line("response_rate_10s", s.ResponseRate10)
	line("engine", s.Engine)
	line("uptime_s", fmt.Sprintf("%.3f", s.Uptime))
	line("draining", s.Draining)
	line("connections", s.Connections.Open)
	line("maxconn", s.Connections.Max)
	for _, name := range slices.Sorted(maps.Keys(s.Connections.ByState)) {
		line("connections_"+name, s.Connections.ByState[name])
	}
	for _, name := range slices.Sorted(maps.Keys(s.Counters)) {
		if name != "connections_"+"closing" && name != "connections_"+"connecting" {
			line(name, s.Counters[name])
		}
	}
	if l := s.Latency; l != nil {
		for _, window := range []struct {
			suffix string
			q      *admin.Quantiles
		}{{"", &l.Total}, {"_1s", &l.Last1}, {"_10s", &l.Last10}} {
			line("latency_count"+window.suffix, window.q.Count)
			for _, v := range quantiles(window.q) {
				line("latency_"+v.name+"_us"+window.suffix, fmt.Sprintf("%.3f", v.us))
			}
		}
	}
	for _, l := range s.Loops {
		prefix := fmt.Sprintf("loop_%d_", l.Index)
		line(prefix+"busy_1s", fmt.Sprintf("%.3f", l.Busy1))
		line(prefix+"busy_10s", fmt.Sprintf("%.3f", l.Busy10))
		line(prefix+"connections", l.Connections)
		line(prefix+"msg_total", l.MsgTotal)
	}
	return b
}

type quantile struct {
	name string
	us   float64
}

func quantiles(q *admin.Quantiles) []quantile {
	return []quantile{{"mean", q.Mean}, {"p50", q.P50}, {"p90", q.P90}, {"p99", q.P99}, {"p999", q.P999}, {"max", q.Max}}
}
