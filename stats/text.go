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

func appendLine(dst []byte, name string, v uint64) []byte {
	dst = append(append(dst, name...), ' ')
	return append(strconv.AppendUint(dst, v, 10), '\n')
}

// appendRate prints the fewest digits that say it all: none after the point for 1 s, at most one for 10 s.
func appendRate(dst []byte, name string, v float64) []byte {
	dst = append(append(dst, name...), ' ')
	return append(strconv.AppendFloat(dst, v, 'f', -1, 64), '\n')
}
