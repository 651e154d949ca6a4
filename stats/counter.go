package stats

import "strings"

// Counter names one of the figures that a loop keeps. All are totals since the start and only grow, except the levels.
type Counter int

// The counters. BytesRequest and BytesResponse are Foo bytes accepted for forwarding; the tunnel's are counted apart, in
// from the client's side and out to it.
const (
	Req Counter = iota // messages forwarded, by type
	Ack
	Nak

	Bad // violations (policy close) and bad lines forwarded (policy forward); the next six are its parts
	BadType
	BadSpace
	BadSeq
	BadSeqEnd
	BadUTF8
	BadLine // longer than allowed

	Unmatched  // answers that match no outstanding request; this and the next three only when tracking
	Duplicate  // those of Unmatched that repeat one of the connection's latest matched answers
	Unanswered // requests without an answer when their connection ended
	Untracked  // messages whose Seq does not fit int64 or that found the tracking table full

	Accepted // connections; Accepted - Ended are open
	Ended

	ClassFoo // connections whose class is decided, by class
	ClassArbitrary
	ClassTunnel

	BytesRequest
	BytesResponse
	BytesTunnelIn
	BytesTunnelOut
	BytesSpliced // those of BytesRequest and BytesResponse that went on without being copied back into the kernel

	ReadPauses     // times a fast side was no longer read because its peer is slow
	PendingPauses  // times a client was no longer read because it has too many requests outstanding
	NoBuffer       // times a receive found no buffer
	ZeroCopySends  // sends without a copy
	ZeroCopyCopied // those of them that the kernel copied after all
	ZeroCopyDenied // times sending without a copy was given up: no memory to lock, or a socket that cannot
	NoPipe         // times data was copied for want of a pipe
	AcceptErrors   // failed accepts
	AcceptPauses   // times accepting was suspended
	RefusedConns   // clients refused because their address has too many connections; not among Accepted
	RefusedRate    // clients refused because their address connects too often; not among Accepted

	LogDropped // lines that the access log dropped

	Connecting // the first level: connections whose upstream is not connected yet
	Closing    // connections that have begun to end; Accepted - Ended - Connecting - Closing are in between
	OpenFoo    // connections that have not ended, by class as far as it is decided
	OpenArbitrary
	OpenTunnel
	Outstanding // requests waiting for their answers; only when tracking
	Buffered    // the last level: bytes held now, in memory and in pipes

	EndClientFIN // connections ended, by reason; their sum is Ended
	EndServerFIN
	EndClientRST
	EndServerRST
	EndViolationRequest
	EndViolationResponse
	EndArbitrary
	EndRefused
	EndUnreachable
	EndConnectTimeout
	EndNoPorts
	EndConnectError
	EndIdle
	EndLineTimeout
	EndHalfCloseTimeout
	EndStopped
	EndError

	NumCounters
)

// EndFirst is the first of the reasons for which a connection ends; the last is NumCounters - 1.
const EndFirst = EndClientFIN

// Level says whether c tells how much there is now, and may shrink, instead of how much there has been since the start.
func (c Counter) Level() bool { return c >= Connecting && c <= Buffered }

var counterNames = [NumCounters]string{
	Req: "msg_req", Ack: "msg_ack", Nak: "msg_nak",
	Bad: "bad", BadType: "bad_type", BadSpace: "bad_space", BadSeq: "bad_seq", BadSeqEnd: "bad_seq_end", BadUTF8: "bad_utf8",
	BadLine:   "bad_shorter_line",
	Unmatched: "unmatched", Duplicate: "duplicate", Unanswered: "unanswered", Untracked: "untracked",
	Accepted: "connections_total", Ended: "connections_ended",
	ClassFoo: "class_foo", ClassArbitrary: "class_arbitrary", ClassTunnel: "class_tunnel",
	BytesRequest: "bytes_request", BytesResponse: "bytes_response",
	BytesTunnelIn: "bytes_tunnel_in", BytesTunnelOut: "bytes_tunnel_out", BytesSpliced: "spliced_bytes",
	ReadPauses: "read_pauses", PendingPauses: "pending_pauses", NoBuffer: "no_buffer", NoPipe: "no_pipe",
	ZeroCopySends: "zerocopy_sends", ZeroCopyCopied: "zerocopy_copied", ZeroCopyDenied: "zerocopy_denied",
	AcceptErrors: "accept_errors", AcceptPauses: "accept_pauses",
	RefusedConns: "refused_conns_per_ip", RefusedRate: "refused_rate_per_ip",
	LogDropped: "log_dropped",
	Connecting: "connecting", Closing: "closing",
	OpenFoo: "open_foo", OpenArbitrary: "open_arbitrary", OpenTunnel: "open_tunnel",
	Outstanding: "outstanding", Buffered: "buffered_bytes",
	EndClientFIN: "end_client_fin", EndServerFIN: "end_server_fin",
	EndClientRST: "end_client_rst", EndServerRST: "end_server_rst",
	EndViolationRequest: "end_violation_request", EndViolationResponse: "end_violation_response",
	EndArbitrary: "end_arbitrary", EndRefused: "end_refused", EndUnreachable: "end_unreachable",
	EndConnectTimeout: "end_connect_timeout", EndNoPorts: "end_no_ports", EndConnectError: "end_connect_error",
	EndIdle: "end_idle", EndLineTimeout: "end_line_timeout", EndHalfCloseTimeout: "end_half_close_timeout",
	EndStopped: "end_stopped", EndError: "end_error",
}

var reasons = func() (r [NumCounters]string) {
	for c := EndFirst; c < NumCounters; c++ {
		r[c] = strings.ReplaceAll(strings.TrimPrefix(counterNames[c], "end_"), "_", "-")
	}
	return r
}()

// String returns the name under which AppendText prints c, such as "bad" or "end_client_fin".
func (c Counter) String() string {
	if c < 0 || c >= NumCounters {
		return "counter_unknown"
	}
	return counterNames[c]
}

// Reason returns an End counter's reason as the access log writes it, such as "client-fin"; "" for any other counter.
func (c Counter) Reason() string {
	if c < 0 || c >= NumCounters {
		return ""
	}
	return reasons[c]
}

// Local holds a loop's own running totals in plain memory, indexed by Counter.
type Local [NumCounters]uint64
