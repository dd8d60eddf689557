package scenario

import (
	"os"
	"testing"

	"github.com/openstack-ocf/agents/test/cluster"
)

// rootPackages are what the tests that can run on another release, 13 or later, need on a node, beside what makes it a node.
// All fence agents together would bring all clouds' SDKs.
var rootPackages = []string{
	"mariadb-server", "haproxy", "redis-server", "fence-agents-ipmilan", "fence-agents-redfish", "fence-agents-apc-snmp", "crmsh", "libxml2-utils", "iputils-arping", "e2fsprogs", "ethtool", "kmod",
}

// Root is the root of the nodes that the environment wants: the variable ROOT names it, and with SUITE it is made there first,
// of that Debian release. Without them it is "", the machine's own.
func Root(t testing.TB) string {
	t.Helper()
	root, suite := os.Getenv("ROOT"), os.Getenv("SUITE")
	if suite != "" {
		if root == "" {
			t.Fatal("SUITE without ROOT: where shall it be made?")
		}
		if err := cluster.Debootstrap(t.Context(), suite, root, rootPackages...); err != nil {
			t.Fatal(err)
		}
	}
	return root
}
