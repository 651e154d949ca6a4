package e2e

import (
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
	"time"
)

// The Go runtime collects a heap that hardly grows every two minutes. At each collection it gives the free parts of its goroutines'
// stacks back and takes others soon after, in pieces of 32 KiB, which land anywhere in what the heap has in reserve, some hundred KiB.
// So resident memory goes on rising until each page of that was touched once, which takes dozens of collections, and no further:
// what the heap has from the kernel stays the same. A soak of ten minutes would see only the steepest part, so during its warm-up the
// proxy collects ten times a second, as many times as in a day and a half.
const (
	soakCollects = 100 * time.Millisecond
	goCollects   = 2 * time.Minute
)

// collect changes how often the runtime of process pid collects at least. Go has no means for that, so this is written over the
// variable runtime.forcegcperiod.
func collect(pid int, now, before time.Duration) error {
	at, err := symbol(fmt.Sprintf("/proc/%d/exe", pid), "runtime.forcegcperiod")
	if err != nil {
		return err
	}
	f, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	b := make([]byte, 8)
	if _, err = f.ReadAt(b, at); err != nil {
		return err
	}
	if was := time.Duration(binary.NativeEndian.Uint64(b)); was != before {
		return fmt.Errorf("the Go runtime collects every %v, not every %v", was, before)
	}
	binary.NativeEndian.PutUint64(b, uint64(now))
	_, err = f.WriteAt(b, at)
	return err
}

// symbol is where a variable lies in the memory of the program in file, which must not be relocatable.
func symbol(file, name string) (int64, error) {
	f, err := elf.Open(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if f.Type != elf.ET_EXEC {
		return 0, fmt.Errorf("%s may lie anywhere", file)
	}
	list, err := f.Symbols()
	if err != nil {
		return 0, err
	}
	for _, s := range list {
		if s.Name == name {
			return int64(s.Value), nil
		}
	}
	return 0, fmt.Errorf("%s has no %s", file, name)
}
