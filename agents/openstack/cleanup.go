package openstack

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/files"
	"github.com/openstack-ocf/agents/lib/openstack"
	"github.com/openstack-ocf/agents/lib/service"
	"github.com/openstack-ocf/agents/ocf"
)

// cleanings are what the companion can clean: with which program, and the
// agent that must not run while it does.
func cleanings() map[string]cleaning {
	return map[string]cleaning{
		"ovs":         {[]string{"neutron-ovs-cleanup"}, "neutron-openvswitch-agent"},
		"linuxbridge": {[]string{"neutron-linuxbridge-cleanup"}, "neutron-linuxbridge-agent"},
		"l3":          {[]string{"neutron-netns-cleanup", "--agent-type=l3", "--force"}, "neutron-l3-agent"},
		"dhcp":        {[]string{"neutron-netns-cleanup", "--agent-type=dhcp", "--force"}, "neutron-dhcp-agent"},
	}
}

type cleaning struct {
	argv  []string
	agent string
}

// cleanup is the companion of neutron's agents: it runs nothing, and its stop
// removes what they left on the node. See l2 for why it is an agent of its own.
type cleanup struct {
	config    []string
	clean     []string
	user, log string
}

func newCleanup() ocf.Agent {
	c := &cleanup{}
	return ocf.Agent{
		Name: "neutron-cleanup", Version: "1.0",
		Short: "Removes what neutron's agents leave on a node",
		Long: `Stands before neutron's agents in a group, and removes their ports, network namespaces and
the processes in them when the group leaves the node:

  pcs resource group add l2 cleanup l2-agent

An agent that is restarted in place finds all as it was, and traffic goes on meanwhile: the
cluster does not stop what is before it. When the agents leave the node, the cluster stops this
one last, and it cleans. A failure of cleaning fails the stop, so that the node is fenced rather
than left with addresses that another node has taken over. What stands before this one in the
group restarts it too when it is recovered; keep such things out of this group.`,
		Parameters: []ocf.Parameter{
			{
				Name: "clean", Value: ocf.Words(&c.clean), Default: "ovs", Short: "What to clean",
				Long: "Of which agents: ovs, linuxbridge, l3, dhcp; several are separated by spaces, and cleaned in that order.",
			},
			{
				Name: "config", Value: ocf.Words(&c.config), Default: neutronConf, Short: "Configuration files",
				Long: "Passed on as --config-file each, such as /etc/neutron/neutron.conf /etc/neutron/l3_agent.ini.",
			},
			{
				Name: "user", Value: ocf.String(&c.user), Default: "neutron", Short: "User that cleans",
				Long: "As for the agents: it gets root's powers from root_helper.",
			},
			{
				Name: "log", Value: ocf.Path(&c.log), Default: "/var/log/neutron/neutron-cleanup.log", Short: "Log file",
				Long: "For what the cleaning programs print.",
			},
		},
		Validate: c.validate,
		Actions: []ocf.Action{
			{Name: ocf.Start, Timeout: 20 * time.Second, Run: c.start},
			{Name: ocf.Stop, Timeout: 120 * time.Second, Run: c.stop},
			{Name: ocf.Monitor, Timeout: 20 * time.Second, Interval: 60 * time.Second, Run: c.monitor},
		},
	}
}

func (c *cleanup) validate(*ocf.Request) error {
	for _, what := range c.clean {
		if _, ok := cleanings()[what]; !ok {
			return ocf.Errorf(ocf.NotConfigured, "clean: %q is none of ovs, linuxbridge, l3, dhcp", what)
		}
	}
	return nil
}

// state is a file that says that this node has something to clean, as long as
// it is up: a reboot clears both.
func state(r *ocf.Request) string {
	return filepath.Join(r.TempDir(), "openstack-neutron-cleanup-"+r.Instance+".state")
}

func (c *cleanup) start(ctx context.Context, r *ocf.Request) error {
	for _, what := range c.clean {
		if _, err := r.LookPath(cleanings()[what].argv[0]); err != nil {
			return err // better known before there is anything to clean
		}
	}
	if err := os.MkdirAll(r.TempDir(), 0o755); err != nil {
		return ocf.Errorf(ocf.Generic, "%w", err)
	}
	if err := os.WriteFile(state(r), nil, 0o600); err != nil {
		return ocf.Errorf(ocf.Generic, "%w", err)
	}
	return nil
}

func (c *cleanup) monitor(_ context.Context, r *ocf.Request) error {
	if !files.Exists(state(r)) {
		return ocf.Errorf(ocf.NotRunning, "not started on this node since it was booted")
	}
	return nil
}

func (c *cleanup) stop(ctx context.Context, r *ocf.Request) error {
	if !files.Exists(state(r)) {
		return nil
	}
	known := slices.DeleteFunc(slices.Clone(c.clean), func(w string) bool { return cleanings()[w].argv == nil })
	for i, what := range known {
		todo := cleanings()[what]
		_, script := daemon.Program(todo.agent)
		p, err := daemon.Identity{Name: todo.agent, Executables: []string{todo.agent, "python*"}, Test: script}.Find(ctx)
		if err != nil {
			return ocf.Errorf(ocf.Generic, "cannot tell whether %s still runs: %w", todo.agent, err)
		}
		if p != nil {
			r.Log.Warn("not cleaned, for the agent still runs: order it after this resource", "what", what, "agent", p.String())
			_ = p.Close()
			continue
		}
		// Each has a share of the time that is left.
		share, cancel := context.WithTimeout(ctx, service.Remaining(ctx)/time.Duration(len(known)-i))
		argv := slices.Clone(todo.argv)
		for _, file := range c.config {
			argv = append(argv, "--config-file="+file)
		}
		err = openstack.Clean(share, r, c.user, c.log, argv...)
		cancel()
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	if err := os.Remove(state(r)); err != nil {
		return ocf.Errorf(ocf.Generic, "%w", err)
	}
	return nil
}
