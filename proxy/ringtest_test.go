package proxy

import (
	"reflect"
	"testing"

	"fooproxy/ring"
	"fooproxy/ring/ringtest"
)

// What tests of the whole program ask for in Config.RingTest is what the engine gets: else they would show that a ring works which
// is as it always is.
func TestRingTestBendsTheSetup(t *testing.T) {
	usual, err := tryUring("", 1)
	if err != nil {
		t.Fatal(err)
	}
	for text, change := range map[string]func(*uringSetup){
		"without=accept-multishot":   func(s *uringSetup) { s.acceptMultishot = false },
		"without=recv-multishot":     func(s *uringSetup) { s.recvMultishot, s.recvBundle = false, false },
		"without=recv-bundle":        func(s *uringSetup) { s.recvBundle = false },
		"without=send-zc":            func(s *uringSetup) { s.sendZC = false },
		"without=registered-buffers": func(s *uringSetup) { s.sendZC = false },
		"without=submit-all":         func(s *uringSetup) { s.params.Without |= ring.SetupSubmitAll },
		"without=coop-taskrun":       func(s *uringSetup) { s.params.Without |= ring.SetupCoopTaskrun },
		"without=single-issuer":      func(s *uringSetup) { s.params.Without |= ring.SetupSingleIssuer | ring.SetupDeferTaskrun },
		"without=defer-taskrun":      func(s *uringSetup) { s.params.Without |= ring.SetupDeferTaskrun },
		"sq=4 cq=8 buffers=4":        func(s *uringSetup) { s.params.Entries, s.params.CQEntries, s.buffers = 4, 8, 4 },
		"faults=5":                   func(s *uringSetup) { s.faults = 5 },
	} {
		got, err := tryUring(text, 1)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		got.report, got.grace = usual.report, usual.grace // what was found out goes into the rest
		want := *usual
		change(&want)
		if want == *usual || *got != want {
			t.Errorf("%s makes the setup\n%+v, want\n%+v, usually\n%+v", text, *got, want, *usual)
		}
	}
	for _, text := range []string{"without=steam", "sq=many", "steam=1"} {
		if _, err := tryUring(text, 1); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

// missingFault names a kind of fault that has not happened yet, "" when each has.
func missingFault(f *ringtest.Faults) string {
	counts := reflect.ValueOf(f.Counts())
	for i := range counts.NumField() {
		if counts.Field(i).Uint() == 0 {
			return counts.Type().Field(i).Name
		}
	}
	return ""
}
