// Go need not look every second how many processors there are: see package single.
//
//go:debug updatemaxprocs=0

// Command openstack-ocf is every agent of the OCF provider openstack, and the
// operator's command beside them. The name it is called by says which: under
// /usr/lib/ocf/resource.d/openstack/ each agent is a link to this one binary.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	_ "github.com/openstack-ocf/agents/agents/openstack-ocf/single"
	"github.com/openstack-ocf/agents/lib/byhand"
	"github.com/openstack-ocf/agents/lib/unheeded"
	"github.com/openstack-ocf/agents/ocf"
)

// version is set by the build (see the Makefile).
var version = "devel"

func main() {
	if agent, ok := find(filepath.Base(os.Args[0])); ok {
		ocf.Main(unheeded.Counted(byhand.Guarded(agent)))
	}
	if len(os.Args) == 1 && os.Getenv("CRM_alert_version") != "" { // Pacemaker calls it as its alert agent
		os.Args = append(os.Args, "alert")
	}
	if err := cliApp().Run(os.Args); err != nil {
		fmt.Fprintln(os.Stderr, "openstack-ocf:", err)
		os.Exit(1)
	}
}
