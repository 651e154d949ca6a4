package admin

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"golang.org/x/sys/unix"
)

// Whoever answers yields to the loops, and nobody else's thread does.
func TestAnswersYield(t *testing.T) {
	// The system call returns 20 minus the nice value.
	nice := func() int {
		n, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
		if err != nil {
			t.Error(err)
		}
		return 20 - n
	}
	before := nice()
	server := httptest.NewServer(yielding(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, nice()) })))
	defer server.Close()
	for range 3 {
		r, err := http.Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		var got int
		if _, err := fmt.Fscan(r.Body, &got); err != nil || got != niceness {
			t.Errorf("an answer came at nice %d, want %d (%v)", got, niceness, err)
		}
		_ = r.Body.Close()
	}
	if after := nice(); after != before {
		t.Errorf("nice %d here, before %d", after, before)
	}
	http.DefaultClient.CloseIdleConnections()
}
