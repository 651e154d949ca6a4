package proxy

import (
	"strings"
	"syscall"
	"testing"

	"fooproxy/stats"
)

// The names that the log prints, the counters and the causes are three lists of the same things in the same order.
func TestEveryCauseHasItsCounterAndName(t *testing.T) {
	if causeNone.String() != "-" {
		t.Errorf("no cause is called %q", causeNone)
	}
	seen := map[stats.Counter]bool{}
	for why := causeClientFIN; why < causeCount; why++ {
		counter := why.counter()
		if counter.Reason() != why.String() || seen[counter] {
			t.Errorf("cause %q is counted as %v", why, counter)
		}
		seen[counter] = true
	}
	if len(seen) != int(stats.NumCounters-stats.EndFirst) {
		t.Errorf("%d causes for %d counters", len(seen), stats.NumCounters-stats.EndFirst)
	}
}

func TestTheFirstCauseStays(t *testing.T) {
	c := newTestCore(t, Config{}, 4, 0)
	s := c.begin(-1, testClient)
	c.end(s, causeServerRST)
	c.end(s, causeClientFIN)
	if s.cause != causeServerRST {
		t.Errorf("cause is %v", s.cause)
	}
}

func TestConnectCauses(t *testing.T) {
	want := map[cause][]syscall.Errno{
		causeRefused:        {syscall.ECONNREFUSED, syscall.ENOENT},
		causeConnectTimeout: {syscall.ETIMEDOUT},
		causeUnreachable:    {syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.ENETDOWN},
		causeNoPorts:        {syscall.EADDRNOTAVAIL, syscall.EADDRINUSE},
		causeConnectError:   {syscall.EMFILE, syscall.EACCES, syscall.ECONNRESET},
	}
	for why, errnos := range want {
		for _, errno := range errnos {
			if got := connectCause(errno); got != why {
				t.Errorf("%v counts as %v, want %v", errno, got, why)
			}
		}
	}
}

func TestNamesOfClassesAndDirections(t *testing.T) {
	names := []string{classUnknown.String(), classFoo.String(), classArbitrary.String(), classTunnel.String()}
	if got := strings.Join(names, " "); got != "unknown foo arbitrary tunnel" {
		t.Errorf("classes are %q", got)
	}
	if client.direction() != "request" || server.direction() != "response" {
		t.Errorf("directions are %q and %q", client.direction(), server.direction())
	}
	for _, k := range []class{classFoo, classArbitrary, classTunnel} {
		counter := stats.ClassFoo + stats.Counter(k-classFoo)
		if counter.String() != "class_"+k.String() {
			t.Errorf("class %v is counted as %v", k, counter)
		}
	}
}
