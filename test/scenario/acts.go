package scenario

import (
	"context"
	"strconv"
	"syscall"
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
	CableCut = Act{Name: "cable cut", Title: "network cable of the active node pulled", Moves: true, Do: func(ctx context.Context, s *Stage, _ *Actor, d Daemon) error {
		s.say("pulling the network cable of " + d.Node)
		return s.Cluster.Node(d.Node).Cut(ctx)
	}}
)
