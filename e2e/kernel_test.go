package e2e

import (
	"fmt"
	"os"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"
)

// kernelLog reads what the kernel says from now on (/dev/kmsg, which takes root).
type kernelLog struct {
	fd  int
	err error // why fd is -1
}

// alarm is what the kernel must not say, whatever is done to it through the proxy.
var alarm = regexp.MustCompile(`BUG|WARNING:|Oops|Call Trace|general protection|hung_task|blocked for more than|soft lockup|rcu.*stall|` +
	`refcount_t|use-after-free|Out of memory|page allocation failure|traps: fooproxy|fooproxy\[\d+\]: segfault`)

func watchKernel() kernelLog {
	fd, err := unix.Open("/dev/kmsg", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err == nil {
		_, err = unix.Seek(fd, 0, unix.SEEK_END)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "the kernel's log is not watched: %v\n", err)
		return kernelLog{-1, err}
	}
	return kernelLog{fd: fd}
}

// alarms returns the alarming ones of the records since watchKernel.
func (k kernelLog) alarms() (said []string) {
	if k.fd < 0 {
		if thorough {
			said = append(said, "nobody knows: "+k.err.Error())
		}
		return said
	}
	defer unix.Close(k.fd)
	buf := make([]byte, 8<<10)
	for {
		n, err := unix.Read(k.fd, buf)
		switch {
		case err == unix.EPIPE: // some were overwritten; go on with the oldest there is
			continue
		case err == unix.EINTR:
			continue
		case err != nil || n <= 0:
			return said
		}
		// A record is "priority,number,time,flags;text\n" and then lines of key=value.
		_, text, _ := strings.Cut(string(buf[:n]), ";")
		if line, _, _ := strings.Cut(text, "\n"); alarm.MatchString(line) {
			said = append(said, line)
		}
	}
}
