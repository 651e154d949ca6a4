package server

import (
	"errors"
	"math"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestWrongOptions(t *testing.T) {
	for field, o := range map[string][]Options{
		"Loops":     {{Loops: -1}, {Loops: LoopsMax + 1}},
		"CPUs":      {{CPUs: []int{-1}}, {CPUs: []int{0, 1 << 20}}},
		"NakShare":  {{NakShare: -0.1}, {NakShare: 1.1}, {NakShare: math.NaN()}},
		"Reply":     {{Reply: "a\nb"}, {Reply: "\xff"}, {Reply: strings.Repeat("x", TextMax+1)}},
		"Delay":     {{Delay: -1}, {Delay: DelayMax + 1}},
		"Reorder":   {{Reorder: -1}, {Reorder: ReorderMax + 1}},
		"MaxBuffer": {{MaxBuffer: 1}, {MaxBuffer: -1}},
		"Drain":     {{Drain: -1}},
	} {
		for _, o := range o {
			s, err := New(o)
			var wrong *OptionError
			if !errors.As(err, &wrong) || wrong.Field != field || wrong.Why == "" {
				t.Errorf("%+v: %v", o, err)
			}
			if s != nil {
				s.Stop()
			}
		}
	}
}

func TestAddressInUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	for _, listen := range []string{"127.0.0.1:0", "unix:" + path} {
		for _, loops := range []int{1, 2} {
			s, err := New(Options{Listen: listen, Loops: loops})
			if err != nil {
				t.Fatal(err)
			}
			for _, loops := range []int{1, 2} {
				if other, err := New(Options{Listen: s.Addr(), Loops: loops}); !errors.Is(err, syscall.EADDRINUSE) {
					t.Errorf("a second server with %d loops on %s: %v", loops, s.Addr(), err)
					if other != nil {
						other.Stop()
					}
				}
			}
			s.Stop()
		}
	}
}

func TestStaleSocketIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	_ = ln.Close()
	s := start(t, Options{Listen: "unix:" + path})
	c := connect(t, s)
	c.send("REQ 1\n")
	same(t, c.line(), "ACK 1\n")
}

func TestListensOnBothFamilies(t *testing.T) {
	s := start(t, Options{Listen: ":0"})
	_, port, err := net.SplitHostPort(s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp4", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}

func TestPinnedLoop(t *testing.T) {
	s := start(t, Options{CPUs: []int{0}, Loops: 1})
	c := connect(t, s)
	c.send("REQ 1\n")
	same(t, c.line(), "ACK 1\n")
}
