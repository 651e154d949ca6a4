package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// A script is what happens to a few connections and, meanwhile, to the proxy between them. It is made from a seed and kept in
// a file when it has failed: testdata/plans holds those that have, and some of each kind.
type script struct {
	Seed   uint64        `json:"seed"`
	Flags  []string      `json:"flags,omitempty"`
	Conns  []scriptConn  `json:"conns"`
	Faults []scriptFault `json:"faults,omitempty"`
}

// scriptConn is one connection. Pairs are of the client and the server.
type scriptConn struct {
	Sizes  [2][]int `json:"sizes"`            // Data bytes of each message
	Chunk  [2]int   `json:"chunk"`            // bytes per write
	Pause  [2]int   `json:"pause,omitempty"`  // µs between writes
	Rcvbuf [2]int   `json:"rcvbuf,omitempty"` // SO_RCVBUF, 0 = the kernel's choice
	Sndbuf [2]int   `json:"sndbuf,omitempty"`
	Stall  [2]int   `json:"stall,omitempty"` // does not read on after so many bytes until the faults are over; 0 = reads
	Cut    int      `json:"cut,omitempty"`   // bytes that the one who resets has sent by then
	Tail   bool     `json:"tail,omitempty"`  // the client's last line has no end
	End    string   `json:"end"`
}

// The kinds of end. After the first three everything has arrived everywhere; the others may cut either stream short.
const (
	endsClientFirst = "client"
	endsServerFirst = "server"
	endsBoth        = "both"
	endsClientRST   = "client reset"
	endsServerRST   = "server reset"
	endsClientDrop  = "client drop" // close(2) with whatever is unread
	endsKilled      = "killed"      // by the fault of that name
)

func (c *scriptConn) survives() bool {
	return c.End == endsClientFirst || c.End == endsServerFirst || c.End == endsBoth
}

// scriptFault is something that happens at a time.
type scriptFault struct {
	AfterMs int    `json:"after_ms"`
	Kind    string `json:"kind"`
	Conn    int    `json:"conn,omitempty"`
}

const (
	faultUSR1      = "usr1"      // fifty of them
	faultHUP       = "hup"       // five
	faultStop      = "stop"      // SIGSTOP, and SIGCONT after 20 ms
	faultAborts    = "aborts"    // ten clients that reset what they have just connected
	faultArbitrary = "arbitrary" // ten that do not speak Foo
	faultKill      = "kill"      // destroys the proxy's socket to a client from outside
)

// newScript makes a script of a seed.
func newScript(seed uint64) *script {
	r := rand.New(rand.NewPCG(seed, 0x706c616e))
	s := &script{Seed: seed}
	s.Flags = pick(r, [][]string{
		nil, nil,
		{"--max-buffer=8192"},
		{"--loops=1"},
		{"--accept=single"},
		{"--cork"},
		{"--log=/dev/null"},
		{"--tunnel"},
		{"--tunnel", "--loops=1"},
		{"--zerocopy=on"},
		{"--zerocopy=on", "--max-buffer=65536"},
	})
	budget := 16 << 20 // bytes in all
	for range 1 + r.IntN(24) {
		s.Conns = append(s.Conns, newScriptConn(r, &budget))
	}
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
	return s
}

func newScriptConn(r *rand.Rand, budget *int) (c scriptConn) {
	most := pick(r, []int{0, 20, 100, 3000, 70_000, 1 << 20, 4 << 20})
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

// length is about how many bytes a side sends.
func (c *scriptConn) length(side int) (n int) {
	for _, size := range c.Sizes[side] {
		n += size + 8
	}
	return n
}

// stream is all that a side of connection conn has to say.
func (c *scriptConn) stream(conn, side int) io.Reader {
	typ, sizes := []string{"REQ", "ACK"}[side], c.Sizes[side]
	l := &lines{n: len(sizes), line: func(dst []byte, i int) []byte { return appendMessage(dst, typ, conn, i, sizes[i]) }}
	if c.Tail && side == 0 {
		l.tail = "REQ 99 unfinished"
	}
	return l
}

// The same script on every engine and on the naive relay, for seeds of this run: FOO_PLANS of them, FOO_SEED the first. After
// the faults every connection that nobody has cut finishes, with every byte, and soon.
func TestRandomPlans(t *testing.T) {
	first, n := rand.Uint64()>>1, 6
	if thorough {
		n = 60
	}
	if s, err := strconv.ParseUint(os.Getenv("FOO_SEED"), 10, 64); err == nil {
		first = s
	}
	if m, err := strconv.Atoi(os.Getenv("FOO_PLANS")); err == nil {
		n = m
	}
	t.Logf("FOO_SEED=%d FOO_PLANS=%d", first, n)
	for i := range uint64(n) {
		s := newScript(first + i)
		t.Run(fmt.Sprint(s.Seed), func(t *testing.T) {
			s.perform(t)
			if t.Failed() {
				s.save(t)
			}
		})
		if t.Failed() {
			return
		}
	}
}

// Scripts that have failed once, and some that show each kind of end and fault.
func TestKeptPlans(t *testing.T) {
	files, err := filepath.Glob("testdata/plans/*.json")
	ok(t, err)
	if len(files) == 0 {
		t.Fatal("testdata/plans is empty")
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			var s script
			ok(t, json.Unmarshal([]byte(readFile(t, file)), &s))
			s.perform(t)
		})
	}
}

// save keeps a script that has failed.
func (s *script) save(t *testing.T) {
	text, err := json.MarshalIndent(s, "", " ")
	ok(t, err)
	path := filepath.Join("testdata", "plans", fmt.Sprintf("seed-%d.json", s.Seed))
	ok(t, os.WriteFile(path, append(text, '\n'), 0o644))
	t.Logf("kept in e2e/%s, which TestKeptPlans plays from now on", path)
}
