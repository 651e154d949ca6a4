package proxy

import (
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// What is received at once is written to the scratch buffer, read by the scanner and read again by the send: it should still be
// in L2 by then, beside the kernel's own buffers, or each of the three waits for the next cache. The more of it, the fewer system
// calls and wake-ups, and the larger the pieces that go on. On a Zen 5 with 1 MiB of L2 512 KiB were best, on a Zen 2 with
// 512 KiB they took up to a fifth more CPU time than 96 KiB (docs/zerocopy.md).
const (
	recvLarge   = 512 << 10 // with recvLargeL2 or more
	recvLargeL2 = 1 << 20
	recvSmall   = 96 << 10  // with less
	recvUnknown = 256 << 10 // where nobody says, as in a sandbox without sysfs: a tenth above the best on the Zen 5, up to a sixth on the Zen 2
)

// recvAtOnce is how many bytes one receive into a scratch buffer may bring, by the size of the L2 cache, 0 when that is not known.
func recvAtOnce(l2 int) int {
	switch {
	case l2 <= 0:
		return recvUnknown
	case l2 < recvLargeL2:
		return recvSmall
	default:
		return recvLarge
	}
}

// cpuCaches is where the kernel describes the caches of a CPU (Documentation/ABI/testing/sysfs-devices-system-cpu). A loop that is
// not pinned, whose cpu is -1, goes by the first CPU.
func cpuCaches(cpu int) fs.FS {
	return os.DirFS(fmt.Sprintf("/sys/devices/system/cpu/cpu%d/cache", max(cpu, 0)))
}

// l2Size returns the bytes of the L2 cache that holds data, 0 when caches does not say.
func l2Size(caches fs.FS) int {
	indexes, _ := fs.Glob(caches, "index*")
	for _, index := range indexes {
		text := func(name string) string {
			content, _ := fs.ReadFile(caches, index+"/"+name)
			return strings.TrimSpace(string(content))
		}
		if text("level") != "2" || text("type") == "Instruction" {
			continue
		}
		if kib, err := strconv.ParseUint(strings.TrimSuffix(text("size"), "K"), 10, 21); err == nil {
			return int(kib) << 10
		}
	}
	return 0
}
