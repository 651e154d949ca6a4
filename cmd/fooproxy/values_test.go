package main

import (
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseSize(t *testing.T) {
	for text, want := range map[string]uint64{
		"0": 0, "1": 1, "17B": 17, "64k": 64 << 10, "64K": 64 << 10, "64kB": 64 << 10, "64KiB": 64 << 10, "64kib": 64 << 10,
		"16M": 16 << 20, "1GiB": 1 << 30, "3T": 3 << 40, "18446744073709551615": math.MaxUint64, "16777215T": 16777215 << 40,
	} {
		if n, ok := parseSize(text); !ok || n != want {
			t.Errorf("%q: %d, %v, want %d", text, n, ok, want)
		}
	}
	for _, text := range []string{
		"", "k", "-1", "+1", "1.5k", "1 k", "1kk", "1ki", "1X", "1Bi", "0x10", "1e3", "16777216T", "18446744073709551616",
	} {
		if n, ok := parseSize(text); ok {
			t.Errorf("%q is taken as %d", text, n)
		}
	}
}

func TestFormattedValuesReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Uint64().Draw(t, "size") << rapid.SampledFrom([]int{0, 10, 20, 30, 40, 50}).Draw(t, "shift")
		if n, ok := parseSize(formatSize(size)); !ok || n != size {
			t.Fatalf("size %d is written %s and read %d", size, formatSize(size), n)
		}
		d := time.Duration(rapid.Int64Range(0, 1<<50).Draw(t, "ns"))
		d = d.Truncate(rapid.SampledFrom([]time.Duration{1, time.Millisecond, time.Minute, time.Hour}).Draw(t, "grain"))
		if back, err := time.ParseDuration(formatDuration(d)); err != nil || back != d {
			t.Fatalf("%v is written %s and read %v", d, formatDuration(d), back)
		}
	})
	for d, want := range map[time.Duration]string{
		0: "0", time.Second: "1s", 10 * time.Second: "10s", time.Minute: "1m", 10 * time.Minute: "10m", time.Hour: "1h",
		90 * time.Second: "1m30s", time.Hour + time.Second: "1h0m1s", 1500 * time.Millisecond: "1.5s",
	} {
		if got := formatDuration(d); got != want {
			t.Errorf("%v is written %s", d, got)
		}
	}
}

func TestParseAddr(t *testing.T) {
	for _, c := range []struct{ text, host, want string }{
		{"8000", "127.0.0.1", "127.0.0.1:8000"},
		{"8000", "", ":8000"},
		{":8000", "127.0.0.1", "127.0.0.1:8000"},
		{"08000", "", ":8000"},
		{"db:80", "127.0.0.1", "db:80"},
		{"[::1]:80", "", "[::1]:80"},
		{"[fe80::1%eth0]:80", "", "[fe80::1%eth0]:80"},
		{"unix:/run/foo.sock", "127.0.0.1", "unix:/run/foo.sock"},
		{"unix:/" + strings.Repeat("x", 106), "", "unix:/" + strings.Repeat("x", 106)},
	} {
		if got, err := parseAddr(c.text, c.host, false); err != nil || got != c.want {
			t.Errorf("%q: %q, %v, want %q", c.text, got, err, c.want)
		}
	}
	if got, err := parseAddr("127.0.0.1:0", "", true); err != nil || got != "127.0.0.1:0" {
		t.Errorf("port 0: %q, %v", got, err)
	}
	for text, why := range map[string]string{
		"":                                  "is not an address",
		"host":                              "is not an address",
		"host:":                             "no usable port",
		"host:http":                         "no usable port",
		"host:-1":                           "no usable port",
		"host:65536":                        "no usable port",
		"65536":                             "no usable port",
		"0":                                 "port 0",
		"host:0":                            "port 0",
		"::1":                               "write [::1]:8000",
		"::1:80":                            "write [::1:80]:8000",
		"a:b:c":                             "is not an address",
		"http://host:80":                    "is not an address",
		"a b:80":                            "host name with characters",
		"unix:":                             "not an absolute path",
		"unix:run":                          "not an absolute path",
		"unix:/a\x00b":                      "NUL",
		"unix:/" + strings.Repeat("x", 107): "longer than the 107 bytes",
	} {
		if got, err := parseAddr(text, "", false); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %q, %v, want an error with %q", text, got, err, why)
		}
	}
}

// Every setting refuses what it cannot be, and says what it can be.
func TestSettingsRefuse(t *testing.T) {
	for name, wrong := range map[string][]string{
		"port":            {"", "x", "-1", "65536", "8001 ", "127.0.0.1:80"},
		"engine":          {"", "Uring", "iouring"},
		"loops":           {"-1", "1025", "two"},
		"pin":             {"", "2", "maybe"},
		"accept":          {"", "both"},
		"backlog":         {"0", "-5", "2147483648"},
		"maxconn":         {"-1", "1048577", "1k"},
		"max-line":        {"-1", "5", "2T", "16 M"},
		"max-buffer":      {"0", "4095", "2G", ""},
		"arbitrary":       {"", "forward"},
		"on-violation":    {"", "tunnel"},
		"timeout-connect": {"", "5", "-1s", "1us", "soon"},
		"keepalive":       {"9h7m", "-1s"},
		"log":             {"a\x00b"},
		"log-format":      {"", "xml"},
		"log-overflow":    {"", "wait"},
		"admin":           {"x", "unix:x"},
		"track":           {"", "yes", "ON"},
	} {
		for _, text := range wrong {
			if err := newOptions().setting(name).value.check(text); err == nil {
				t.Errorf("%s takes %q", name, text)
			}
		}
	}
}

func TestZeroSwitchesOff(t *testing.T) {
	for _, name := range []string{"max-line", "maxconn", "loops", "timeout-idle", "timeout-line", "keepalive", "drain-timeout"} {
		if err := newOptions().setting(name).value.check("0"); err != nil {
			t.Errorf("%s: 0 %v", name, err)
		}
	}
}

// The text of every default is one that its own setting takes.
func TestDefaultsReadBack(t *testing.T) {
	for _, s := range newOptions().table {
		text := s.value.text()
		if text == "" {
			continue // off
		}
		if err := s.value.set(text); err != nil || s.value.text() != text {
			t.Errorf("%s: the default %q reads back as %q, %v", s.name, text, s.value.text(), err)
		}
	}
}
