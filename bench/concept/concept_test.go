package concept

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
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
	var b bytes.Buffer
	if err := Splice(&b, time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(b.String(), "\n"); lines != 14 {
		t.Fatal(b.String())
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
