//go:build race

package proxy

// raceDetector says that the test runs with it: then x/sys/unix hands its buffers to the detector, which moves them to the heap.
const raceDetector = true
