package byhand

import (
	"strings"
	"testing"

	"github.com/openstack-ocf/agents/lib/pacemaker"
	"github.com/openstack-ocf/agents/ocf"
)

func TestForbidden(t *testing.T) {
	on := func(id, role string, nodes ...string) pacemaker.Resource {
		return pacemaker.Resource{ID: id, Role: role, Nodes: nodes, Managed: true}
	}
	disabled, unmanaged := on("disabled", "Stopped"), on("unmanaged", "Stopped")
	disabled.Disabled, unmanaged.Managed = true, false
	resources := []pacemaker.Resource{
		on("db", "Started", "node1"), on("ip", "Stopped"), on("fs", "Starting", "node2"), on("twice", "Started", "node1", "node2"),
		on("lb", "Started", "node1"), on("lb", "Stopped"),
		on("mq", "Promoted", "node1"), on("mq", "Unpromoted", "node2"),
		on("old", "Slave", "node1"), on("old", "Master", "node2"),
		disabled, unmanaged,
	}
	for _, c := range []struct {
		id, action, here string
		maintenance      bool
		want             string
	}{
		{"db", ocf.Start, "node2", false, "the cluster has db on node1: "},
		{"db", ocf.Start, "node2", true, "the cluster has db on node1: "},
		{"db", ocf.Start, "node1", false, ""},
		{"ip", ocf.Start, "node2", false, "pcs resource disable ip first"},
		{"ip", ocf.Start, "node2", true, ""},
		{"disabled", ocf.Start, "node1", false, ""},
		{"unmanaged", ocf.Start, "node1", false, ""},
		{"fs", ocf.Start, "node1", false, "the cluster has fs on node2: "},
		{"twice", ocf.Start, "node1", false, "the cluster has twice on node2: "},
		{"lb", ocf.Start, "node3", false, ""},
		{"mq", ocf.Start, "node3", false, ""},
		{"mq", ocf.Promote, "node2", false, "the cluster has mq on node1: "},
		{"mq", ocf.Promote, "node1", false, ""},
		{"old", ocf.Promote, "node1", false, "the cluster has old on node2: "},
		{"unknown", ocf.Start, "node1", false, ""},
	} {
		s := &pacemaker.Status{Maintenance: c.maintenance, Resources: resources}
		if got := forbidden(s, c.id, c.action, c.here); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s of %s on %s, maintenance %v: %q, want %q", c.action, c.id, c.here, c.maintenance, got, c.want)
		}
	}
}
