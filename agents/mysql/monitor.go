package mysql

import (
	"context"
	"errors"
	"io/fs"
	"strconv"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/mount"
	"github.com/openstack-ocf/agents/lib/sqlping"
	"github.com/openstack-ocf/agents/ocf"
)

// schema is what level 20 writes to; the agent makes it.
const schema = "openstack_ocf"

func (a *agent) monitor(ctx context.Context, r *ocf.Request) error {
	s, unreadable := a.settings()
	r.Step("looking for the server's process")
	p, err := a.find(ctx, s, unreadable)
	if err != nil {
		return err
	}
	if p == nil {
		if _, err := a.server(r); err != nil {
			return err
		}
		return ocf.Errorf(ocf.NotRunning, "no MySQL server works on %s on this node", s.datadir)
	}
	defer p.Close()
	return a.health(ctx, r, s, p)
}

// health is the state of a server that has a process, level by level.
func (a *agent) health(ctx context.Context, r *ocf.Request, s settings, p *daemon.Process) error {
	st, err := p.Stat()
	if err != nil {
		return ocf.Errorf(ocf.NotRunning, "the MySQL server (pid %d) has just ended", p.PID)
	}
	if st.Stopped() {
		return ocf.Errorf(ocf.Generic, "%s is frozen (state %c, stopped by a signal): it answers nobody", p, st.State)
	}
	full, err := a.storage(ctx, r, s, p)
	if err != nil {
		return err
	}
	t, known, credentials := a.target(r, s)
	if err := a.ping(ctx, r, s, p, t, known); err != nil {
		return err
	}
	if credentials != nil {
		return ocf.Errorf(ocf.Degraded, "the server is alive, but the health check has nobody to log in as: test_defaults_file: %w", credentials)
	}
	if r.Level >= 10 {
		if err := a.look(ctx, r, t); err != nil {
			return err
		}
	}
	return full
}

// storage tells whether the data directory is still on storage that takes
// writes. degraded is set when it does but is nearly full.
func (a *agent) storage(ctx context.Context, r *ocf.Request, s settings, p *daemon.Process) (degraded, err error) {
	r.Step("asking the storage of %s", s.datadir)
	m, err := mount.On(ctx, s.datadir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, ocf.Errorf(ocf.Generic, "%s runs, but its data directory %s is gone from under it: mount the storage again, or let the cluster move the group: %w", p, s.datadir, err)
	case err != nil:
		return nil, ocf.Errorf(ocf.Generic, "cannot tell what storage %s is on: %w", s.datadir, err)
	case a.sharedStorage && m.System:
		return nil, ocf.Errorf(ocf.Generic, "%s runs, but the storage of %s is no longer mounted (the path is on %s now): it must not go on", p, s.datadir, m)
	case m.ReadOnly:
		return nil, ocf.Errorf(ocf.Generic, "%s runs, but its storage %s has gone read-only and takes no writes: look at the kernel log for its errors", p, m)
	}
	u, err := mount.Usage(ctx, s.datadir)
	if err != nil {
		return nil, ocf.Errorf(ocf.Generic, "storage %s does not answer: %w", m, err)
	}
	if used := u.UsedPercent(); a.diskPercent > 0 && used >= float64(a.diskPercent) {
		degraded = ocf.Errorf(ocf.Degraded, "storage %s is %.0f%% full (%d MiB left; degraded from %d%%): make room before writes fail", m, used, u.Available>>20, a.diskPercent)
	}
	return degraded, nil
}

// ping is level 0's question to the server.
func (a *agent) ping(ctx context.Context, r *ocf.Request, s settings, p *daemon.Process, t sqlping.Target, known bool) error {
	r.Step("waiting for an answer on %s", t)
	ans := sqlping.Ping(ctx, t)
	switch ans.State {
	case sqlping.Healthy:
		return nil
	case sqlping.Degraded:
		if !known && isLogin(ans.Err) {
			return nil // nobody told us whom to log in as; that it refuses us shows that it answers
		}
		if ans.Stopping() {
			return ocf.Errorf(ocf.Degraded, "%s is shutting down: %s", p, ans.Reason())
		}
		return ocf.Errorf(ocf.Degraded, "%s", ans.Reason())
	case sqlping.Dead:
		if a.answersByTCP(ctx, r, s) {
			return ocf.Errorf(ocf.Degraded, "%s answers on %s, but its socket %s is gone, so that local clients cannot connect: restart it when convenient", p, s.address, s.socket)
		}
		return ocf.Errorf(ocf.Generic, "%s does not listen on %s: it is starting, recovering, or broken: see %s", p, s.socket, s.log)
	}
	return ocf.Errorf(ocf.Generic, "%s: %s", p, ans.Reason())
}

// answersByTCP is for a socket that somebody deleted.
func (a *agent) answersByTCP(ctx context.Context, r *ocf.Request, s settings) bool {
	if s.address == "" || r.Action == ocf.Start || exists(s.socket) {
		return false
	}
	st := sqlping.Ping(ctx, sqlping.Target{Address: s.address, User: a.testUser}).State
	return st == sqlping.Healthy || st == sqlping.Degraded
}

// isLogin tells errors about who logs in (1045, and 1698 of auth plugins).
func isLogin(e *sqlping.Error) bool { return e != nil && (e.Code == 1045 || e.Code == 1698) }

// look is what levels 10 and 20 add.
func (a *agent) look(ctx context.Context, r *ocf.Request, t sqlping.Target) error {
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

func (a *agent) reload(context.Context, *ocf.Request) error {
	return nil // health checks read their parameters anew each time
}

func (a *agent) validateParameters(r *ocf.Request) error {
	if a.testDefaultsFile != "" && a.testPasswd != "" {
		return ocf.Errorf(ocf.Configured, "test_defaults_file and test_passwd are both given: keep the file, and remove test_passwd from the cluster's configuration")
	}
	if !a.sharedStorage && (a.device != "" || a.fstype != "") {
		return ocf.Errorf(ocf.Configured, "device and fstype name the shared storage, but shared_storage is false: remove them, or set it to true")
	}
	if _, err := strconv.Atoi(portIn(a.additional)); err != nil && portIn(a.additional) != "" {
		return ocf.Errorf(ocf.Configured, "additional_parameters: --port=%s is no port number", portIn(a.additional))
	}
	return nil
}
