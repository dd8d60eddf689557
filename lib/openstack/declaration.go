// Package openstack makes a resource agent out of the declaration of an
// OpenStack service: how its process is run and found, in which table it leaves
// its heartbeat, on which topic of the message bus or port of HTTP it answers.
//
//	func scheduler() ocf.Agent {
//		return openstack.Declaration{
//			Agent: "nova-scheduler", Title: "Nova scheduler", Project: "nova", Binary: "nova-scheduler",
//			Config: "/etc/nova/nova.conf", Row: openstack.NovaRow, Bus: openstack.Bus{Topic: "scheduler", BaseAPI: true},
//		}.New()
//	}
//
// A service is judged by what it does, and what it depends on is not held
// against it (health.go). The one thing trusted of a heartbeat row is a report
// that the process made itself, after its start: rows stay fresh for a minute
// after a death. Where the row does not settle it, the service is asked over its
// bus. A database or a bus that does not answer the agent either leaves the
// service degraded: a restart would only hurt.
package openstack

import (
	"fmt"
	"strings"
	"time"

	"github.com/openstack-ocf/agents/lib/rpcping"
	"github.com/openstack-ocf/agents/lib/service"
	"github.com/openstack-ocf/agents/ocf"
)

// Declaration is one service.
type Declaration struct {
	Agent   string // its name in the cluster: "cinder-schedule"
	Title   string // its name for people: "Cinder scheduler"
	Long    string // a paragraph for the meta-data, on what is particular about it; may be empty
	Project string // "cinder": the user it runs as, the control exchange, folders under /var/log and /run

	Binary string // the default of the parameter binary
	Config string // the default of config, the first --config-file
	Plugin Plugin // a second --config-file
	Bus    Bus
	Row    Row
	API    API

	// Backends names the option that lists a service's backends; it then has a
	// row and a topic for each, under host@backend.
	Backends string
	// Probe is what level 20 asks over the bus instead; its topic and host are the service's.
	Probe rpcping.Request
	// Cache: level 20 looks whether the memcached servers of [cache] answer.
	Cache bool
	// Switch: it configures Open vSwitch on this node, and is nothing without it.
	Switch bool
	// Cleanup names the program that removes what the service leaves on the node.
	Cleanup string
	// Variants are other services under the same agent, by the base name that
	// the parameter binary has; of each, what differs.
	Variants map[string]Variant
	// Single says why it must run on one node at a time, if so.
	Single string
	// Names are shorter ones that people have for the agent.
	Names []string
	// Older are further parameters of the older shell agent, by name.
	Older string
}

// Plugin is the second configuration file of neutron's services.
type Plugin struct {
	Param string // the name of the parameter; "" if there is none
	// Files are where the file is by default: the first that exists.
	Files []string
}

// Bus is where a service answers on its message bus; the zero Bus is nowhere.
type Bus struct {
	Topic    string
	Exchange string // its default of control_exchange; "" is the project's name
	BaseAPI  bool   // it has nova's baseapi.ping
	// Quiet is a request that does nothing, for a service without baseapi where
	// rpc_ping_enabled is off: anything unknown leaves a traceback in its log.
	Quiet rpcping.Request
}

// API is where a service answers HTTP; the zero API is nowhere. Options are
// "group.option", a current name first.
type API struct {
	Host, Port []string // options
	Default    int      // port
	TLS        []string // options of which any that is set means HTTPS
}

// Variant is what differs for another binary.
type Variant struct {
	Plugin  []string // Files of the Plugin
	Bus     Bus
	Switch  bool
	Cleanup string
}

// The values of the parameter cleanup.
const (
	never  = "never"
	onStop = "on-stop"
)

// params are the agent's parameters.
type params struct {
	unit, binary, config, plugin, user, pid, log, url, web, cleanup string
	consolePort                                                     int
	zeromq                                                          bool
	additional                                                      []string
	unused                                                          string
}

// direct are the parameters that say how the service is run.
var direct = []string{"user", "pid", "log", "web", "additional_parameters"}

// agent is what was declared, and what was given for this resource.
type agent struct {
	declaration Declaration
	given       params
}

// New makes the agent.
func (d Declaration) New() ocf.Agent {
	a := &agent{declaration: d}
	run := service.Of(a.daemon)
	// A broker that came back is found again by the services within half a minute.
	monitors := []ocf.Action{{Name: ocf.Monitor, Timeout: 100 * time.Second, Interval: 10 * time.Second, Run: run.Monitor}}
	if d.Bus.Topic != "" {
		monitors = append(monitors, ocf.Action{Name: ocf.Monitor, Timeout: 60 * time.Second, Interval: 30 * time.Second, Depth: 10, Run: run.Monitor})
	}
	if d.Probe.Method != "" || d.Cache {
		monitors = append(monitors, ocf.Action{Name: ocf.Monitor, Timeout: 60 * time.Second, Interval: 60 * time.Second, Depth: 20, Run: run.Monitor})
	}
	return ocf.Agent{
		Name: d.Agent, Version: "1.0",
		Short:      d.Title,
		Long:       d.describe(),
		Parameters: a.parameters(),
		Validate: func(r *ocf.Request) error {
			return service.UnitAlone(r, a.given.unit, direct...)
		},

		StopUnidentified: run.StopUnidentified,
		Actions: append([]ocf.Action{
			{Name: ocf.Start, Timeout: 120 * time.Second, Run: run.Start},
			{Name: ocf.Stop, Timeout: 60 * time.Second, Run: run.Stop},
			{Name: ocf.ReloadAgent, Timeout: 20 * time.Second, Run: service.Reload},
			{Name: ocf.ValidateAll, Timeout: 20 * time.Second, Run: run.ValidateAll},
		}, monitors...),
	}
}

// describe is the agent's long description.
func (d Declaration) describe() string {
	paragraphs := []string{fmt.Sprintf("Manages %s (%s).", d.Title, d.Binary)}
	if d.Long != "" {
		paragraphs = append(paragraphs, d.Long)
	}
	looks := []string{"The monitor's level 0 is enough alone. The process is found by its program and configuration files,\nwhatever happened to pid files, and is not frozen."}
	if d.API.Default != 0 {
		looks = append(looks, "It answers HTTP where its configuration says that it listens.")
	}
	if d.Switch {
		looks = append(looks, "ovs-vswitchd, without which it does nothing, answers.")
	}
	if d.Row != "" {
		looks = append(looks, "It has reported to the database since it was started, and lately.")
	}
	if d.Bus.Topic != "" {
		looks = append(looks, "Level 10 has it answer over the message bus; so has level 0 where its report or its connection is missing.")
	}
	paragraphs = append(paragraphs, strings.Join(looks, "\n"))
	if d.Row != "" || d.Bus.Topic != "" {
		paragraphs = append(paragraphs, "While its database or message bus does not answer this node either, it is degraded, and not restarted.")
	}
	return strings.Join(paragraphs, "\n\n")
}
