package stats

import "strconv"

// AppendText appends the snapshot as lines of a name, a blank and a value. The first eight are, in this order: msg_total,
// msg_req, msg_ack, msg_nak, request_rate_1s, request_rate_10s, response_rate_1s, response_rate_10s. Then follow bad,
// unmatched, untracked, connections (open now), connections_total and the other counters by their names.
func (s Snapshot) AppendText(dst []byte) []byte {
	dst = appendLine(dst, "msg_total", s.Total())
	for _, c := range [...]Counter{Req, Ack, Nak} {
		dst = appendLine(dst, c.String(), s.Local[c])
	}
	dst = appendRate(dst, "request_rate_1s", s.RequestRate1)
	dst = appendRate(dst, "request_rate_10s", s.RequestRate10)
	dst = appendRate(dst, "response_rate_1s", s.ResponseRate1)
	dst = appendRate(dst, "response_rate_10s", s.ResponseRate10)
	for c := Nak + 1; c < NumCounters; c++ {
		switch c {
		case Accepted:
			dst = appendLine(dst, "connections", s.Open())
			dst = appendLine(dst, c.String(), s.Local[c])
		case Ended: // connections_total less connections says it
		default:
			dst = appendLine(dst, c.String(), s.Local[c])
		}
	}
	return dst
}

// Quantiles are those that are printed of a Distribution, with the names of their lines.
var Quantiles = [...]struct {
	Share float64
	Name  string
}{{0.5, "p50"}, {0.9, "p90"}, {0.99, "p99"}, {0.999, "p999"}}

// AppendText appends the distribution as lines like those of Snapshot.AppendText: latency_count, then latency_mean_us, a line
// for each of Quantiles such as latency_p50_us, and latency_max_us, in µs.
func (d *Distribution) AppendText(dst []byte) []byte {
	dst = appendLine(dst, "latency_count", d.Count)
	dst = appendMicros(dst, "mean", d.Mean())
	for _, q := range Quantiles {
		dst = appendMicros(dst, q.Name, float64(d.Quantile(q.Share)))
	}
	return appendMicros(dst, "max", float64(d.Max))
}

func appendMicros(dst []byte, name string, ns float64) []byte {
	dst = append(append(append(dst, "latency_"...), name...), "_us "...)
	return append(strconv.AppendFloat(dst, ns/1000, 'f', 3, 64), '\n')
}

func appendLine(dst []byte, name string, v uint64) []byte {
	dst = append(append(dst, name...), ' ')
	return append(strconv.AppendUint(dst, v, 10), '\n')
}

// appendRate prints the fewest digits that say it all: none after the point for 1 s, at most one for 10 s.
func appendRate(dst []byte, name string, v float64) []byte {
	dst = append(append(dst, name...), ' ')
	return append(strconv.AppendFloat(dst, v, 'f', -1, 64), '\n')
}
