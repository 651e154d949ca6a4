package main

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// unixPrefix marks an address that is the path of a unix socket.
const unixPrefix = "unix:"

// sunPathMax is the longest path a unix socket address takes: sun_path holds 108 bytes with the closing NUL (unix(7)).
const sunPathMax = 107

// keepIdleMax is the kernel's largest TCP_KEEPIDLE (MAX_TCP_KEEPIDLE in include/net/tcp.h).
const keepIdleMax = 32767 * time.Second

// A value is one setting's Go value with the text form it has on the command line, in the environment and in a file.
// format(parse(s)) means the same as s: what --check prints can be read again.
type value[T any] struct {
	dst    *T
	parse  func(string) (T, error)
	format func(T) string
}

func (v value[T]) check(s string) error {
	_, err := v.parse(s)
	return err
}

func (v value[T]) set(s string) error {
	x, err := v.parse(s)
	if err == nil {
		*v.dst = x
	}
	return err
}

func (v value[T]) text() string { return v.format(*v.dst) }

func (v value[T]) isBool() bool {
	_, ok := any(v.dst).(*bool)
	return ok
}

func boolValue(dst *bool) value[bool] {
	return value[bool]{dst, parseBool, strconv.FormatBool}
}

func parseBool(s string) (bool, error) {
	switch strings.ToLower(s) {
	case "true", "on", "yes", "1":
		return true, nil
	case "false", "off", "no", "0":
		return false, nil
	}
	return false, fmt.Errorf("is neither true nor false; write true or false")
}

func intValue(dst *int, min, max int) value[int] {
	parse := func(s string) (int, error) {
		n, err := strconv.Atoi(s)
		if err != nil || n < min || n > max {
			return 0, fmt.Errorf("is not a number from %d to %d", min, max)
		}
		return n, nil
	}
	return value[int]{dst, parse, strconv.Itoa}
}

func portValue(dst *int) value[int] {
	parse := func(s string) (int, error) {
		n, err := strconv.ParseUint(s, 10, 16)
		if err != nil {
			return 0, fmt.Errorf("is not a port; give a number from 0 to 65535 (0 = any free port), an address goes to --listen")
		}
		return int(n), nil
	}
	return value[int]{dst, parse, strconv.Itoa}
}

func wordValue(dst *string, words ...string) value[string] {
	parse := func(s string) (string, error) {
		if !slices.Contains(words, s) {
			return "", fmt.Errorf("is not known; choose one of %s", strings.Join(words, ", "))
		}
		return s, nil
	}
	return value[string]{dst, parse, asIs}
}

// pathValue is a file's path; the empty one switches off what the file is for.
func pathValue(dst *string) value[string] {
	parse := func(s string) (string, error) {
		if strings.ContainsRune(s, 0) {
			return "", fmt.Errorf("holds a NUL byte, which no file name can")
		}
		return s, nil
	}
	return value[string]{dst, parse, asIs}
}

func asIs(s string) string { return s }

func durationValue(dst *time.Duration, max time.Duration) value[time.Duration] {
	parse := func(s string) (time.Duration, error) {
		d, err := time.ParseDuration(s)
		switch {
		case err != nil && isDigits(s):
			return 0, fmt.Errorf("has no unit; write %ss for seconds or %sms for milliseconds", s, s)
		case err != nil:
			return 0, fmt.Errorf("is not a duration; write 500ms, 5s, 1m30s, or 0 to switch it off")
		case d < 0:
			return 0, fmt.Errorf("is negative; write 0 to switch it off")
		case d != 0 && d < time.Millisecond:
			return 0, fmt.Errorf("is shorter than 1ms, the finest time-out; write 0 to switch it off")
		case max > 0 && d > max:
			return 0, fmt.Errorf("is longer than %v, the longest the kernel takes", max)
		}
		return d, nil
	}
	return value[time.Duration]{dst, parse, formatDuration}
}

