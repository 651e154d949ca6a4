package proxy

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"fooproxy/ring"
	"fooproxy/ring/ringtest"
)

// everyFault is what "faults=SEED" brings, often enough that a connection sees each of them.
var everyFault = ringtest.Rates{
	ShortSend: 4, EndMultishot: 5, PollFirst: 2, NoBuffers: 7, LateCancel: 2, EINTR: 11, EAGAIN: 13, EBUSY: 17, Shuffle: 3,
}

// tryUring looks whether this kernel carries loops on io_uring, and how well; the error is one line that names the step
// that failed, its errno and the remedy.
func tryUring(test string, loops int) (*uringSetup, error) {
	options, change, err := parseRingTest(test)
	if err != nil {
		return nil, err
	}
	setup := newUringSetup(ring.Probe(options), loops)
	change(&setup)
	if no := (*ring.Unusable)(nil); errors.As(setup.report.Err(), &no) {
		return nil, setup.explain(no)
	}
	return &setup, nil
}

// parseRingTest reads Config.RingTest, by which tests of the whole program make the engine small or take features away:
// settings parted by blanks, "without=FEATURE", "sq=ENTRIES", "cq=ENTRIES", "buffers=N", "faults=SEED", "lend=1" for sends without a copy
// whatever the kernel says of them.
func parseRingTest(text string) (o ring.Options, change func(*uringSetup), err error) {
	var small uringSetup
	for setting := range strings.FieldsSeq(text) {
		key, value, _ := strings.Cut(setting, "=")
		if key == "without" {
			f, err := ring.ParseFeature(value)
			if err != nil {
				return o, nil, err
			}
			o.Without = append(o.Without, f)
			continue
		}
		n, err := strconv.ParseUint(value, 10, 32)
		if err != nil {
			return o, nil, fmt.Errorf("ring test setting %q: %w", setting, err)
		}
		switch key {
		case "sq":
			small.params.Entries = max(uint32(n), sqesPerServe)
		case "cq":
			small.params.CQEntries = uint32(n)
		case "buffers":
			small.buffers = int(n)
		case "faults":
			small.faults = n
		case "lend":
			small.lendAlways = n != 0
		default:
			return o, nil, fmt.Errorf("ring test setting %q is unknown", setting)
		}
	}
	return o, func(s *uringSetup) {
		if small.params.Entries != 0 {
			s.params.Entries = small.params.Entries
		}
		if small.params.CQEntries != 0 {
			s.params.CQEntries = small.params.CQEntries
		}
		if small.buffers != 0 {
			s.buffers = small.buffers
		}
		s.faults, s.lendAlways = small.faults, small.lendAlways
	}, nil
}
