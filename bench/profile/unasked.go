package profile

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"debug/elf"
	"debug/gosym"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// What observability costs when nobody asks for it is below what the CPU time of two runs can tell apart: they differ by some
// per cent. So it is counted: the share of all samples, the kernel's included, that lie on a line of its code. Lines are
// looked up by address, so what the compiler has put into other functions counts as what it is.

// unaskedFiles are the files of observability, below the module's root.
var unaskedFiles = regexp.MustCompile(`/(accesslog|admin|top)/[^/]+\.go$|/proxy/(track|records|excerpt|ask|view|alive)\.go$`)

// unaskedLines are those of package proxy's other files that ask whether it is wanted, or serve it.
var unaskedLines = regexp.MustCompile(`\.(log|latency|tracks?|asked|lineEnds)\b|\bhear\(|\bnoteViolation\(`)

// lineFinder says what an address of a Go program belongs to.
type lineFinder struct {
	table   *gosym.Table
	sources map[string][]string // lines of a file of package proxy, read once
}

func newLineFinder(program string) (*lineFinder, error) {
	f, err := elf.Open(program)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines, text := f.Section(".gopclntab"), f.Section(".text")
	if lines == nil || text == nil {
		return nil, fmt.Errorf("%s is no Go program", program)
	}
	data, err := lines.Data()
	if err != nil {
		return nil, err
	}
	table, err := gosym.NewTable(nil, gosym.NewLineTable(data, text.Addr))
	if err != nil {
		return nil, err
	}
	return &lineFinder{table, map[string][]string{}}, nil
}

// unasked is the line at an address of the program when it is one of observability, else "".
func (f *lineFinder) unasked(pc uint64) (where string, err error) {
	file, line, fn := f.table.PCToLine(pc)
	if fn == nil {
		return "", nil
	}
	where = fmt.Sprintf("%s/%s:%d", path.Base(path.Dir(file)), path.Base(file), line)
	if unaskedFiles.MatchString(file) {
		return where, nil
	}
	if path.Base(path.Dir(file)) != "proxy" {
		return "", nil
	}
	source, known := f.sources[file]
	if !known {
		text, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("the program must have been built here: %w", err)
		}
		source = strings.Split(string(text), "\n")
		f.sources[file] = source
	}
	if line > len(source) || !unaskedLines.MatchString(source[line-1]) {
		return "", nil
	}
	return where, nil
}

// tally counts samples by address: of the program, of its lines of observability, of everything.
type tally struct {
	all, program, unasked int
	where                 map[string]int
}

// count reads perf script's addresses, one a line, in hexadecimal.
func (f *lineFinder) count(out []byte) (t tally, err error) {
	t.where = map[string]int{}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		pc, err := strconv.ParseUint(strings.TrimSpace(lines.Text()), 16, 64)
		if err != nil {
			continue
		}
		t.all++
		if pc>>63 != 0 { // the kernel's half
			continue
		}
		if _, _, fn := f.table.PCToLine(pc); fn != nil {
			t.program++
		}
		where, err := f.unasked(pc)
		if err != nil {
			return t, err
		}
		if where != "" {
			t.unasked++
			t.where[where]++
		}
	}
	return t, nil
}

// atMost is a bound on the expected count when n were seen, by Poisson's law at 95 %: Wilson and Hilferty's approximation of
// the chi-squared quantile.
func atMost(n int) float64 {
	k := float64(n + 1)
	root := 1 - 1/(9*k) + 1.645/(3*math.Sqrt(k))
	return k * root * root * root
}

// unasked samples a process of ours and prints what share of its time goes into observability.
func (o *Options) unasked(ctx context.Context, pid int) error {
	program, err := filepath.EvalSymlinks(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return err
	}
	finder, err := newLineFinder(program)
	if err != nil {
		return err
	}
	data := filepath.Join(o.Dir, "unasked.data")
	if err := recordPerf(ctx, pid, data, o.Time, "-F", "9973"); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, "perf", "script", "-i", data, "-F", "ip").Output()
	if err != nil {
		return fmt.Errorf("perf script: %w", err)
	}
	t, err := finder.count(out)
	if err != nil {
		return err
	}
	if t.program == 0 {
		return fmt.Errorf("none of %d samples lies in %s", t.all, program)
	}
	all := float64(t.all)
	fmt.Fprintf(o.Out, "%d samples, %.1f %% in the program, the others in the kernel\n", t.all, 100*float64(t.program)/all)
	fmt.Fprintf(o.Out, "%d of them on lines of observability: %.3f %%, with 95 %% confidence at most %.3f %%\n",
		t.unasked, 100*float64(t.unasked)/all, 100*atMost(t.unasked)/all)
	var most []string
	for where := range t.where {
		most = append(most, where)
	}
	slices.SortFunc(most, func(a, b string) int { return cmp.Or(t.where[b]-t.where[a], strings.Compare(a, b)) })
	for _, where := range most[:min(len(most), 10)] {
		fmt.Fprintf(o.Out, "  %7.3f %%  %s\n", 100*float64(t.where[where])/all, where)
	}
	return nil
}
