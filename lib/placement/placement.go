// Package placement is what an agent says of itself to those who lay out a control plane (package plan): on how many
// nodes its service may run, by which names people call it, and what else follows from where it stands.
package placement

import (
	"net/netip"

	"github.com/openstack-ocf/agents/ocf"
)

// Agent is an agent and its place.
type Agent struct {
	New func() ocf.Agent
	Place
}

// Place is where an agent's service may run. The zero Place is on one node or on all, as one likes.
type Place struct {
	Names []string // shorter ones than the agent's own
	// Single says why it must run on one node at a time, if so: it cannot be a clone.
	Single string
	// Promotable are the parameters that make a promotable clone of it, from the addresses of the nodes; nil: it cannot
	// be one.
	Promotable func(nodes []netip.Addr, parameter func(name string) string) []Setting
	// Port is where it listens as it comes, on all addresses, and PortParameter the parameter that says another one.
	Port          int
	PortParameter string
	// HoldsAddress is set of the agent that holds floating IPs, and MountsStorage of the one that mounts storage: it
	// tells of which types of file system.
	HoldsAddress  bool
	MountsStorage func(fstype string) bool
	// Confined says what SELinux or AppArmor would keep the service from on this node, "" if nothing. root is put before
	// every path.
	Confined func(root string, parameter func(name string) string) string
	// Balancer is set of an agent that hands on the requests to API services.
	Balancer *Balancer
}

// Setting is a parameter with its value.
type Setting struct{ Name, Value string }

// Balancer is how a load balancer is configured.
type Balancer struct {
	// File is where it looks for its configuration, by its parameters.
	File func(parameter func(name string) string) string
	// Config is the text of that file.
	Config func([]Frontend) string
	// Ours tells whether a file's text was written by Config, by this version or another.
	Ours func(text string) bool
	// Check is the command that finds faults in a file, whose name follows it.
	Check []string
}

// Frontend is an API service at the floating IP, and those that serve it.
type Frontend struct {
	Name    string
	Bind    netip.AddrPort
	Check   string // path of a request that tells whether a server is well
	Healthy string // what its answer has to be, as in HAProxy's http-check expect
	Tunnel  bool   // of its websockets: for hours, and to the same server
	Servers []Server
}

// Server is one that serves an API.
type Server struct {
	Name string
	At   netip.AddrPort
}
