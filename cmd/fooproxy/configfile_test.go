package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseConfig(t *testing.T) {
	text := "\ufeffport 1\r\n\n# comment\n  max-line =  16M  # comment\nlog=/a b#c\n\tcork\nloops==3\npidfile =\nlisten\t:1"
	want := []entry{
		{1, "port", "1", false},
		{4, "max-line", "16M", false},
		{5, "log", "/a b#c", false},
		{6, "cork", "", true},
		{7, "loops", "=3", false},
		{8, "pidfile", "", false},
		{9, "listen", ":1", false},
	}
	entries, faults := parseConfig([]byte(text))
	if diff := cmp.Diff(want, entries, cmp.AllowUnexported(entry{})); diff != "" || len(faults) != 0 {
		t.Errorf("faults %v\n%s", faults, diff)
	}
}

func TestAllFaultsOfAFileAtOnce(t *testing.T) {
	path := configWith(t, strings.Join([]string{
		"prot 3",
		"max-line = 3",
		"port 8001   # right",
		"port 3",
		"check true",
		"= 3",
		"\x01",
		"forward",
		"--loops 2",
		"p 4",
		"cork",
		"nodelay perhaps",
		"config x",
		"frobnicate 2",
		"\xff 2",
	}, "\n"))
	want := []string{
		`1: unknown key "prot"; did you mean port?`,
		`2: max-line "3": is out of range; give 6 to 1TiB`,
		`4: port: is set already in line 3; leave one of the two`,
		`5: check: belongs on the command line, not in a config file`,
		`6: begins with "=": write KEY VALUE or KEY = VALUE`,
		`7: holds bytes that are not text; is this a config file?`,
		`8: forward: a value is missing after it`,
		`9: unknown key "--loops"; did you mean loops?`,
		`10: unknown key "p"; write port`,
		`12: nodelay "perhaps": is neither true nor false; write true or false`,
		`13: config: belongs on the command line, not in a config file`,
		`14: unknown key "frobnicate"; keys are the long flags without dashes, see fooproxy --help`,
		`15: holds bytes that are not text; is this a config file?`,
	}
	for i := range want {
		want[i] = "fooproxy: " + path + ":" + want[i]
	}
	code, stdout, stderr := outcome(t, nil, "--config", path)
	got := strings.Split(strings.TrimSuffix(stderr, "\n"), "\n")
	if diff := cmp.Diff(want, got); diff != "" || code != exitUsage || stdout != "" {
		t.Errorf("exit %d, stdout %q\n%s", code, stdout, diff)
	}
}

// A value that a flag overrides is still checked: the file must be right in itself.
func TestOverriddenValueIsChecked(t *testing.T) {
	path := configWith(t, "loops many\n")
	if _, err := parseOptions([]string{"--loops", "1", "--config", path}); err == nil || err.Error() != path+`:1: loops "many": is not a number from 0 to 1024` {
		t.Error(err)
	}
}

func TestContradictionInAFileNamesItsLines(t *testing.T) {
	path := configWith(t, "port 1\nlisten :2\n")
	want := fmt.Sprintf("%s:1: port and %s:2: listen both say where to listen; leave one of them", path, path)
	if _, err := parseOptions([]string{"--config", path}); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestWhatIsNoConfigFile(t *testing.T) {
	huge := configWith(t, strings.Repeat("# nothing\n", configMax/10+1))
	if _, err := parseOptions([]string{"--config", huge}); err == nil || !strings.Contains(err.Error(), "larger than 1MiB") {
		t.Error(err)
	}
	noise := configWith(t, strings.Repeat("what is this\n", 1000))
	_, err := parseOptions([]string{"--config", noise})
	if err == nil || strings.Count(err.Error(), "\n") != faultsMax || !strings.HasSuffix(err.Error(), "and 950 more; is this a config file?") {
		t.Error(err)
	}
}

// What --check prints is a config file that says the same.
func TestCheckPrintsAConfigFile(t *testing.T) {
	args := []string{"--check", "--listen", "127.0.0.1:1", "-f", "2", "--max-line", "1234", "--cork", "--timeout-idle", "90s", "--log", "-"}
	code, first, stderr := outcome(t, nil, args...)
	if code != exitClean || stderr != "" {
		t.Fatalf("exit %d:\n%s", code, stderr)
	}
	for _, want := range []string{"max-line           = 1234 ", "timeout-idle       = 1m30s ", "cork               = true ", "log                = - "} {
		if !strings.Contains(first, "\n"+want) {
			t.Errorf("no line %q in:\n%s", want, first)
		}
	}
	code, second, stderr := outcome(t, nil, "--check", "--config", configWith(t, first))
	if code != exitClean || stderr != "" {
		t.Fatalf("exit %d:\n%s", code, stderr)
	}
	a, _ := parseConfig([]byte(first))
	b, _ := parseConfig([]byte(second))
	if diff := cmp.Diff(a, b, cmp.AllowUnexported(entry{})); diff != "" || len(a) == 0 {
		t.Error(diff)
	}
}

// FuzzConfig holds the parser to this: every line gives at most one entry or one fault, and entries written out again as
// "key = value" are the same entries.
func FuzzConfig(f *testing.F) {
	for _, seed := range []string{
		"", "\n", "port 8001", "port=8001\n", "port = 8001 # comment\n", "# only a comment", "cork\n", "log = /a b # c\r\n",
		"= 1\n", "==\n", "a = = b\n", "\ufeffport 1\n", "\xff\xfe", "a\x00b 1", "key\tvalue\t#\n", "a#b c#d #e\n", "x =\n", "\u00a0k v\n",
		"\v#", "\ufeff\ufeff", "\u00a0#", "\r#", "k =#", "k \r = v\r\r",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		entries, faults := parseConfig([]byte(text))
		lines := strings.Count(text, "\n") + 1
		used := make([]bool, lines+1)
		mark := func(line int) {
			if line < 1 || line > lines || used[line] {
				t.Fatalf("line %d of %d is out of place", line, lines)
			}
			used[line] = true
		}
		for _, fault := range faults {
			mark(fault.line)
		}
		var again strings.Builder
		for i, e := range entries {
			mark(e.line)
			if e.bare {
				fmt.Fprintf(&again, "%s\n", e.key)
			} else {
				fmt.Fprintf(&again, "%s = %s\n", e.key, e.value)
			}
			entries[i].line = i + 1
		}
		back, faults := parseConfig([]byte(again.String()))
		if diff := cmp.Diff(entries, back, cmp.AllowUnexported(entry{})); diff != "" || len(faults) > 0 {
			t.Fatalf("written out as\n%s\nfaults %v\n%s", again.String(), faults, diff)
		}
		o := newOptions()
		if good, more := o.checkEntries(entries); len(good)+len(more) != len(entries) {
			t.Fatalf("%d entries, %d right, %d wrong", len(entries), len(good), len(more))
		}
	})
}
