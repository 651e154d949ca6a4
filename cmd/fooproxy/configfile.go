package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"unicode/utf8"
)

// configMax is the largest config file taken, in bytes: whoever names a log or a device by mistake shall hear of it.
const configMax = 1 << 20

// faultsMax is how many faults of a config file are listed.
const faultsMax = 50

// blanks part words; the carriage return is one so that files with CR LF line ends work.
const blanks = " \t\r"

// An entry is one setting of a config file.
type entry struct {
	line       int // 1-based
	key, value string
	bare       bool // the key stands alone
}

// A fault is one thing wrong in a config file.
type fault struct {
	line int // 1-based
	why  string
}

// parseConfig splits a config file into its entries:
//
//	file  := { line LF }
//	line  := [ key [ blanks [ "=" ] blanks value ] ] [ blanks ] [ "#" comment ]
//
// A comment begins at a "#" that starts the line or follows a blank. There are no quotes and no escapes; a value is what
// stands between the blanks around it, and may hold blanks itself.
func parseConfig(data []byte) (entries []entry, faults []fault) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	for i, raw := range strings.Split(string(data), "\n") {
		line := i + 1
		text := strings.Trim(cutComment(raw), blanks)
		if text == "" {
			continue
		}
		if !utf8.ValidString(text) || strings.ContainsFunc(text, isControl) {
			faults = append(faults, fault{line, "holds bytes that are not text; is this a config file?"})
			continue
		}
		key, value := text, ""
		end := strings.IndexAny(text, "="+blanks)
		if end >= 0 {
			key, value = text[:end], strings.Trim(text[end:], blanks)
			value = strings.Trim(strings.TrimPrefix(value, "="), blanks)
		}
		switch {
		case key == "":
			faults = append(faults, fault{line, `begins with "=": write KEY VALUE or KEY = VALUE`})
			continue
		case strings.HasPrefix(value, "#"):
			faults = append(faults, fault{line, key + `: a value cannot begin with "#"; put a blank before a comment`})
			continue
		}
		entries = append(entries, entry{line, key, value, end < 0})
	}
	return entries, faults
}

func cutComment(line string) string {
	for i := range len(line) {
		if line[i] == '#' && (i == 0 || strings.IndexByte(blanks, line[i-1]) >= 0) {
			return line[:i]
		}
	}
	return line
}

func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f || r == '\ufeff' }

// configFile is ff's hook for reading the config file: it checks every line before it returns all that is wrong at once.
// ff skips what a flag or the environment has set already, after it was checked here.
func (o *options) configFile(r io.Reader, set func(name, value string) error) error {
	data, err := io.ReadAll(io.LimitReader(r, configMax+1))
	if err != nil {
		return err
	}
	if len(data) > configMax {
		return fmt.Errorf("it is larger than %s; is this a config file?", formatSize(configMax))
	}
	entries, faults := parseConfig(data)
	good, more := o.checkEntries(entries)
	faults = append(faults, more...)
	if len(faults) > 0 {
		return o.faultLines(faults)
	}
	for _, e := range good {
		o.reading = func(name string) origin { return origin{fromFile, fmt.Sprintf("%s:%d: %s", o.config, e.line, name)} }
		if err := set(e.key, e.value); err != nil {
			return err
		}
	}
	return nil
}

// checkEntries returns the entries with switches spelled out, and what is wrong with them.
func (o *options) checkEntries(entries []entry) (good []entry, faults []fault) {
	first := map[string]int{}
	for _, e := range entries {
		s, why := o.lookup(e.key)
		if why == "" && e.bare && s.value.isBool() {
			e.value = "true"
		}
		switch {
		case why != "":
		case e.bare && !s.value.isBool():
			why = fmt.Sprintf("%s: a value is missing after it", e.key)
		case first[e.key] != 0:
			why = fmt.Sprintf("%s: is set already in line %d; leave one of the two", e.key, first[e.key])
		default:
			first[e.key] = e.line
			if err := s.value.check(e.value); err != nil {
				why = fmt.Sprintf("%s %s: %v", e.key, quote(e.value), err)
			}
		}
		if why != "" {
			faults = append(faults, fault{e.line, why})
			continue
		}
		good = append(good, e)
	}
	return good, faults
}

// lookup finds the setting of a key, or says why there is none.
func (o *options) lookup(key string) (s *setting, why string) {
	names := o.names(func(s *setting) bool { return !s.flagOnly && s.name != "config" })
	for _, name := range names {
		if name == key {
			return o.setting(key), ""
		}
	}
	for _, s := range o.table {
		if s.name == key {
			return nil, fmt.Sprintf("%s: belongs on the command line, not in a config file", key)
		}
		if s.short == key {
			return nil, fmt.Sprintf("unknown key %s; write %s", quote(key), s.name)
		}
	}
	if near := suggest(strings.TrimLeft(key, "-"), names); near != "" {
		return nil, fmt.Sprintf("unknown key %s; did you mean %s?", quote(key), near)
	}
	return nil, fmt.Sprintf("unknown key %s; keys are the long flags without dashes, see fooproxy --help", quote(key))
}

// faultLines sorts the faults by line and words them as one error.
func (o *options) faultLines(faults []fault) *usageError {
	slices.SortStableFunc(faults, func(a, b fault) int { return a.line - b.line })
	var lines []string
	for _, f := range faults[:min(len(faults), faultsMax)] {
		lines = append(lines, fmt.Sprintf("%s:%d: %s", o.config, f.line, f.why))
	}
	if more := len(faults) - faultsMax; more > 0 {
		lines = append(lines, fmt.Sprintf("%s: and %d more; is this a config file?", o.config, more))
	}
	return &usageError{lines}
}

// cause takes the path out of a file error where the message has named it already.
func cause(err error) error {
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		return path.Err
	}
	return err
}
