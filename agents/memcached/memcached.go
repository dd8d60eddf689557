// Package memcached is the agent ocf:openstack:memcached, the smallest of all and the one to copy: CONTRIBUTING.md
// walks through it.
package memcached

import (
	"context"
	"errors"
	"net"
	"strconv"
	"time"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/memcache"
	"github.com/openstack-ocf/agents/lib/service"
	"github.com/openstack-ocf/agents/ocf"
)

const long = `Manages one memcached, which must run on one node at a time where what it remembers counts:
nova-consoleauth and others keep their tokens in it.

The monitor's level 0 is enough alone: the process is found by the port that it listens on, and answers.
Level 10 has it store a value and give it back, and looks how many connections are left.`

// agent holds the parameters.
type agent struct {
	unit, binary, user, listen, log         string
	port, memory, conns, connectionsPercent int
	additional                              []string
}

// direct are the parameters that say how memcached is run.
var direct = []string{"binary", "user", "memory", "max_connections", "log", "additional_parameters"}

// New declares the agent.
func New() ocf.Agent {
	a := &agent{}
	run := service.Of(a.daemon)
	return ocf.Agent{
		Name: "memcached", Version: "1.0", Short: "memcached on one node at a time", Long: long,
		Parameters: []ocf.Parameter{
			service.UnitParameter(&a.unit, "memcached.service"),
			{Name: "binary", Value: ocf.String(&a.binary), Default: "memcached", Short: "Server binary", Long: "A path, or a name that is looked for in the system's directories."},
			{Name: "user", Value: ocf.String(&a.user), Default: "nobody", Short: "User that it runs as", Long: "The packages have memcache (Debian) or memcached (EL)."},
			{Name: "listen", Value: ocf.String(&a.listen), Default: "127.0.0.1", Short: "Address to listen on", Long: "Such as the floating IP that is in the same group. Whoever reaches it may read and write everything."},
			{Name: "port", Value: ocf.Int(&a.port, 1, 65535), Default: "11211", UniqueGroup: "port", Short: "TCP port to listen on", Long: "The process is found by it."},
			{Name: "memory", Value: ocf.Int(&a.memory, 1, 1<<20), Default: "64", Short: "Memory for values (MiB)", Long: "When it is used up, what was not asked for longest is forgotten."},
			{Name: "max_connections", Value: ocf.Int(&a.conns, 1, 1<<20), Default: "1024", Short: "Connections at most", Long: "More are refused."},
			{Name: "degraded_connections_percent", Value: ocf.Int(&a.connectionsPercent, 0, 100), Default: "90", Reloadable: true, Short: "Connections in use from which on it is degraded (percent)", Long: "Looked at by level 10. 0 never says so."},
			{Name: "log", Value: ocf.Path(&a.log), Default: "/var/log/memcached.log", Short: "File for its output", Long: "What it writes to standard output and error."},
			{Name: "additional_parameters", Value: ocf.Words(&a.additional), Short: "More options for its command line", Long: "Separated by spaces, quoted as in a shell."},
		},
		Validate: func(r *ocf.Request) error {
			return service.UnitAlone(r, a.unit, direct...)
		},
		Actions: []ocf.Action{
			{Name: ocf.Start, Timeout: 20 * time.Second, Run: run.Start},
			{Name: ocf.Stop, Timeout: 20 * time.Second, Run: run.Stop},
			{Name: ocf.Monitor, Timeout: 80 * time.Second, Interval: 5 * time.Second, Run: run.Monitor},
			{Name: ocf.Monitor, Timeout: 20 * time.Second, Interval: 30 * time.Second, Depth: 10, Run: run.Monitor},
			{Name: ocf.ReloadAgent, Timeout: 20 * time.Second, Run: service.Reload},
			{Name: ocf.ValidateAll, Timeout: 20 * time.Second, Run: run.ValidateAll},
		},
		StopUnidentified: run.StopUnidentified,
	}
}

// daemon is all there is to know about memcached.
func (a *agent) daemon(r *ocf.Request) service.Daemon {
	port := strconv.Itoa(a.port)
	return service.Daemon{
		Service: service.Service{
			Name: "memcached", On: net.JoinHostPort(a.listen, port), Answers: a.answers,
			Identity: daemon.Identity{
				Name: "memcached", Executables: []string{a.binary},
				Test: daemon.Any(daemon.HasOption(port, "-p", "--port"), daemon.Listens(uint16(a.port))),
			},
		},
		Unit: a.unit, User: a.user,
		Binary: func() (string, error) { return r.LookPath(a.binary) },
		Launch: func(_ context.Context, binary string) (daemon.Command, error) { // as root, who may raise its limits
			args := []string{"-u", a.user, "-l", a.listen, "-p", port, "-m", strconv.Itoa(a.memory), "-c", strconv.Itoa(a.conns)}
			return daemon.Command{Path: binary, Args: append(args, a.additional...), Output: a.log, KillUnready: true}, nil
		},
		Questions: []service.Question{{Level: 10, Ask: a.remembers}},
	}
}

// answers is the question of level 0, and what a start waits for.
func (a *agent) answers(ctx context.Context) error {
	return a.ask(ctx, func(s *memcache.Server) error { _, err := s.Version(); return err })
}

// remembers is what level 10 adds.
func (a *agent) remembers(ctx context.Context, p *daemon.Process) error {
	return a.ask(ctx, func(s *memcache.Server) error {
		if err := s.Remember("openstack-ocf."+strconv.Itoa(p.PID), "remembered", time.Minute); err != nil {
			return err
		}
		used, most, err := s.Connections()
		if err == nil && a.connectionsPercent > 0 && used*100 >= most*a.connectionsPercent {
			return ocf.Errorf(ocf.Degraded, "%d of %d connections are in use (degraded from %d%%): find out who holds them, or raise max_connections", used, most, a.connectionsPercent)
		}
		return err
	})
}

func (a *agent) ask(ctx context.Context, question func(*memcache.Server) error) error {
	err := memcache.Ask(ctx, net.JoinHostPort(a.listen, strconv.Itoa(a.port)), question)
	switch {
	case err == nil || ocf.CodeOf(err) == ocf.Degraded:
		return err
	case errors.As(err, new(*memcache.RefusedError)): // it is alive, and says so itself
		return ocf.Errorf(ocf.Degraded, "%w", err)
	}
	return ocf.Errorf(ocf.Generic, "does not serve: %w", err)
}
