package main

import (
	"os"

	"fooproxy/proxy"
)

// Environment variables by which tests and benchmarks bend the program; no settings of its users.
const (
	testRing   = "FOOTEST_RING"   // see proxy.Config.RingTest
	testBypass = "FOOTEST_BYPASS" // not empty: forward without checking, to measure what checking costs
)

// live makes a *proxy.Proxy a service.
type live struct{ *proxy.Proxy }

func newService(cfg proxy.Config) (service, error) {
	cfg.RingTest = os.Getenv(testRing)
	cfg.BypassChecks = os.Getenv(testBypass) != ""
	p, err := proxy.New(cfg)
	if err != nil {
		return nil, err
	}
	return live{p}, nil
}

func (l live) AppendStats(dst []byte) []byte {
	snap := l.Snapshot()
	dst = snap.AppendText(dst)
	if l.Tracking() {
		dst = l.Latency().AppendText(dst)
	}
	return dst
}
