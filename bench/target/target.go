package target

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Env is where a target runs.
type Env struct {
	Dir      string // for its configuration, empty before
	Listen   string // "127.0.0.1:PORT" or "unix:/path"
	Forward  string // the same
	Core     int    // the CPU it is pinned to, or AllCores
	MaxConns int    // connections it must be able to hold
	Tunnel   bool   // relay raw bytes, by splice where it can
}

// Target is a program that can be compared.
type Target struct {
	Name   string
	About  string
	Engine bool // one of our own engines
	// Direct targets answer by themselves: the generator brings no upstream.
	Direct bool
	// Find returns the version, or why the target cannot run here and how to get it.
	Find func() (version string, err error)
	// Command writes what configuration the target needs into Env.Dir and returns its argument list.
	Command func(Env) ([]string, error)
}

// Programs are the paths of our own binaries.
type Programs struct{ Foobench, Fooproxy string }

// OwnPrograms finds the binaries beside the running one, or on the PATH.
func OwnPrograms() (p Programs, err error) {
	if p.Foobench, err = os.Executable(); err != nil {
		return p, err
	}
	p.Fooproxy = filepath.Join(filepath.Dir(p.Foobench), "fooproxy")
	if _, err := os.Stat(p.Fooproxy); err != nil {
		if p.Fooproxy, err = exec.LookPath("fooproxy"); err != nil {
			p.Fooproxy = ""
		}
	}
	return p, nil
}

// All lists the targets in the order of the tables. extra are flags given to fooproxy in addition, the same for every
// engine; a spec like fooproxy-epoll+--cork adds flags to one.
func All(p Programs) []Target {
	relay := func(kind, about string) Target {
		return Target{
			Name: "relay-" + kind, About: about, Find: own(p.Foobench, "foobench"),
			Command: func(e Env) ([]string, error) {
				return []string{p.Foobench, "relay", "--kind", kind, "--listen", e.Listen, "--forward", e.Forward}, nil
			},
		}
	}
	return []Target{
		p.Engine("uring"),
		p.Engine("epoll"),
		haproxy(),
		nginx(),
		{
			Name: "direct", About: "no proxy: foobench's own upstream takes the proxy's place", Direct: true,
			Find: own(p.Foobench, "foobench"),
			Command: func(e Env) ([]string, error) {
				return []string{p.Foobench, "respond", "--listen", e.Listen, "--reply", "empty", "--loops", "1"}, nil
			},
		},
		relay("go", "two goroutines and two io.Copy per connection"),
		relay("poll", "one thread, level-triggered poll(2)"),
	}
}

// Engine is fooproxy with one of its engines.
func (p Programs) Engine(engine string) Target {
	return Target{
		Name: "fooproxy-" + engine, About: "fooproxy, " + engine + " engine, every message checked", Engine: true,
		Find: own(p.Fooproxy, "fooproxy"),
		Command: func(e Env) ([]string, error) {
			args := []string{p.Fooproxy, "--listen", e.Listen, "--forward", e.Forward, "--engine=" + engine, "--loops=1", "--pin"}
			if e.Tunnel {
				args = append(args, "--tunnel")
			}
			return args, nil
		},
	}
}

// own is the Find of a binary of this project.
func own(path, name string) func() (string, error) {
	return func() (string, error) {
		if path == "" {
			return "", fmt.Errorf("no binary %s beside foobench or on the PATH: run make build", name)
		}
		out, err := exec.Command(path, "--version").CombinedOutput()
		if err != nil {
			return "built with this foobench", nil
		}
		return firstLine(out), nil
	}
}

// Select picks targets by name, in the order given; "all" or "" is every target. What follows a + is a flag for that
// target alone: fooproxy-epoll+--cork=true. A target that is named again, to be compared with itself, becomes haproxy#2; a
// name may also be given so.
func Select(all []Target, names string) ([]Target, error) {
	if names == "" || names == "all" {
		return all, nil
	}
	var picked []Target
	for name := range strings.SplitSeq(names, ",") {
		name = strings.TrimSpace(name)
		base, flags, more := strings.Cut(name, "+")
		base, _, _ = strings.Cut(base, "#")
		t, err := byName(all, base)
		if err != nil {
			return nil, err
		}
		if more {
			t = t.With(name, strings.Split(flags, "+"))
		}
		t.Name = unused(name, picked)
		picked = append(picked, t)
	}
	return picked, nil
}

// unused is name, with a number after it when it has been picked already.
func unused(name string, picked []Target) string {
	taken := func(name string) bool {
		return slices.ContainsFunc(picked, func(t Target) bool { return t.Name == name })
	}
	base := name
	for n := 2; taken(name); n++ {
		name = fmt.Sprintf("%s#%d", base, n)
	}
	return name
}

func byName(all []Target, name string) (Target, error) {
	var known []string
	for _, t := range all {
		if t.Name == name {
			return t, nil
		}
		known = append(known, t.Name)
	}
	return Target{}, fmt.Errorf("no target %q; there are %s", name, strings.Join(known, ", "))
}

// With is a target of another name with more flags.
func (t Target) With(name string, flags []string) Target {
	command := t.Command
	t.Name = name
	t.Command = func(e Env) ([]string, error) {
		args, err := command(e)
		return append(args, flags...), err
	}
	return t
}

func firstLine(b []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	return line
}

// version runs a program found on the PATH and returns the first line it prints.
func version(install, name string, args ...string) (string, error) {
	path, err := find(name)
	if err != nil {
		return "", fmt.Errorf("%s is not installed: %s", name, install)
	}
	out, err := exec.Command(path, args...).CombinedOutput()
	if err != nil {
		return "", errors.Join(fmt.Errorf("%s %s: %s", path, strings.Join(args, " "), firstLine(out)), err)
	}
	return firstLine(out), nil
}

// find looks on the PATH and where system daemons are, which is not on every user's PATH.
func find(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	return exec.LookPath(filepath.Join("/usr/sbin", name))
}
