package proxy

import (
	"testing"
	"testing/fstest"
)

// caches is a directory as the kernel fills it, from the level, type and size of each cache.
func caches(of ...[3]string) fstest.MapFS {
	dir := fstest.MapFS{"uevent": {}}
	for i, c := range of {
		for j, name := range []string{"level", "type", "size"} {
			if c[j] != "" {
				dir["index"+string(rune('0'+i))+"/"+name] = &fstest.MapFile{Data: []byte(c[j] + "\n")}
			}
		}
	}
	return dir
}

func TestCacheSize(t *testing.T) {
	data, code, l3 := [3]string{"1", "Data", "32K"}, [3]string{"1", "Instruction", "48K"}, [3]string{"3", "Unified", "16384K"}
	for _, c := range []struct {
		name string
		dir  fstest.MapFS
		want int
	}{
		{"a Zen 2", caches(data, code, [3]string{"2", "Unified", "512K"}, l3), 512 << 10},
		{"a Zen 5", caches(data, code, [3]string{"2", "Unified", "1024K"}, l3), 1 << 20},
		{"another order", caches(l3, [3]string{"2", "Unified", "2048K"}, data), 2 << 20},
		{"apart for code and data", caches([3]string{"2", "Instruction", "1024K"}, [3]string{"2", "Data", "256K"}), 256 << 10},
		{"no type", caches([3]string{"2", "", "512K"}), 512 << 10},
		{"no L2", caches(data, code, l3), 0},
		{"no size", caches(data, [3]string{"2", "Unified", ""}, l3), 0},
		{"no number", caches([3]string{"2", "Unified", "K"}), 0},
		{"below zero", caches([3]string{"2", "Unified", "-512K"}), 0},
		{"too large to be one", caches([3]string{"2", "Unified", "99999999999K"}), 0},
		{"nothing", fstest.MapFS{}, 0},
	} {
		if got := l2Size(c.dir); got != c.want {
			t.Errorf("%s: %d bytes, want %d", c.name, got, c.want)
		}
	}
	if got := l2Size(cpuCaches(1 << 20)); got != 0 {
		t.Errorf("a CPU that is not there has %d bytes", got)
	}
}

func TestRecvAtOnce(t *testing.T) {
	for l2, want := range map[int]int{
		0: 256 << 10, 256 << 10: 96 << 10, 512 << 10: 96 << 10, 1<<20 - 1: 96 << 10, 1 << 20: 512 << 10, 16 << 20: 512 << 10,
	} {
		if got := recvAtOnce(l2); got != want {
			t.Errorf("with %d bytes of L2 %d at once, want %d", l2, got, want)
		}
	}
}

// What is received at once never exceeds what a flow may hold, nor falls below a segment.
func TestScratchSize(t *testing.T) {
	for _, c := range []struct{ atOnce, maxBuffer, want int }{
		{recvSmall, 512 << 10, recvSmall}, {recvLarge, 128 << 10, 128 << 10}, {recvSmall, 64 << 10, 64 << 10}, {recvLarge, 1 << 20, recvLarge}, {recvLarge, 1 << 10, segSize},
	} {
		m := direct{core: &core{cfg: &Config{MaxBuffer: c.maxBuffer}, atOnce: c.atOnce}}
		m.init()
		if len(m.scratch) != c.want {
			t.Errorf("%d at once, max-buffer %d: the scratch has %d bytes, want %d", c.atOnce, c.maxBuffer, len(m.scratch), c.want)
		}
	}
}
