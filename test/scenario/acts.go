package scenario

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/openstack-ocf/agents/lib/haproxy"
	"github.com/openstack-ocf/agents/test/cluster"
)

// The acts of every play.
var (
	Kill = Act{Name: "kill", Title: "kill -9 of the server", Do: func(_ context.Context, s *Stage, _ *Actor, d Daemon) error {
		s.say("on " + d.Node + ": # kill -9 " + strconv.Itoa(d.PID))
		return d.Signal(syscall.SIGKILL)
	}}
	Freeze = Act{Name: "freeze", Title: "server frozen (SIGSTOP)", Do: func(_ context.Context, s *Stage, _ *Actor, d Daemon) error {
		s.say("on " + d.Node + ": # kill -STOP " + strconv.Itoa(d.PID))
		return d.Signal(syscall.SIGSTOP)
	}}
	Restart = Act{Name: "restart", Title: "restart in place", Do: func(ctx context.Context, s *Stage, a *Actor, _ Daemon) error {
		return s.PCS(ctx, "resource", "restart", a.ID)
	}}
	Move = Act{Name: "move", Title: "planned move", Moves: true, Do: func(ctx context.Context, s *Stage, _ *Actor, _ Daemon) error {
		return s.PCS(ctx, "resource", "move", GroupID)
	}}
	Standby = Act{Name: "standby", Title: "standby of the active node", Moves: true, Do: func(ctx context.Context, s *Stage, _ *Actor, d Daemon) error {
		return s.PCS(ctx, "node", "standby", d.Node)
	}}
	PowerCut = Act{Name: "power cut", Title: "power cut of the active node", Moves: true, Do: func(ctx context.Context, s *Stage, _ *Actor, d Daemon) error {
		s.say("pulling the mains plug of " + d.Node)
		return s.Cluster.Node(d.Node).PowerOff(ctx)
	}}
	// Shutdown is how an operator shuts a node down.
	Shutdown = Act{Name: "shutdown of the node", Title: "shutdown of the active node", Moves: true, Do: func(ctx context.Context, s *Stage, _ *Actor, d Daemon) error {
		n := s.Cluster.Node(d.Node)
		s.say("on " + n.Name + ": # systemctl poweroff")
		_, _ = n.Exec(ctx, "systemctl", "--no-block", "poweroff") // whose answer may be cut short
		for ctx.Err() == nil {
			if alive, err := n.Alive(ctx); err == nil && !alive {
				return nil
			}
			time.Sleep(50 * time.Millisecond)
		}
		return fmt.Errorf("%s does not go down: %w", n.Name, ctx.Err())
	}}
	RestartPacemaker = Act{Name: "restart of pacemaker.service", Title: "restart of pacemaker.service on the active node", Moves: true, Do: func(ctx context.Context, s *Stage, _ *Actor, d Daemon) error {
		s.say("on " + d.Node + ": # systemctl restart pacemaker.service")
		_, err := s.Cluster.Node(d.Node).Exec(ctx, "systemctl", "restart", "pacemaker.service")
		return err
	}}
	CableCut = Act{Name: "cable cut", Title: "network cable of the active node pulled", Moves: true, Do: func(ctx context.Context, s *Stage, _ *Actor, d Daemon) error {
		s.say("pulling the network cable of " + d.Node)
		return s.Cluster.Node(d.Node).Cut(ctx)
	}}
	KillAPI = Act{Name: "kill API", Title: "kill -9 of an API on one node", Spares: true, Do: func(ctx context.Context, s *Stage, _ *Actor, d Daemon) error {
		return s.loseAPI(ctx, d, func(n *cluster.Node) error {
			s.say("on " + n.Name + ": # systemctl kill -s KILL " + apiUnit)
			_, err := n.Exec(ctx, "systemctl", "kill", "-s", "KILL", apiUnit)
			return err
		})
	}}
	LoseAPINode = Act{Name: "lose API node", Title: "power cut of a node with nothing but an API", Spares: true, Do: func(ctx context.Context, s *Stage, _ *Actor, d Daemon) error {
		return s.loseAPI(ctx, d, func(n *cluster.Node) error {
			s.say("pulling the mains plug of " + n.Name)
			return n.PowerOff(ctx)
		})
	}}
)

// On is the act that happens to another actor than the first.
func (act Act) On(id string) Act {
	act.To = id
	return act
}

// Called is the act under another title.
func (act Act) Called(title string) Act {
	act.Title = title
	return act
}

// loseAPI breaks the API on a node where the group is not, and waits until HAProxy has found that out.
func (s *Stage) loseAPI(ctx context.Context, active Daemon, lose func(*cluster.Node) error) error {
	nodes := s.Cluster.Nodes()
	victim := nodes[slices.IndexFunc(nodes, func(n *cluster.Node) bool { return n.Name != active.Node })]
	if err := lose(victim); err != nil {
		return err
	}
	return s.balancerSays(ctx, func(rows []haproxy.Row) error {
		if slices.ContainsFunc(rows, func(r haproxy.Row) bool { return r.Service == victim.Name && r.Status == "DOWN" }) {
			return nil
		}
		return fmt.Errorf("HAProxy has not found the API on %s dead: %+v", victim.Name, rows)
	})
}
