package cluster

import (
	"os"
	"path/filepath"
)

// The roles this program takes when it is executed again, by argv[0].
const (
	roleSupervisor = "cluster-supervisor"
	roleNode       = "cluster-node"
	roleFence      = "fence_rack"
)

func init() {
	if len(os.Args) == 0 {
		return
	}
	switch filepath.Base(os.Args[0]) {
	case roleSupervisor:
		os.Exit(supervise())
	case roleNode:
		os.Exit(bootNode())
	case roleFence:
		os.Exit(fence(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
}
