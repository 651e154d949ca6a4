package concept

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"fooproxy/bench/sys"
)

// What the figures show must be so on every machine; the times may be anything.
func TestTriggerReportsAgainOnlyWhenLevel(t *testing.T) {
	for name, want := range map[string]struct {
		trigger      uint32
		events, left int
	}{
		"level": {unix.EPOLLIN, 16, 0},
		"edge":  {unix.EPOLLIN | unix.EPOLLET, 1, 60 << 10},
	} {
		events, left, err := partialReads(want.trigger)
		if err != nil || events != want.events || left != want.left {
			t.Errorf("%s: %d events, %d bytes left, %v", name, events, left, err)
		}
	}
}

func TestTrigger(t *testing.T) {
	var b bytes.Buffer
	if err := Trigger(&b, time.Millisecond); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"edge, read until EAGAIN                       3.0", "level  16 events", "edge  1 events, 61440 bytes"} {
		if !strings.Contains(strings.Join(strings.Fields(b.String()), " "), strings.Join(strings.Fields(want), " ")) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
}

func TestSpliceMovesEverything(t *testing.T) {
	if err := sys.LockThread(-1); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := Splice(&b, time.Millisecond, ""); err != nil {
		t.Fatal(err)
	}
	paths, lines := 3, 3*11
	if os.Getuid() != 0 {
		paths, lines = 2, 1+2*11
	}
	if got := strings.Count(b.String(), "\n"); got != lines {
		t.Fatalf("%d lines instead of %d:\n%s", got, lines, b.String())
	}
	// On which docs/zerocopy.md rests.
	if n := strings.Count(b.String(), fmt.Sprintf("%d of %[1]d bytes", alteredSize)); n != paths {
		t.Fatalf("spliced bytes can be changed after they were seen on %d of %d paths:\n%s", n, paths, b.String())
	}
}

// Nagle's algorithm holds small writes back, TCP_NODELAY lets each leave, TCP_CORK makes one segment of a batch.
func TestCorkSegments(t *testing.T) {
	const batches = 5
	segments := map[string]float64{}
	for _, way := range []corkWay{{"nagle", 0, false}, {"nodelay", 1, false}, {"cork", 1, true}} {
		n, took, err := measureCork(&way, batches)
		if err != nil || took <= 0 {
			t.Fatal(way.name, took, err)
		}
		segments[way.name] = n
	}
	if segments["nodelay"] != 8 || segments["cork"] != 1 || segments["nagle"] >= 8 {
		t.Fatal(segments)
	}
	var b bytes.Buffer
	if err := Cork(&b, 1); err != nil || !strings.Contains(b.String(), "TCP_CORK") {
		t.Fatal(err, b.String())
	}
}
