package main

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"fooproxy/codec"
)

// version is set by the Makefile; a plain go build leaves it empty, and the toolchain's own stamp stands in.
var version string

func versionName() string {
	if version != "" {
		return version
	}
	if build, ok := debug.ReadBuildInfo(); ok && build.Main.Version != "" {
		return build.Main.Version
	}
	return "unknown"
}

func printVersion(w io.Writer) {
	kernel := "unknown"
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		release, _, _ := bytes.Cut(name.Release[:], []byte{0})
		kernel = string(release)
	}
	fmt.Fprintf(w, "fooproxy %s\n%s %s/%s\nkernel %s\ncodec %s\n",
		versionName(), runtime.Version(), runtime.GOOS, runtime.GOARCH, kernel, codec.Kernel())
}
