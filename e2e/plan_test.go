package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
)

// A script is what happens to a few connections and, meanwhile, to the proxy between them. It is made from a seed and kept in
// a file when it has failed: testdata/plans holds those that have, and some of each kind.
type script struct {
	Seed   uint64        `json:"seed"`
	Flags  []string      `json:"flags,omitempty"`
	Conns  []scriptConn  `json:"conns"`
	Faults []scriptFault `json:"faults,omitempty"`

	spliced atomic.Int64 // bytes that went on within the kernel, on all subjects
}

// Flags that make a difference to what is to be seen.
const (
	flagLog     = "--log=FILE" // a file of the test, which is judged
	flagForward = "--on-violation=forward"
	flagTunnel  = "--arbitrary=tunnel"
	flagSplice  = "--splice=on"

	flagMaxPending = "--max-pending=" // and how many

	flagKeepAlive = "--keepalive=1s" // finds out what an RST that was lost would have told
)

// scriptConn is one connection. Pairs are of the client and the server.
type scriptConn struct {
	At     int        `json:"at_ms,omitempty"`  // when its client comes; 0 = before the faults
	Sizes  [2][]int   `json:"sizes"`            // Data bytes of each message
	Raw    [2]text    `json:"raw,omitzero"`     // what comes before the messages, if that is not Foo
	Bad    *scriptBad `json:"bad,omitempty"`    // a line among the messages that is none
	Chunk  [2]int     `json:"chunk"`            // bytes per write
	Pause  [2]int     `json:"pause,omitempty"`  // µs between writes
	Rcvbuf [2]int     `json:"rcvbuf,omitempty"` // SO_RCVBUF, 0 = the kernel's choice
	Sndbuf [2]int     `json:"sndbuf,omitempty"`
	Stall  [2]int     `json:"stall,omitempty"` // does not read on after so many bytes until the faults are over; 0 = reads
	Cut    int        `json:"cut,omitempty"`   // bytes that the one who resets has sent by then
	Tail   bool       `json:"tail,omitempty"`  // the client's last line has no end
	End    string     `json:"end"`
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
	endsDied        = "died"        // its server, by the upstream's death
)

func (c *scriptConn) survives() bool {
	return c.End == endsClientFirst || c.End == endsServerFirst || c.End == endsBoth
}

// The same script on every engine and on the naive relay, for seeds of this run: FOO_PLANS of them, FOO_SEED the first. After
// the faults every connection that nobody has cut finishes, with every byte, and soon. Losing packets takes time, and is left out
// unless the run is thorough or FOO_PLANS is set.
func TestRandomPlans(t *testing.T) {
	first, n, all := rand.Uint64()>>1, 6, thorough
	if thorough {
		n = 60
	}
	if s, err := strconv.ParseUint(os.Getenv("FOO_SEED"), 10, 64); err == nil {
		first = s
	}
	if m, err := strconv.Atoi(os.Getenv("FOO_PLANS")); err == nil {
		n, all = m, true
	}
	t.Logf("FOO_SEED=%d FOO_PLANS=%d", first, n)
	might, did := 0, 0 // scripts that may splice, and have
	for i := range uint64(n) {
		s := newScript(first + i)
		t.Run(fmt.Sprint(s.Seed), func(t *testing.T) {
			t.Cleanup(func() {
				if t.Failed() {
					s.save(t)
				}
			})
			if !all {
				s.Faults = slices.DeleteFunc(s.Faults, func(f scriptFault) bool { return f.Kind == faultLoss })
			}
			s.perform(t)
		})
		if t.Failed() {
			return
		}
		if slices.Contains(s.Flags, flagSplice) {
			might++
		}
		if s.spliced.Load() > 0 {
			did++
		}
	}
	t.Logf("long Data was spliced in %d of %d scripts that may", did, might)
	if might >= 20 && did < might/3 && !bent() {
		t.Errorf("long Data was spliced in only %d of %d scripts that may", did, might)
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
			t.Parallel()
			var s script
			ok(t, json.Unmarshal([]byte(readFile(t, file)), &s))
			t.Cleanup(func() {
				if slices.Contains(s.Flags, flagSplice) && s.spliced.Load() == 0 && !bent() {
					t.Error("no long Data was spliced")
				}
			})
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

// What has been drawn is what is read back from its file.
func TestPlansAreKeptWhole(t *testing.T) {
	for seed := range uint64(300) {
		drawn, again := newScript(seed), &script{}
		kept, err := json.Marshal(drawn)
		ok(t, err)
		ok(t, json.Unmarshal(kept, again))
		if twice, err := json.Marshal(newScript(seed)); err != nil || string(twice) != string(kept) || !reflect.DeepEqual(drawn, again) {
			t.Fatalf("seed %d: drawn %+v, read back %+v (%v)", seed, drawn, again, err)
		}
	}
}
