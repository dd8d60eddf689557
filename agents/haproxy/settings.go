package haproxy

import (
	"path/filepath"
	"strings"

	"github.com/openstack-ocf/agents/lib/haproxy"
	"github.com/openstack-ocf/agents/lib/service"
	"github.com/openstack-ocf/agents/ocf"
)

// settings are what holds on this node: the parameters, what follows from
// them, and the configuration.
type settings struct {
	config, pid    string
	dir            string // for what follows
	master, worker string // sockets of the runtime API
	extra          string // configuration file with the worker's socket
	refused        string // file with why the last reload was refused
	haproxy.Config
	unreadable error // why Config is empty
}

func (p *params) settings() settings {
	s := settings{config: p.config, pid: p.pid, dir: strings.TrimSuffix(p.pid, ".pid") + ".ocf"}
	s.master = filepath.Join(s.dir, "master.sock")
	s.worker = filepath.Join(s.dir, "worker.sock")
	s.extra = filepath.Join(s.dir, "stats.cfg")
	s.refused = filepath.Join(s.dir, "refused")
	s.Config, s.unreadable = haproxy.ReadConfig(s.config)
	return s
}

// files are the options that name configuration files.
func (s settings) files() []string { return []string{"-f", s.config, "-f", s.extra} }

// args are HAProxy's command line, without the program.
func (p *params) args(s settings) []string {
	args := append([]string{"-W", "-D", "-S", s.master + ",mode,600", "-p", s.pid}, s.files()...)
	return append(args, p.additional...)
}

// service is HAProxy for what all services have in common.
func (a *agent) service(s settings) service.Service {
	return service.Service{Name: "HAProxy", On: s.pid, Identity: a.identity(s)}
}

func (p *params) program(r *ocf.Request) (string, error) { return r.LookPath(p.binary) }
