package main

import (
	"os"
	"strconv"

	"fooproxy/proxy"
	"fooproxy/stats"
)

// Environment variables by which tests and benchmarks bend the program; no settings of its users.
const (
	testRing       = "FOOTEST_RING"       // see proxy.Config.RingTest
	testGeneration = "FOOTEST_GENERATION" // see proxy.Config.FirstGeneration
	testBypass     = "FOOTEST_BYPASS"     // not empty: forward without checking, to measure what checking costs
)

// live makes a *proxy.Proxy a service.
type live struct {
	*proxy.Proxy
	latency stats.Distribution // AppendStats's own: 220 KB that are not made anew for each answer
}

func newService(cfg proxy.Config) (service, error) {
	cfg.RingTest = os.Getenv(testRing)
	first, _ := strconv.ParseUint(os.Getenv(testGeneration), 10, 32)
	cfg.FirstGeneration = uint32(first)
	cfg.BypassChecks = os.Getenv(testBypass) != ""
	p, err := proxy.New(cfg)
	if err != nil {
		return nil, err
	}
	return &live{Proxy: p}, nil
}

func (l *live) AppendStats(dst []byte) []byte {
	snap := l.Snapshot()
	dst = snap.AppendText(dst)
	if l.Tracking() {
		l.Latency(&l.latency)
		dst = l.latency.AppendText(dst)
	}
	return dst
}
