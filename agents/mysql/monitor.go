package mysql

import (
	"context"
	"net/netip"
	"strconv"
	"time"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/service"
	"github.com/openstack-ocf/agents/lib/sockets"
	"github.com/openstack-ocf/agents/lib/sqlping"
	"github.com/openstack-ocf/agents/ocf"
)

// schema is what level 20 writes to; the agent makes it.
const schema = "openstack_ocf"

// answers is level 0's question to the server. p is its process, nil while it is
// waited for.
func (a *agent) answers(ctx context.Context, r *ocf.Request, s settings, p *daemon.Process) error {
	t, known, credentials := a.target(r, s)
	r.Step("waiting for an answer on %s", t)
	ask, cancel := ctx, func() {}
	if p != nil && s.extraPort != "" {
		ask, cancel = context.WithTimeout(ctx, service.Remaining(ctx)*2/3) // some is left for the other port
	}
	ans := sqlping.Ping(ask, t)
	cancel()
	switch ans.State {
	case sqlping.Healthy:
	case sqlping.Degraded:
		switch {
		case ans.Stopping():
			return ocf.Errorf(ocf.Degraded, "%w: %s", service.ErrStopping, ans.Reason())
		case known || !isLogin(ans.Err):
			return ocf.Errorf(ocf.Degraded, "%s", ans.Reason())
		}
		// Nobody told us whom to log in as; that it refuses us shows that it answers.
	case sqlping.Dead:
		if at := a.answersElsewhere(ctx, t, p, ""); at != "" {
			return ocf.Errorf(ocf.Degraded, "answers on %s, but not on its socket %s: restart it when convenient", at, s.socket)
		}
		return ocf.Errorf(ocf.Generic, "does not listen on %s: it is starting, recovering, stopping or broken: see %s", s.socket, s.log)
	default:
		if at := a.answersElsewhere(ctx, t, p, s.extraPort); s.extraPort != "" && at != "" {
			return ocf.Errorf(ocf.Degraded, "answers on its extra_port %s alone: all threads of its pool are taken: SHOW PROCESSLIST there, or raise thread_pool_size", at)
		}
		return ocf.Errorf(ocf.Generic, "%s", ans.Reason())
	}
	if credentials != nil {
		return ocf.Errorf(ocf.Degraded, "alive, but the check cannot log in: test_defaults_file: %w", credentials)
	}
	return nil
}

// answersElsewhere is where else the process answers: on a unix or TCP socket
// that it has open itself, of that port if one is given.
func (a *agent) answersElsewhere(ctx context.Context, t sqlping.Target, p *daemon.Process, port string) string {
	if p == nil {
		return ""
	}
	var targets []sqlping.Target
	if port == "" {
		paths, _ := sockets.Unix(p.PID)
		for _, path := range paths {
			targets = append(targets, sqlping.Target{Socket: path})
		}
	}
	listens, _ := sockets.Of(p.PID, sockets.Listen)
	for _, l := range listens {
		addr := l.Local.Addr().Unmap()
		if addr.IsUnspecified() {
			addr = netip.AddrFrom4([4]byte{127, 0, 0, 1})
			if l.Local.Addr().Is6() {
				addr = netip.IPv6Loopback()
			}
		}
		if port == "" || port == strconv.Itoa(int(l.Local.Port())) {
			targets = append(targets, sqlping.Target{Address: netip.AddrPortFrom(addr, l.Local.Port()).String()})
		}
	}
	for i, to := range targets {
		to.User, to.Password, to.TLS = t.User, t.Password, t.TLS
		ask, cancel := context.WithTimeout(ctx, service.Remaining(ctx)/time.Duration(len(targets)-i+1))
		st := sqlping.Ping(ask, to).State
		cancel()
		if st == sqlping.Healthy || st == sqlping.Degraded {
			return to.String()
		}
	}
	return ""
}

// isLogin tells errors about who logs in (1045, and 1698 of auth plugins).
func isLogin(e *sqlping.Error) bool { return e != nil && (e.Code == 1045 || e.Code == 1698) }

// look is what levels 10 and 20 add.
func (a *agent) look(ctx context.Context, r *ocf.Request, s settings) error {
	t, _, _ := a.target(r, s)
	r.Step("reading %s", a.testTable)
	c, err := sqlping.Open(ctx, t)
	if err != nil {
		return answered("the health check could not log in", err)
	}
	defer c.Close()
	if err := c.ReadTable(ctx, a.testTable); err != nil {
		return answered("test_table cannot be read", err)
	}
	if a.connectionsPercent > 0 {
		st, err := c.Status(ctx)
		if err != nil {
			return answered("the server's status cannot be read", err)
		}
		if st.Load() >= a.connectionsPercent {
			return ocf.Errorf(ocf.Degraded, "%d%% of max_connections are in use (%d of %d; degraded from %d%%): find out who holds them, or raise the limit", st.Load(), st.ThreadsConnected, st.MaxConnections, a.connectionsPercent)
		}
	}
	if r.Level >= 20 {
		r.Step("writing a row to the schema %s", schema)
		if err := c.WriteProof(ctx, schema, r.Instance); err != nil {
			return answered("the server takes no writes", err)
		}
	}
	return nil
}

// answered maps what a query brought: the server's own refusal is a handicap,
// no answer is a failure.
func answered(what string, err error) error {
	if sqlping.StateOf(err) == sqlping.Degraded {
		return ocf.Errorf(ocf.Degraded, "%s: %w", what, err)
	}
	return ocf.Errorf(ocf.Generic, "%s: %w", what, err)
}

// direct are the parameters that say how the server is run.
var direct = []string{"binary", "user", "group", "log", "pid", "additional_parameters", "enable_creation"}

func (a *agent) validateParameters(r *ocf.Request) error {
	if a.testDefaultsFile != "" && a.testPasswd != "" {
		return ocf.Errorf(ocf.NotConfigured, "test_defaults_file and test_passwd are both given: keep the file, and remove test_passwd from the cluster's configuration")
	}
	if err := service.UnitAlone(r, a.unit, direct...); err != nil {
		return err
	}
	return a.storage.Validate()
}
