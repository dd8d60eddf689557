package main

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/openstack-ocf/agents/lib/doctor"
	"github.com/openstack-ocf/agents/lib/pacemaker"
	"github.com/openstack-ocf/agents/lib/status"
	"github.com/openstack-ocf/agents/lib/swap"
	"github.com/openstack-ocf/agents/packaging"
)

const doctorHelp = `Says in one list what is wrong with this node and this cluster, or soon would be: what the cluster shows, what the
agents say of their parameters and of this node (validate-all), operations that are less than advised, and what could be
swapped or stands in a swap's way. It changes nothing. Run it on every node, as root: the agents look at the one it runs on.
A member of the group haclient is told the rest.

Exit codes: 0 nothing, or only notes; 1 Pacemaker does not answer; 2 wrong usage; 3 a warning; 4 an error.`

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name: "doctor", Usage: "say what is wrong with this node and this cluster", Description: doctorHelp,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "json", Usage: "write one JSON object"},
			&cli.DurationFlag{Name: "within", Value: time.Minute, Usage: "how long it may take"},
		},
		OnUsageError: func(_ *cli.Context, err error, _ bool) error { return cli.Exit(err, statusUsage) },
		Action:       runDoctor,
	}
}

func runDoctor(c *cli.Context) error {
	if c.NArg() > 0 {
		return cli.Exit("doctor takes no arguments, only options", statusUsage)
	}
	ctx, cancel := context.WithTimeout(c.Context, c.Duration("within"))
	defer cancel()
	report, err := status.Read(ctx, status.Advice(packaging.Guide))
	if err != nil {
		return err
	}
	d := &doctor.Doctor{Agents: agents(), Report: report, Root: os.Geteuid() == 0}
	if d.CIB, err = pacemaker.CIB(ctx); err != nil {
		return err
	}
	if d.Node, err = localNode(ctx, report); err != nil {
		return err
	}
	if d.Root && len(report.Cluster.Frozen) == 0 && pacemaker.Supported(ctx) == nil { // else there is no swap
		s := &swap.Swap{Agents: takeovers(), Version: version, Dir: swap.Dir, Within: swap.Within, Say: func(string, ...any) {}}
		d.Plan = s.Plan
	}
	found := d.Examine(ctx)
	if c.Bool("json") {
		e := json.NewEncoder(c.App.Writer)
		e.SetIndent("", "  ")
		err = e.Encode(map[string]any{"format": doctor.Format, "node": d.Node, "findings": found})
	} else {
		colour := colours()
		err = doctor.WriteText(c.App.Writer, found, func(level string) string {
			if !colour {
				return level
			}
			return "\x1b[" + map[string]string{doctor.Error: "1;31", doctor.Warning: "33", doctor.Note: "2"}[level] + "m" + level + "\x1b[0m"
		})
	}
	if err != nil {
		return err
	}
	switch doctor.Worst(found) {
	case doctor.Error:
		return cli.Exit("", statusFailed)
	case doctor.Warning:
		return cli.Exit("", statusDegraded)
	}
	return nil
}

// localNode is this node's name in the cluster; where a daemon is frozen nobody may answer, and it is the host's if that is one.
func localNode(ctx context.Context, report *status.Report) (string, error) {
	host, err := os.Hostname()
	if err == nil && len(report.Cluster.Frozen) > 0 && slices.ContainsFunc(report.Nodes, func(n status.Node) bool { return n.Name == host }) {
		return host, nil
	}
	return pacemaker.LocalNode(ctx)
}
