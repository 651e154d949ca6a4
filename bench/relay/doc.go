// Package relay holds two plain relays as base lines for the comparison. Neither looks at what it forwards.
//
//	goroutine   two goroutines and two io.Copy per connection: what one would write first in Go
//	poll        one thread, level-triggered poll(2) over all descriptors: what one would have written in 1990
//
// They are honest base lines, not straw men: both set TCP_NODELAY, relay half-closes, and keep what a slow peer does not
// take without reading more.
package relay
