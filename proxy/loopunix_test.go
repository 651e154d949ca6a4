package proxy

import (
	"bytes"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// carryRights is as before Linux 6.16, which could not refuse them.
func (r *loopRig) carryRights(p pair) {
	r.core.rights[client] = true
	s := r.only()
	for _, fd := range []int32{s.fd[client], p[client]} {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, soPassRights, 1) // ENOPROTOOPT: it is
	}
}

// Whoever passes descriptors is told that nobody takes them, where the kernel can; without them the same bytes go.
func TestLoopRefusesDescriptors(t *testing.T) {
	if !rightsRefused() {
		var uts unix.Utsname
		_ = unix.Uname(&uts)
		t.Fatalf("Linux %s cannot refuse descriptors; it can from 6.16", unix.ByteSliceToString(uts.Release[:]))
	}
	eachEngine(t, func(t *testing.T, engine string) {
		dir := t.TempDir()
		at, err := parseAddress("unix:" + dir + "/server")
		if err != nil {
			t.Fatal(err)
		}
		r := newLoopRig(t, engine, func(cfg *Config) { cfg.Listen, cfg.Forward = "unix:"+dir+"/proxy", at.String() })
		_ = unix.Close(r.upstream)
		if r.upstream, err = listen(at, r.core.cfg, shareNot); err != nil {
			t.Fatal(err)
		}
		p, buf := r.open(), make([]byte, 100)
		r.move(p, client, []byte("REQ 1\n"), buf)
		for d, line := range []string{"REQ 2\n", "ACK 1\n"} {
			if err := unix.Sendmsg(int(p[d]), []byte(line), unix.UnixRights(0), nil, 0); err != unix.EPERM {
				t.Errorf("the %s passes a descriptor: %v", name(side(d)), err)
			}
			r.move(p, side(d), []byte(line), buf)
		}
		if r.core.rights != [2]bool{} {
			t.Errorf("descriptors are expected: %v", r.core.rights)
		}
		r.endAll(p)
	})
}

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
				r.carryRights(p)
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
