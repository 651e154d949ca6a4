package proxy

import (
	"bytes"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// A receive from a unix socket stops behind what descriptors came with. What is behind that arrives all the same, be it copied, looked at
// or spliced, and nobody keeps the descriptors.
func TestLoopReadsPastPassedDescriptors(t *testing.T) {
	kinds := map[string]func(*Config){
		"copied":        nil,
		"long":          func(cfg *Config) { cfg.Splice, cfg.MaxPipes = SpliceOn, 4 },
		"tunnel":        func(cfg *Config) { cfg.Tunnel, cfg.MaxPipes = true, 4 },
		"copied tunnel": func(cfg *Config) { cfg.Tunnel = true },
	}
	eachEngine(t, func(t *testing.T, engine string) {
		for name, change := range kinds {
			t.Run(name, func(t *testing.T) {
				r := newLoopRig(t, engine, func(cfg *Config) {
					cfg.Listen = "unix:" + t.TempDir() + "/proxy"
					if change != nil {
						change(cfg)
					}
				})
				p, buf := r.open(), make([]byte, 8<<20)
				r.move(p, client, longLines("REQ", 8<<20, 1<<20), buf)
				for i := range 5 {
					var want []byte
					for part := range 3 {
						line := fmt.Appendf(nil, "REQ %d %d\n", i, part)
						want = append(want, line...)
						if err := unix.Sendmsg(int(p[client]), line, unix.UnixRights(0), nil, 0); err != nil {
							t.Fatal(err)
						}
					}
					last := []byte("REQ 7\n")
					if got, _ := r.pump(p, last, len(want)+len(last)); !bytes.Equal(got, append(want, last...)) {
						t.Fatalf("%q arrives", got)
					}
				}
			})
		}
	})
}
