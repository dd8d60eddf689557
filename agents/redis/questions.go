package redis

import (
	"context"
	"strconv"
	"time"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/resp"
	"github.com/openstack-ocf/agents/lib/service"
	"github.com/openstack-ocf/agents/ocf"
)

// answers is the question of level 0, and what a start waits for.
func (a *agent) answers(ctx context.Context) error {
	err := a.ask(ctx, (*resp.Server).Ping)
	if a.password == "" && resp.Refused(err, "NOAUTH") {
		return nil // who wants a password is well, as far as one can tell without
	}
	return err
}

// inDepth is what level 10 adds.
func (a *agent) inDepth(ctx context.Context, p *daemon.Process) error {
	return a.ask(ctx, func(s *resp.Server) error {
		info, err := s.Info()
		if resp.Refused(err, "NOAUTH") {
			return ocf.Errorf(ocf.Degraded, "level 10 cannot ask it: %w Set password", err)
		}
		if err == nil {
			err = a.judge(info)
		}
		if err == nil && info["role"] != "slave" { // which nobody may write to
			err = s.Remember("openstack-ocf."+strconv.Itoa(p.PID), "remembered", time.Minute)
		}
		return err
	})
}

// patience is short with a server that could not save its data: asked to end, it tries once more, and then goes on.
func (a *agent) patience(ctx context.Context, r *ocf.Request, p *daemon.Process) daemon.StopOptions {
	o := daemon.StopOptions{Log: r.Log}
	if p == nil || service.Thawed(p) != nil {
		return o
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	_ = a.ask(ctx, func(s *resp.Server) error {
		info, err := s.Info()
		if err == nil && info["rdb_last_bgsave_status"] == "err" {
			o.Grace = 5 * time.Second
		}
		return err
	})
	return o
}

// judge finds what INFO says of a handicap, the worst first.
func (a *agent) judge(info map[string]string) error {
	number := func(name string) int { n, _ := strconv.Atoi(info[name]); return n } // a server too old to tell says 0
	for _, failed := range []struct{ name, what string }{
		{"rdb_last_bgsave_status", "save its data (rdb_last_bgsave_status)"},
		{"aof_last_write_status", "write its log of changes (aof_last_write_status)"},
		{"aof_last_bgrewrite_status", "rewrite its log of changes (aof_last_bgrewrite_status)"},
	} {
		if info[failed.name] == "err" {
			return ocf.Errorf(ocf.Degraded, "could not %s: look at its log and at its disk", failed.what)
		}
	}
	if info["role"] == "slave" && info["master_link_status"] == "down" {
		return ocf.Errorf(ocf.Degraded, "is a replica and has lost its master %s:%s: start that, or REPLICAOF NO ONE", info["master_host"], info["master_port"])
	}
	used, most := number("used_memory"), number("maxmemory")
	if a.memoryPercent > 0 && most > 0 && info["maxmemory_policy"] == "noeviction" && used*100 >= most*a.memoryPercent {
		return ocf.Errorf(ocf.Degraded, "%d of %d bytes of memory are in use (degraded from %d%%): raise maxmemory, or find out what fills it", used, most, a.memoryPercent)
	}
	used, most = number("connected_clients"), number("maxclients")
	if a.connectionsPercent > 0 && most > 0 && used*100 >= most*a.connectionsPercent {
		return ocf.Errorf(ocf.Degraded, "%d of %d connections are in use (degraded from %d%%): find out who holds them, or raise maxclients", used, most, a.connectionsPercent)
	}
	return nil
}

func (a *agent) ask(ctx context.Context, question func(*resp.Server) error) error {
	err := resp.Ask(ctx, a.address(), resp.Login{User: a.username, Password: a.password}, question)
	switch {
	case err == nil || ocf.CodeOf(err) == ocf.Degraded:
		return err
	case resp.Refused(err, "LOADING"):
		return ocf.Errorf(ocf.Generic, "it still loads its data: %w", err)
	case resp.Refused(err): // it is alive, and says so itself
		return ocf.Errorf(ocf.Degraded, "%w", err)
	}
	return ocf.Errorf(ocf.Generic, "does not serve: %w", err)
}
