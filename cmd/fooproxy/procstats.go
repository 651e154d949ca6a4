package main

import (
	"fmt"
	"runtime/metrics"
	"time"

	"fooproxy/proxy"
)

// processMetrics are the Go runtime's figures that USR1 prints after the proxy's own: reading them stops nothing, unlike
// runtime.ReadMemStats.
var processMetrics = [...]struct{ line, metric string }{
	{"goroutines", "/sched/goroutines:goroutines"},
	{"heap_bytes", "/memory/classes/heap/objects:bytes"},
	{"heap_allocs", "/gc/heap/allocs:objects"},
	{"gc_cycles", "/gc/cycles/total:gc-cycles"},
}

// appendProcess appends the lines of USR1 that tell about the process.
func appendProcess(dst []byte, in proxy.Info, maxconn int) []byte {
	dst = fmt.Appendf(dst, "engine %s\nloops %d\nmaxconn %d\nuptime_seconds %.3f\n",
		in.Engine, in.Loops, maxconn, time.Since(in.Start).Seconds())
	samples := make([]metrics.Sample, len(processMetrics))
	for i, m := range processMetrics {
		samples[i].Name = m.metric
	}
	metrics.Read(samples)
	for i, m := range processMetrics {
		if samples[i].Value.Kind() == metrics.KindUint64 {
			dst = fmt.Appendf(dst, "%s %d\n", m.line, samples[i].Value.Uint64())
		}
	}
	return dst
}
