package proxy

import "fooproxy/stats"

// cause says why a session ended: the first thing that happened to it. Every cause has a counter of its own.
type cause uint8

const (
	causeNone cause = iota
	causeClientFIN
	causeServerFIN
	causeClientRST
	causeServerRST
	causeViolationRequest
	causeViolationResponse
	causeArbitrary
	causeRefused
	causeUnreachable
	causeConnectTimeout
	causeNoPorts
	causeConnectError
	causeIdle
	causeLineTimeout
	causeHalfCloseTimeout
	causeStopped
	causeError
	causeCount
)

// causeNames are the values of end= in the log.
var causeNames = [causeCount]string{
	"-", "client-fin", "server-fin", "client-rst", "server-rst", "violation-request", "violation-response", "arbitrary",
	"refused", "unreachable", "connect-timeout", "no-ports", "connect-error", "idle", "line-timeout", "half-close-timeout",
	"stopped", "error",
}

func (c cause) String() string { return causeNames[c] }

// counter is where the cause is counted; causes and counters stand in the same order.
func (c cause) counter() stats.Counter { return stats.EndClientFIN + stats.Counter(c-causeClientFIN) }

// Both arrays are one entry long only when the first and the last cause meet their counters.
var (
	_ [1]struct{} = [stats.EndError - stats.EndClientFIN - stats.Counter(causeError-causeClientFIN) + 1]struct{}{}
)
