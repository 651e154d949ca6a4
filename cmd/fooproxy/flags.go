package main

import (
	"errors"
	"flag"
	"io"
	"strings"
	"time"

	"github.com/peterbourgon/ff/v3"

	"fooproxy/proxy"
)

// envPrefix and an underscore begin the name of every environment variable that is a setting.
const envPrefix = "FOOPROXY"

// options is the whole configuration of the process: cfg is what the proxy needs, the rest is the process's own.
type options struct {
	cfg proxy.Config

	port         int
	track        string
	drainTimeout time.Duration
	pidfile      string
	admin        string
	adminPublic  bool
	config       string
	checkOnly    bool
	version      bool
	verbose      bool

	table []*setting
	// reading is the source that values are being read from; a setting keeps it as its origin.
	reading func(name string) origin
}

// An origin tells where a value came from; a higher rank wins over a lower one.
type origin struct {
	rank  int
	where string // "--port", "FOOPROXY_PORT" or "fooproxy.conf:3: port"
}

const (
	fromDefault = iota
	fromFile
	fromEnv
	fromFlag
)

// A setting is one name of the configuration with its value, usable as a flag.Value.
type setting struct {
	name, short string // short is the one-letter flag or ""
	group       string
	meta, help  string // placeholder and explanation in --help
	flagOnly    bool   // exists on the command line only
	value       textValue
	from        origin
	owner       *options
}

// A textValue is a value[T] whatever its T.
type textValue interface {
	check(string) error
	set(string) error
	text() string
	isBool() bool
}

func (s *setting) Set(text string) error {
	from := s.owner.reading(s.name)
	if err := s.value.set(text); err != nil {
		return usagef("%s %s: %v", from.where, quote(text), err)
	}
	s.from = from
	return nil
}

// String is what ff reads the path of the config file with.
func (s *setting) String() string {
	if s.value == nil {
		return ""
	}
	return s.value.text()
}

func (s *setting) IsBoolFlag() bool { return s.value.isBool() }

func (o *options) setting(name string) *setting {
	for _, s := range o.table {
		if s.name == name {
			return s
		}
	}
	panic("fooproxy: no setting " + name)
}

// where names a setting in a message: by where its value came from, or else as the flag that changes it.
func (o *options) where(name string) string {
	if from := o.setting(name).from.where; from != "" {
		return from
	}
	return dashed(name)
}

func (o *options) names(keep func(*setting) bool) (names []string) {
	for _, s := range o.table {
		if keep(s) {
			names = append(names, s.name)
		}
	}
	return names
}

// parseOptions reads the configuration: flags win over environment variables, these over the config file, that over the
// defaults. The error is flag.ErrHelp when help was asked for, else a *usageError.
func parseOptions(args []string) (*options, error) {
	o := newOptions()
	fs := flag.NewFlagSet("fooproxy", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	for _, s := range o.table {
		if !s.flagOnly {
			fs.Var(s, s.name, s.help)
		}
	}
	if err := o.parseArgs(fs, args); err != nil || o.version {
		return o, err
	}
	o.reading = func(name string) origin { return origin{fromEnv, envName(name)} }
	err := ff.Parse(
		fs, nil,
		ff.WithEnvVarPrefix(envPrefix),
		ff.WithConfigFileFlag("config"),
		ff.WithConfigFileParser(o.configFile),
	)
	if usage := (*usageError)(nil); errors.As(err, &usage) {
		return o, usage
	}
	if err != nil {
		return o, usagef("%s %s: cannot be read: %v", o.where("config"), quote(o.config), cause(err))
	}
	if lines := o.validate(); len(lines) > 0 {
		return o, &usageError{lines}
	}
	return o, nil
}

// parseArgs reads the command line and marks what it sets as set in fs, so that ff leaves it alone. Flags have a set of
// their own because ff would look for the one-letter names in the environment, too.
func (o *options) parseArgs(fs *flag.FlagSet, args []string) error {
	line := flag.NewFlagSet("fooproxy", flag.ContinueOnError)
	line.SetOutput(io.Discard)
	line.Usage = func() {}
	var wrong error
	typed := ""
	o.reading = func(string) origin { return origin{fromFlag, typed} }
	define := func(s *setting, name string) {
		line.Var(forwarder{s.IsBoolFlag(), func(text string) error {
			typed = dashed(name)
			if s.flagOnly {
				wrong = s.Set(text)
			} else {
				// The flag package turns errors into text, so the first one is kept aside.
				wrong = unwrapUsage(fs.Set(s.name, text))
			}
			return wrong
		}}, name, "")
	}
	for _, s := range o.table {
		define(s, s.name)
		if s.short != "" {
			define(s, s.short)
		}
	}
	err := line.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return err
	case wrong != nil:
		return wrong
	case err != nil:
		return o.badFlag(err)
	case line.NArg() > 0:
		return strayArgument(args, line.Args())
	}
	return nil
}

// dashed is a flag as the help writes it.
func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// A forwarder is a flag.Value that hands its text on.
type forwarder struct {
	bool bool
	set  func(string) error
}

func (f forwarder) String() string        { return "" }
func (f forwarder) Set(text string) error { return f.set(text) }
func (f forwarder) IsBoolFlag() bool      { return f.bool }

// badFlag rewords an error of the flag package, which has no types for them.
func (o *options) badFlag(err error) error {
	if name, ok := strings.CutPrefix(err.Error(), "flag provided but not defined: -"); ok {
		all := o.names(func(*setting) bool { return true })
		if near := suggest(name, all); near != "" {
			return usagef("unknown flag %s; did you mean --%s?", quote(dashed(name)), near)
		}
		return usagef("unknown flag %s; fooproxy --help lists all", quote(dashed(name)))
	}
	if name, ok := strings.CutPrefix(err.Error(), "flag needs an argument: -"); ok {
		return usagef("%s: a value is missing after it", dashed(name))
	}
	return usagef("%v; fooproxy --help shows how flags are written", err)
}

func strayArgument(args, rest []string) error {
	if at := len(args) - len(rest); at > 0 && strings.HasPrefix(args[at-1], "-") {
		if _, err := parseBool(rest[0]); err == nil {
			return usagef("argument %s belongs to no flag; write %s=%s", quote(rest[0]), args[at-1], rest[0])
		}
	}
	return usagef("argument %s belongs to no flag; fooproxy takes flags only, see fooproxy --help", quote(rest[0]))
}

func unwrapUsage(err error) error {
	if usage := (*usageError)(nil); errors.As(err, &usage) {
		return usage
	}
	return err
}

// envName is the environment variable of a setting, by ff's rule.
func envName(name string) string {
	return envPrefix + "_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// unknownEnv returns, in the order of environ, the variables that look like settings and are none.
func (o *options) unknownEnv(environ []string) (unknown []string) {
	known := map[string]bool{}
	for _, s := range o.table {
		known[envName(s.name)] = true
	}
	for _, pair := range environ {
		name, _, _ := strings.Cut(pair, "=")
		if strings.HasPrefix(name, envPrefix+"_") && !known[name] {
			unknown = append(unknown, name)
		}
	}
	return unknown
}
