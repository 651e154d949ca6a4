package floor

import (
	"testing"
	"time"
)

func TestMeasure(t *testing.T) {
	took, err := Measure(16, time.Millisecond)
	if err != nil || took <= 0 || took > time.Second {
		t.Fatal(took, err)
	}
}
