//go:build !linux

package main

import (
	"fmt"
	"os"
	"runtime"
)

func main() {
	fmt.Fprintln(os.Stderr, "demo: this is", runtime.GOOS+", but the demo builds hosts out of Linux namespaces: run it on Linux, as root")
	os.Exit(1)
}
