package e2e

import (
	"errors"
	"sync"
	"testing"
	"time"
)

// ok ends the test on an error.
func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// holds reports whether cond came true within the suite's limit.
func holds(cond func() bool) bool {
	for end := time.Now().Add(limit); ; time.Sleep(time.Millisecond) {
		if cond() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

// eventually ends the test when cond does not come true.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	if !holds(cond) {
		t.Fatalf("after %v still not: %s", limit, what)
	}
}

// steady waits until value has not changed over 25 looks, 4 ms apart: whatever drives it is stuck or has ended. It returns
// the value.
func steady(t testing.TB, what string, value func() int64) int64 {
	t.Helper()
	last, same := value(), 0
	eventually(t, what+" stands still", func() bool {
		time.Sleep(3 * time.Millisecond)
		v := value()
		if v != last {
			last, same = v, 0
		}
		same++
		return same > 25
	})
	return last
}

// together runs all fs at once and returns what went wrong.
func together(fs ...func() error) error {
	errs := make([]error, len(fs))
	var wg sync.WaitGroup
	for i, f := range fs {
		wg.Go(func() { errs[i] = f() })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// forAll runs f(0) … f(n-1) at once and returns the first few errors.
func forAll(n int, f func(i int) error) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = f(i) })
	}
	wg.Wait()
	var some []error
	for _, err := range errs {
		if err != nil && len(some) < 5 {
			some = append(some, err)
		}
	}
	return errors.Join(some...)
}

// keepOn does f again and again, 50 times a second, as one who means no harm might: too seldom to be a load. end stops it and
// returns what went wrong.
func keepOn(f func(i int) error) (end func() error) {
	stop, result := make(chan struct{}), make(chan error, 1)
	go func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			if err := f(i); err != nil {
				result <- err
				return
			}
			select {
			case <-stop:
				result <- nil
				return
			case <-tick.C:
			}
		}
	}()
	return func() error {
		close(stop)
		return <-result
	}
}
