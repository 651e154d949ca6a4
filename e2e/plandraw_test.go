package e2e

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// newScript makes a script of a seed.
func newScript(seed uint64) *script {
	r := rand.New(rand.NewPCG(seed, 0x706c616e))
	s := &script{Seed: seed}
	s.Flags = slices.Clone(pick(r, [][]string{
		nil, nil,
		{"--max-buffer=8192"},
		{"--loops=1"},
		{"--accept=single"},
		{"--cork"},
		{"--log=/dev/null"},
		{flagLog, "--log-overflow=block"},
		{flagLog, "--log-overflow=block", "--loops=1"},
		{"--tunnel"},
		{"--tunnel", "--loops=1"},
		{"--zerocopy=on"},
		{"--zerocopy=on", "--max-buffer=65536"},
	}))
	if r.IntN(4) == 0 {
		s.Flags = append(s.Flags, flagTunnel)
	}
	if r.IntN(3) == 0 {
		s.Flags = append(s.Flags, flagForward)
	}
	sizes := []int{0, 20, 100, 3000, 70_000, 1 << 20, 4 << 20}
	if r.IntN(2) == 0 {
		s.Flags = append(s.Flags, flagSplice)
		sizes = append(sizes, sizes[4:]...)
	}
	budget := 16 << 20 // bytes in all
	for range 1 + r.IntN(24) {
		c := newScriptConn(r, sizes, &budget)
		s.breaks(r, &c)
		s.Conns = append(s.Conns, c)
	}
	s.drawFaults(r)
	s.drawTroubles(r)
	if most := s.mostPending(); most > 0 && r.IntN(4) == 0 {
		s.Flags = append(s.Flags, fmt.Sprint(flagMaxPending, most+r.IntN(30)))
	}
	return s
}

// mostPending is the smallest limit on outstanding requests that keeps no client of the script waiting for ever: its servers do not
// answer requests, they say what they have to say. It is 0 when there is none, since the server of a late client may say nothing.
func (s *script) mostPending() (most int) {
	for i := range s.Conns {
		c := &s.Conns[i]
		if c.At > 0 {
			return 0
		}
		most = max(most, 1, 1+len(c.Sizes[0])-len(c.Sizes[1]))
	}
	return most
}

func newScriptConn(r *rand.Rand, sizes []int, budget *int) (c scriptConn) {
	most := pick(r, sizes)
	for side := range c.Sizes {
		for range 1 + r.IntN(1+min(300, 4<<20/(most+1))) {
			size := r.IntN(most + 1)
			if *budget -= size; *budget < 0 {
				break
			}
			c.Sizes[side] = append(c.Sizes[side], size)
		}
		c.Chunk[side] = pick(r, []int{1 + r.IntN(300), 1 + r.IntN(5000), 1 << 16, 1 << 20})
		c.Rcvbuf[side] = pick(r, []int{0, 0, 1 << 16})
		c.Sndbuf[side] = pick(r, []int{0, 0, 4096, 1 << 16})
		if r.IntN(4) == 0 {
			c.Pause[side] = r.IntN(3000)
			c.Chunk[side] = max(c.Chunk[side], c.length(side)/50) // so that it takes no longer than 150 ms
		}
		if r.IntN(4) == 0 {
			c.Stall[side] = 1 + r.IntN(1+c.length(side^1))
		}
	}
	c.Chunk[0], c.Chunk[1] = max(c.Chunk[0], c.length(0)/5000), max(c.Chunk[1], c.length(1)/5000)
	if r.IntN(4) == 0 && c.length(1) < 200_000 { // so small a window makes MiBs take minutes
		c.Rcvbuf[0] = 4096
	}
	c.Tail = r.IntN(5) == 0
	c.End = pick(r, []string{
		endsClientFirst, endsClientFirst, endsServerFirst, endsBoth, endsClientRST, endsServerRST, endsClientDrop,
	})
	cutter := 0
	if c.End == endsServerRST {
		cutter = 1
	}
	if !c.survives() {
		c.Cut = r.IntN(c.length(cutter) + 1)
	}
	return c
}

// breaks has a connection break the grammar, or not speak Foo at all, now and then.
func (s *script) breaks(r *rand.Rand, c *scriptConn) {
	switch r.IntN(8) {
	case 0:
		c.Raw[0] = text(pick(r, arbitraryStarts))
		if slices.Contains(s.Flags, flagTunnel) && r.IntN(2) == 0 {
			c.Raw[1] = text(pick(r, []string{"220 ready\r\n", "\x16\x03\x03\x00\x7a\x02", "HTTP/1.1 200 OK\r\n\r\n", "\n"}))
		}
	case 1:
		side := r.IntN(2)
		if !c.survives() || len(c.Sizes[0]) == 0 {
			return // who was it, is not clear; or there is no first message by which the client has begun as Foo
		}
		row := pick(r, invalidFor("cs"[side]))
		c.Bad = &scriptBad{Side: side, After: r.IntN(len(c.Sizes[side]) + 1), Line: text(row.line), Off: row.off}
		if side == 0 {
			c.Bad.After = max(1, c.Bad.After)
		}
		if row.want == "utf-8" && r.IntN(2) == 0 {
			c.Bad.Pad = 1 + r.IntN(700_000)
			c.Chunk[side] = max(c.Chunk[side], c.Bad.Pad/50)
		}
	}
}

func (s *script) drawFaults(r *rand.Rand) {
	for range r.IntN(8) {
		f := scriptFault{AfterMs: r.IntN(150), Kind: pick(r, []string{
			faultUSR1, faultHUP, faultStop, faultAborts, faultArbitrary, faultKill,
		})}
		if f.Kind == faultKill {
			f.Conn = r.IntN(len(s.Conns))
			s.Conns[f.Conn].End = endsKilled
		}
		s.Faults = append(s.Faults, f)
	}
}

// drawTroubles draws what goes on for a while, and connections that begin meanwhile or soon after.
func (s *script) drawTroubles(r *rand.Rand) {
	kinds := []string{"", "", faultRefuse, faultDeath, faultDescriptors, faultLoss}
	var troubles []scriptFault
	for range 2 {
		f := scriptFault{Kind: pick(r, kinds), AfterMs: r.IntN(100), ForMs: 20 + r.IntN(180)}
		switch f.Kind {
		case "":
			continue
		case faultDescriptors:
			f.Spare = r.IntN(10) - 5
		case faultLoss:
			f.OneIn, f.Side = pick(r, []int{1, 2, 5, 20}), r.IntN(2)
			s.Flags = append(s.Flags, flagKeepAlive)
		case faultDeath:
			for i := range s.Conns {
				if c := &s.Conns[i]; c.survives() && c.Bad == nil && r.IntN(3) == 0 {
					c.End = endsDied
				}
			}
		}
		troubles = append(troubles, f)
	}
	s.Faults = append(s.Faults, troubles...)
	for i := range s.Conns {
		if len(troubles) > 0 && r.IntN(2) == 0 {
			f := pick(r, troubles)
			s.Conns[i].At = 1 + f.AfterMs + r.IntN(f.ForMs+60)
		} else if r.IntN(20) == 0 {
			s.Conns[i].At = 1 + r.IntN(300)
		}
	}
}
