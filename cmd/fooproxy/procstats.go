package main

import (
	"runtime/metrics"
	"strconv"
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

// processFigures has room for the values of processMetrics.
type processFigures [len(processMetrics)]metrics.Sample

// append appends the lines of USR1 that tell about the process.
func (f *processFigures) append(dst []byte, in proxy.Info, maxconn int) []byte {
	dst = append(append(dst, "engine "...), in.Engine...)
	dst = strconv.AppendInt(append(dst, "\nloops "...), int64(in.Loops), 10)
	dst = strconv.AppendInt(append(dst, "\nmaxconn "...), int64(maxconn), 10)
	dst = strconv.AppendFloat(append(dst, "\nuptime_seconds "...), time.Since(in.Start).Seconds(), 'f', 3, 64)
	dst = append(dst, '\n')
	for i, m := range processMetrics {
		f[i].Name = m.metric
	}
	metrics.Read(f[:])
	for i, m := range processMetrics {
		if f[i].Value.Kind() == metrics.KindUint64 {
			dst = append(append(dst, m.line...), ' ')
			dst = append(strconv.AppendUint(dst, f[i].Value.Uint64(), 10), '\n')
		}
	}
	return dst
}
