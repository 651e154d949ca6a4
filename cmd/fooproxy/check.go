package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// printCheck writes what would run. The lines that are no comments are a config file that gives the same settings.
func (o *options) printCheck(w io.Writer) {
	var text strings.Builder
	text.WriteString("# The configuration is right. This would run:\n")
	fmt.Fprintf(&text, "#   listen on %s, forward to %s, at most %d connections\n", o.cfg.Listen, o.cfg.Forward, o.cfg.MaxConn)
	for _, s := range o.table {
		value := s.value.text()
		switch {
		case s.flagOnly || s.name == "config" || s.name == "port":
			continue
		case value == "":
			fmt.Fprintf(&text, "# %-18s is off\n", s.name)
			continue
		}
		from := s.from.where
		if from == "" {
			from = "default"
		}
		fmt.Fprintf(&text, "%-18s = %-24s # %s\n", s.name, value, from)
	}
	_, _ = io.WriteString(w, text.String())
}

// checkFiles tells, without creating anything, whether the files the configuration names could be written.
func (o *options) checkFiles() error {
	if o.cfg.Log != "-" {
		if err := writable("log", o.cfg.Log); err != nil {
			return err
		}
	}
	if err := writable("pidfile", o.pidfile); err != nil {
		return err
	}
	for _, addr := range [...]struct{ flag, text string }{{"listen", o.cfg.Listen}, {"admin", o.admin}} {
		if path, ok := strings.CutPrefix(addr.text, unixPrefix); ok {
			if err := inWritableDir(addr.flag, path); err != nil {
				return err
			}
		}
	}
	return nil
}

func writable(flag, path string) error {
	if path == "" {
		return nil
	}
	found, err := os.Stat(path)
	if err != nil {
		return inWritableDir(flag, path)
	}
	if found.IsDir() {
		return fmt.Errorf("--%s %s: is a directory; give the path of a file", flag, quote(path))
	}
	if err := unix.Access(path, unix.W_OK); err != nil {
		return fmt.Errorf("--%s %s: cannot be written: %w", flag, quote(path), err)
	}
	return nil
}

func inWritableDir(flag, path string) error {
	if err := unix.Access(filepath.Dir(path), unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("--%s %s: cannot be created in %s: %w", flag, quote(path), quote(filepath.Dir(path)), err)
	}
	return nil
}
