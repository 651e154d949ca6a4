package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// writePidfile puts the process id into path in one step, so that no reader ever sees half of it. "" is no file.
func writePidfile(path string) error {
	if path == "" {
		return nil
	}
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return fmt.Errorf("--pidfile %s: cannot be written: %w; give a path in a directory you may write to", quote(path), cause(err))
	}
	_, err = fmt.Fprintln(file, os.Getpid())
	if err == nil {
		err = file.Chmod(0o644)
	}
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		_ = os.Remove(file.Name())
		return fmt.Errorf("--pidfile %s: cannot be written: %w", quote(path), err)
	}
	return nil
}

// removePidfile removes path if it still names this process: a successor may have written its own by now.
func removePidfile(path string) {
	if path == "" {
		return
	}
	text, err := os.ReadFile(path)
	if err == nil && strings.TrimSpace(string(text)) == strconv.Itoa(os.Getpid()) {
		_ = os.Remove(path)
	}
}
