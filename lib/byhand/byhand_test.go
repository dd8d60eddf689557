package byhand

import (
	"testing"

	"github.com/openstack-ocf/agents/lib/pacemaker"
	"github.com/openstack-ocf/agents/ocf"
)

func TestElsewhere(t *testing.T) {
	on := func(id, role string, nodes ...string) pacemaker.Resource {
		return pacemaker.Resource{ID: id, Role: role, Nodes: nodes}
	}
	s := &pacemaker.Status{Resources: []pacemaker.Resource{
		on("db", "Started", "node1"), on("ip", "Stopped"), on("fs", "Starting", "node2"), on("twice", "Started", "node1", "node2"),
		on("lb", "Started", "node1"), on("lb", "Started", "node2"),
		on("mq", "Promoted", "node1"), on("mq", "Unpromoted", "node2"),
		on("old", "Slave", "node1"), on("old", "Master", "node2"),
	}}
	for _, c := range []struct{ id, action, here, want string }{
		{"db", ocf.Start, "node2", "node1"},
		{"db", ocf.Start, "node1", ""},
		{"ip", ocf.Start, "node2", ""},
		{"fs", ocf.Start, "node1", "node2"},
		{"twice", ocf.Start, "node1", "node2"},
		{"lb", ocf.Start, "node3", ""},
		{"mq", ocf.Start, "node3", ""},
		{"mq", ocf.Promote, "node2", "node1"},
		{"mq", ocf.Promote, "node1", ""},
		{"old", ocf.Promote, "node1", "node2"},
		{"unknown", ocf.Start, "node1", ""},
	} {
		if got := elsewhere(s, c.id, c.action, c.here); got != c.want {
			t.Errorf("%s of %s on %s: %q has it, want %q", c.action, c.id, c.here, got, c.want)
		}
	}
}
