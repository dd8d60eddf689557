package swap

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/openstack-ocf/agents/ocf"
)

// ScoutAgent is the name of the agent that [Scout] declares.
const ScoutAgent = "swap-scout"

// Scout declares an agent by which the swap asks all nodes, through the cluster, whether they have the agents in this
// version, reaches the systemd units of other nodes, and has a second node watch. It manages nothing: its monitor always
// answers that it does not run, its start only writes or removes drop-ins of units or leaves a guard, and its stop does
// nothing. No agent of a service could be asked in its place: one that found the service running would be told to stop it
// when the scout is removed.
func Scout(version string) ocf.Agent {
	var wanted string
	var agents, claimed, disclaimed, handed []string
	var watched string
	return ocf.Agent{
		Name: ScoutAgent, Version: "1.0",
		Short: "What `openstack-ocf swap` asks nodes by (manages nothing)",
		Long:  "Used by the command `openstack-ocf swap`, and by nobody else, for seconds at a time. Its monitor answers\nthat it does not run, and says so where the wanted version of the agents is not installed.",
		Parameters: []ocf.Parameter{
			{
				Name: "version", Value: ocf.String(&wanted), Required: true, Short: "Version wanted",
				Long: "As `openstack-ocf --version` says it.",
			},
			{Name: "agents", Value: ocf.Words(&agents), Short: "Agents wanted", Long: "Their names, separated by spaces."},
			{Name: "claim", Value: ocf.Words(&claimed), Short: "Units to claim", Long: "Start has systemd not restart the services of these units any more."},
			{Name: "disclaim", Value: ocf.Words(&disclaimed), Short: "Units to disclaim", Long: "Start takes that back of these."},
			{Name: "hand_over", Value: ocf.Words(&handed), Short: "Units of systemd: resources", Long: "Start makes these Pacemaker's own, as its class systemd does."},
			{Name: "watch", Value: ocf.String(&watched), Secret: true, Short: "Swap to watch over", Long: "Start leaves a guard of it behind, on this node."},
		},
		Actions: []ocf.Action{
			{Name: ocf.Start, Timeout: 60 * time.Second, Run: func(ctx context.Context, _ *ocf.Request) error {
				for what, units := range map[string][]string{"claim": claimed, "disclaim": disclaimed, "hand_over": handed} {
					for _, unit := range units {
						if err := unitActions()[what](ctx, unit); err != nil {
							return err
						}
					}
				}
				if watched == "" {
					return nil
				}
				return watchOver(ctx, watched)
			}},
			{Name: ocf.Stop, Timeout: 20 * time.Second, Run: func(context.Context, *ocf.Request) error { return nil }},
			{Name: ocf.Monitor, Timeout: 20 * time.Second, Interval: 10 * time.Second, Run: func(_ context.Context, r *ocf.Request) error {
				if wanted != version {
					return ocf.Errorf(ocf.NotInstalled, "this node has version %s, and not %s", version, wanted) // Pacemaker keeps 128 bytes
				}
				dir := filepath.Join(cmp.Or(r.Env("OCF_ROOT"), "/usr/lib/ocf"), "resource.d", Provider)
				for _, name := range agents {
					if !thisProgram(filepath.Join(dir, name)) {
						return ocf.Errorf(ocf.NotInstalled, "%s is missing, or not of version %s", filepath.Join(dir, name), version)
					}
				}
				return ocf.Errorf(ocf.NotRunning, "this node has the agents in version %s", version)
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