// formatDuration is Duration.String without the units that are zero: 1m, not 1m0s.
func formatDuration(d time.Duration) string {
	if d == 0 {
		return "0"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

func sizeValue[T int | uint64](dst *T, min, max uint64, zeroOff bool) value[T] {
	parse := func(s string) (T, error) {
		n, ok := parseSize(s)
		switch {
		case !ok:
			return 0, fmt.Errorf("is not a size; write bytes with an optional suffix: 65536, 64k, 16M, 1GiB")
		case n == 0 && zeroOff:
			return 0, nil
		case n < min || n > max:
			return 0, fmt.Errorf("is out of range; give %s to %s", formatSize(min), formatSize(max))
		}
		return T(n), nil
	}
	return value[T]{dst, parse, func(n T) string { return formatSize(uint64(n)) }}
}

// sizeUnits are the suffixes of sizes from 1024 up, each 1024 times the one before it.
const sizeUnits = "KMGT"

// parseSize reads bytes with an optional suffix k, M, G or T, which may be followed by B or iB; all are powers of 1024 and
// case does not matter.
func parseSize(s string) (n uint64, ok bool) {
	unit := strings.TrimLeft(s, "0123456789")
	n, err := strconv.ParseUint(s[:len(s)-len(unit)], 10, 64)
	if err != nil {
		return 0, false
	}
	unit = strings.ToUpper(unit)
	if unit == "" || unit == "B" {
		return n, true
	}
	power := strings.IndexByte(sizeUnits, unit[0]) + 1
	if rest := unit[1:]; power == 0 || rest != "" && rest != "B" && rest != "IB" {
		return 0, false
	}
	shifted := n << (10 * power)
	return shifted, shifted>>(10*power) == n
}

// formatSize writes n in the largest unit that leaves a whole number.
func formatSize(n uint64) string {
	power := 0
	for power < len(sizeUnits) && n != 0 && n%1024 == 0 {
		n /= 1024
		power++
	}
	if power == 0 {
		return strconv.FormatUint(n, 10)
	}
	return fmt.Sprintf("%d%ciB", n, sizeUnits[power-1])
}

// addrValue is an address; where the text leaves the host out, host stands in.
func addrValue(dst *string, host string, anyPort bool) value[string] {
	return value[string]{dst, func(s string) (string, error) { return parseAddr(s, host, anyPort) }, asIs}
}

// parseAddr reads PORT, HOST:PORT, [IPV6]:PORT or unix:/PATH and returns host:port or unix:/path. Port 0 stands for any
// free port and is taken only where anyPort is set.
func parseAddr(s, host string, anyPort bool) (string, error) {
	if path, ok := strings.CutPrefix(s, unixPrefix); ok {
		switch {
		case !strings.HasPrefix(path, "/"):
			return "", fmt.Errorf("is not an absolute path; write unix:/path/of/socket")
		case len(path) > sunPathMax:
			return "", fmt.Errorf("is longer than the %d bytes a unix socket's path may have; choose a shorter path", sunPathMax)
		case strings.ContainsRune(path, 0):
			return "", fmt.Errorf("holds a NUL byte, which no file name can")
		}
		return s, nil
	}
	port := s
	if !isDigits(s) {
		h, p, err := net.SplitHostPort(s)
		if _, bare := netip.ParseAddr(s); bare == nil && strings.Contains(s, ":") {
			return "", fmt.Errorf("is an IPv6 address without a port; write [%s]:8000", s)
		}
		if err != nil {
			return "", fmt.Errorf("is not an address; write PORT, HOST:PORT, [IPV6]:PORT or unix:/PATH")
		}
		port = p
		if h != "" {
			host = h
		}
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return "", fmt.Errorf("has no usable port; a port is a number up to 65535")
	}
	if n == 0 && !anyPort {
		return "", fmt.Errorf("has port 0, which nobody can listen on; give the port of the server")
	}
	if strings.ContainsAny(host, " \t\r\n\x00/") {
		return "", fmt.Errorf("has a host name with characters that no host name has")
	}
	return net.JoinHostPort(host, strconv.FormatUint(n, 10)), nil
}
