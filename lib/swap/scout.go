package swap

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/openstack-ocf/agents/ocf"
)

// ScoutAgent is the name of the agent that [Scout] declares.
const ScoutAgent = "swap-scout"

// Scout declares an agent by which the swap asks all nodes, through the cluster, whether they have the agents in this
// version. It manages nothing: its resource is only probed, always answers that it does not run, and its stop does
// nothing. No agent of a service could be asked in its place: one that found the service running would be told to
// stop it when the scout is removed.
func Scout(version string) ocf.Agent {
	var wanted string
	var agents []string
	nothing := func(context.Context, *ocf.Request) error { return nil }
	return ocf.Agent{
		Name: ScoutAgent, Version: "1.0",
		Short: "Tells `openstack-ocf swap` which nodes have the agents (manages nothing)",
		Long:  "Used by the command `openstack-ocf swap`, and by nobody else. Its resource is never started. Its monitor\nanswers that it does not run; where the wanted version of the agents is not installed, it says so.",
		Parameters: []ocf.Parameter{
			{
				Name: "version", Value: ocf.String(&wanted), Required: true, Short: "Version wanted",
				Long: "As `openstack-ocf --version` says it.",
			},
			{
				Name: "agents", Value: ocf.Words(&agents), Required: true, Short: "Agents wanted",
				Long: "Their names, separated by spaces.",
			},
		},
		Actions: []ocf.Action{
			{Name: ocf.Start, Timeout: 20 * time.Second, Run: func(context.Context, *ocf.Request) error {
				return ocf.Errorf(ocf.Unimplemented, "this agent manages nothing: it is for `openstack-ocf swap` alone")
			}},
			{Name: ocf.Stop, Timeout: 20 * time.Second, Run: nothing},
			{Name: ocf.Monitor, Timeout: 20 * time.Second, Interval: 10 * time.Second, Run: func(_ context.Context, r *ocf.Request) error {
				if wanted != version {
					return ocf.Errorf(ocf.Installed, "this node has version %s of the agents, and the swap is made with version %s: install the same package on all nodes", version, wanted)
				}
				dir := filepath.Join(cmp.Or(r.Env("OCF_ROOT"), "/usr/lib/ocf"), "resource.d", Provider)
				for _, name := range agents {
					if !thisProgram(filepath.Join(dir, name)) {
						return ocf.Errorf(ocf.Installed, "%s is missing on this node, or is not of this version of the agents: install the same package on all nodes", filepath.Join(dir, name))
					}
				}
				return ocf.Errorf(ocf.NotRunning, "this node has %s in version %s", strings.Join(agents, ", "), version)
			}},
		},
	}
}

func thisProgram(path string) bool {
	a, err := os.Stat(path)
	if err != nil {
		return false
	}
	b, err := os.Stat("/proc/self/exe")
	return err == nil && os.SameFile(a, b)
}
