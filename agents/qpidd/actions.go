package qpidd

import (
	"cmp"
	"context"
	"errors"
	"path/filepath"
	"slices"
	"time"

	"github.com/openstack-ocf/agents/lib/amqp"
	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/files"
	"github.com/openstack-ocf/agents/lib/qmf"
	"github.com/openstack-ocf/agents/lib/service"
	"github.com/openstack-ocf/agents/lib/systemd"
	"github.com/openstack-ocf/agents/ocf"
)

// started is asked once the broker serves.
func (a *agent) started(ctx context.Context, r *ocf.Request, svc service.Service, s settings) error {
	if err := a.replicates(ctx, r, svc, s); err != nil {
		return err
	}
	if err := a.hasStore(ctx, r, s); err != nil {
		return err
	}
	a.recovered(ctx, r, s)
	return nil
}

// replicates makes sure that a unit's broker was told to, which only its own options can say.
func (a *agent) replicates(ctx context.Context, r *ocf.Request, svc service.Service, s settings) error {
	if a.unit == "" || !a.haCluster {
		return nil
	}
	p, err := svc.Find(ctx, r)
	if err != nil {
		return err
	}
	if p == nil {
		return svc.NotRunning()
	}
	defer p.Close()
	if isYes(s.says(ctx, p, "ha-cluster")) {
		return nil
	}
	return ocf.Errorf(ocf.NotConfigured, "the broker of %s does not replicate, and ha_cluster is set: add ha-cluster=yes to %s, and ha-brokers-url=%s", a.unit, cmp.Or(s.config, configs[0]), a.haBrokers)
}

// recovered notes what recovery has left of the store of a broker that has just
// started and has not found the primary yet.
func (a *agent) recovered(ctx context.Context, r *ocf.Request, s settings) {
	m, err := readMark(s.dataDir)
	if !a.haCluster || err != nil || m.recovered != 0 {
		return
	}
	r.Step("asking for the broker's place")
	m.recovered = newestJournal(s.storeDir) // before the broker says that it has not been written to since
	c, done, err := a.console(ctx, r, s)
	if err == nil {
		defer done()
		var ha qmf.HA
		if ha, err = c.HA(ctx); err == nil && ha.Status != qmf.Joining {
			m = mark{}
		}
	}
	if err == nil {
		err = setMark(s.dataDir, &m)
	}
	if err != nil {
		r.Log.Warn("a cold start may misjudge this broker's store", "error", err)
	}
}

// guard checks what must be so on this node, and makes it so where no unit does.
func (a *agent) guard(ctx context.Context, r *ocf.Request, s settings) error {
	makes := func(account daemon.Account, dirs ...string) error { return service.OwnDirs(ctx, account, dirs...) }
	if !a.storage.Shared {
		if err := a.own(makes, s.dirs...); err != nil {
			return err
		}
	}
	for _, guard := range a.guards(s) {
		r.Step("asking the storage of %s", guard.Dir)
		if err := guard.ForStart(ctx); err != nil {
			return err
		}
	}
	dirs := slices.Clone(s.dirs)
	if a.pidDir != "" {
		dirs = append(dirs, a.pidDir)
	}
	made := dirs
	if a.unit == "" {
		made = append(slices.Clone(dirs), filepath.Dir(a.log))
	}
	if err := a.own(makes, made...); err != nil {
		return err
	}
	if err := a.own(a.canWrite, dirs...); err != nil {
		return err
	}
	if err := waitForLock(ctx, r, s.dataDir); err != nil || !a.haCluster {
		return err
	}
	if err := setMark(s.dataDir, &mark{stamp: storeStamp(s)}); err != nil {
		return ocf.Errorf(ocf.Generic, "data directory: %w", err)
	}
	return nil
}

// own has do see to directories, by the account that the broker runs as.
func (a *agent) own(do func(daemon.Account, ...string) error, dirs ...string) error {
	user, group := a.account()
	account, err := service.Account(user, group)
	if err != nil {
		return err
	}
	return do(account, dirs...)
}

// account is whom the broker runs as: "" is root.
func (a *agent) account() (user, group string) {
	if a.unit == "" {
		return a.user, a.group
	}
	u, _ := systemd.Read("/", a.unit)
	return u.User, u.Group
}

func (a *agent) canWrite(account daemon.Account, dirs ...string) error {
	user, _ := a.account()
	return service.CanWrite(account, cmp.Or(user, "root"), dirs...)
}

func (a *agent) launch(s settings, binary string) daemon.Command {
	return daemon.Command{
		Path: binary, Args: a.options(s), User: a.user, Group: a.group, Output: a.log, PIDFile: a.pid, KillUnready: true,
		// These go before what the file says: what has forked cannot be watched, and data_dir is what ours is told by.
		Env: []string{"QPID_DAEMON=no", "QPID_NO_DATA_DIR=no"},
	}
}

// options is the broker's command line.
func (a *agent) options(s settings) []string {
	var o []string
	add := func(name, value string) {
		if value != "" && a.more(name) == "" {
			o = append(o, "--"+name, value)
		}
	}
	add("config", s.config)
	// What the file says the broker reads there: so it shows to be one that the file was for, when that is changed.
	if a.dataDir != "" || s.conf["data-dir"] == "" {
		add("data-dir", s.dataDir)
	}
	if a.port != 0 {
		add("port", s.port)
	}
	add("interface", a.iface)
	add("pid-dir", a.pidDir)
	add("module-dir", a.moduleDir)
	if a.haCluster {
		o = append(o, "--ha-cluster=yes")
		add("ha-brokers-url", a.haBrokers)
		add("ha-public-url", a.haPublic)
		add("ha-replicate", a.haReplicate)
		for _, o := range haOptions {
			if _, set := s.conf[o.name]; !set {
				add(o.name, o.value)
			}
		}
	}
	for _, arg := range a.additional {
		if arg != "-d" && arg != "--daemon" {
			o = append(o, arg)
		}
	}
	return o
}

// haOptions are better defaults for a cluster than the broker's own, where
// nobody set others.
var haOptions = []struct{ name, value string }{
	// Seconds; a silent peer is given up after twice that. The broker's 120 s would keep a new primary waiting for
	// backups that are still attached to a dead one. With less than 5 s a primary that was cut off might go on
	// without its backups, and lose what it acknowledges, before it is fenced.
	{"link-heartbeat-interval", "5"},
	// Seconds a new primary waits for backups that do not come back at once; the broker's is 10 s. It then goes on
	// without them, which does no harm, for it vouches for none but those that have everything.
	{"ha-backup-timeout", "5"},
	// Seconds between a backup's attempts to find the primary, one address each; the broker's is 2 s. A new
	// primary does not serve before its backups have found it.
	{"link-maintenance-interval", "0.2"},
}

// waitForLock waits for a predecessor that is still dying to let go of the
// data directory.
func waitForLock(ctx context.Context, r *ocf.Request, dataDir string) error {
	r.Step("waiting for the lock of %s", dataDir)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		pid, err := lockHolder(dataDir)
		switch {
		case err != nil:
			return ocf.Errorf(ocf.Generic, "data directory %s: %w", dataDir, err)
		case pid == 0:
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ocf.Errorf(ocf.Generic, "the data directory %s is in use by process %d, which is not this broker: stop that process, or set data_dir", dataDir, pid)
		}
	}
}

// hasStore makes sure that the store that is counted on is there.
func (a *agent) hasStore(ctx context.Context, r *ocf.Request, s settings) error {
	if a.store == "" {
		return nil
	}
	r.Step("asking for the broker's store")
	c, done, err := a.console(ctx, r, s)
	if err == nil {
		defer done()
		err = a.stores(ctx, c)
	} else if pid, lockErr := lockHolder(s.dataDir); lockErr == nil && pid != 0 {
		err = a.loaded(pid)
	}
	if ocf.CodeOf(err) == ocf.Degraded {
		return ocf.Errorf(ocf.NotInstalled, "%w", err)
	}
	return err
}

// console is the broker's management.
func (a *agent) console(ctx context.Context, r *ocf.Request, s settings) (*qmf.Client, func(), error) {
	t, _, err := a.target(r, s, nil)
	if err != nil {
		return nil, nil, ocf.Errorf(ocf.Generic, "%w", err)
	}
	conn, ans := amqp.Connect(ctx, t)
	if conn == nil {
		return nil, nil, ocf.Errorf(ocf.Generic, "%s", ans.Reason())
	}
	c, err := qmf.New(ctx, conn)
	if err != nil {
		_ = conn.Close()
		return nil, nil, managed(err)
	}
	return c, func() { _, _ = c.Close(ctx), conn.Close() }, nil
}

// patience is how the broker is stopped: it ends in milliseconds, or not at all when asked.
func patience(ctx context.Context) daemon.StopOptions {
	return daemon.StopOptions{Grace: min(10*time.Second, service.Remaining(ctx)/2)}
}

func notCluster() error {
	return ocf.Errorf(ocf.Unimplemented, "a broker without ha_cluster=true has no roles: run it as a primitive, or set ha_cluster and ha_brokers_url")
}

// promote makes the broker the primary. The broker itself refuses that if it
// knew of a better one when it started; waiting does not change its mind, but a
// joining one, which Pacemaker promotes only where none is better now, loses
// nothing by being started again.
func (a *agent) promote(ctx context.Context, r *ocf.Request) error {
	if !a.haCluster {
		return notCluster()
	}
	d, s, _ := a.broker(r)
	if d.Unusable != nil {
		return d.Unusable
	}
	enough := time.Now().Add(service.Remaining(ctx) / 2) // for recovering: it waits for backups that may not come
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for again := false; ; {
		p, err := d.Find(ctx, r)
		if err != nil {
			return err
		}
		if p == nil {
			return d.NotRunning()
		}
		_ = p.Close()
		at, err := a.tryPromote(ctx, r, s)
		var refused *qmf.Error
		switch {
		case err == nil && (at.HAStatus == qmf.Active || at.HAStatus == qmf.Recovering && time.Now().After(enough)):
			return a.announce(ctx, r, s, nil, at)
		case errors.As(err, &refused) && refused.Code != qmf.Forbidden && at.HAStatus == qmf.Joining && !again:
			again = true
			r.Log.Info("starting the broker again, so that it looks anew for a better one", "refusal", err)
			if err := a.restart(ctx, r, d); err != nil {
				return err
			}
			continue
		case errors.As(err, &refused) || errors.Is(err, errLeftBehind):
			a.tell(ctx, r, scoreAttribute(r), noScore, true)
			return refusal(at, err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ocf.Errorf(ocf.Generic, "the broker is %s and could not be promoted in time: %w", at.HAStatus, errors.Join(err, ctx.Err()))
		}
	}
}

func (a *agent) restart(ctx context.Context, r *ocf.Request, d service.Daemon) error {
	if err := d.Stop(ctx, r, patience(ctx)); err != nil {
		return err
	}
	return service.Of(a.daemon).Start(ctx, r)
}

// refusal says what to do about a promotion that is refused for good.
func refusal(at place, err error) error {
	var refused *qmf.Error
	switch {
	case errors.Is(err, errLeftBehind):
		return err
	case errors.As(err, &refused) && refused.Code == qmf.Forbidden:
		return ocf.Errorf(ocf.Generic, "the broker's ACL forbids the check's user to promote it: allow that user access to methods in its acl-file: %w", err)
	}
	return ocf.Errorf(ocf.Generic, "the broker is %s and refuses: %w: another was further on when this one started; promote that one", at.HAStatus, err)
}

func (a *agent) tryPromote(ctx context.Context, r *ocf.Request, s settings) (at place, err error) {
	r.Step("promoting the broker on %s", s.address)
	c, done, err := a.console(ctx, r, s)
	if err != nil {
		return at, err
	}
	defer done()
	ha, err := c.HA(ctx)
	if err == nil && ha.Status == qmf.Ready {
		if err := a.leftBehind(ctx, r, s, shortID(ha.SystemID)); err != nil {
			return placeOf(ha), err
		}
	}
	if err == nil && !ha.Status.Primary() {
		if err := c.Promote(ctx); err != nil {
			return placeOf(ha), err
		}
		ha, err = c.HA(ctx)
	}
	if err != nil {
		return at, managed(err)
	}
	return placeOf(ha), nil
}

// demote makes a primary a backup: the broker has no method for it, so that it
// is stopped and started. One that is dead or does not answer is only stopped:
// Pacemaker, which is about to recover it or will see it at the next monitor,
// must not wait for a start before it promotes another.
func (a *agent) demote(ctx context.Context, r *ocf.Request) error {
	if !a.haCluster {
		return notCluster()
	}
	d, _, at := a.broker(r)
	if p, err := d.Find(ctx, r); err == nil && p != nil {
		defer p.Close()
		soon, cancel := context.WithTimeout(ctx, amqp.DefaultTimeout)
		defer cancel()
		_ = d.Ask(soon, r, p)
	}
	if at.HAStatus != "" && !at.Primary() {
		return nil
	}
	run := service.Of(a.daemon)
	if err := run.Stop(ctx, r); err != nil || d.Unusable != nil {
		return errors.Join(err, d.Unusable)
	}
	if at.HAStatus == "" {
		return nil
	}
	return run.Start(ctx, r)
}

// direct are the parameters that say how the broker is run.
var direct = []string{"binary", "user", "group", "interface", "pid_dir", "pid", "module_dir", "log", "additional_parameters", "ha_public_url", "ha_replicate"}

func (a *agent) validateParameters(r *ocf.Request) error {
	if err := service.UnitAlone(r, a.unit, direct...); err != nil {
		return err
	}
	switch {
	case a.credentials != "" && a.passwd != "":
		return ocf.Errorf(ocf.NotConfigured, "credentials_file and passwd are both given: keep the file, and remove passwd from the cluster's configuration")
	case a.username == "" && a.passwd != "":
		return ocf.Errorf(ocf.NotConfigured, "passwd is given without username")
	case a.mech == "PLAIN" && a.username == "" && a.credentials == "":
		return ocf.Errorf(ocf.NotConfigured, "sasl_mechanism=PLAIN needs username and passwd, or credentials_file")
	case a.haCluster && a.haBrokers == "":
		return ocf.Errorf(ocf.NotConfigured, "ha_cluster needs ha_brokers_url, such as amqp:node1:5672,node2:5672,node3:5672")
	case !a.haCluster && (a.haBrokers != "" || a.haPublic != ""):
		return ocf.Errorf(ocf.NotConfigured, "ha_brokers_url and ha_public_url do nothing without ha_cluster=true")
	case a.haCluster && a.storage.Shared:
		return ocf.Errorf(ocf.NotConfigured, "ha_cluster replicates between data directories of the nodes' own, and shared_storage is one for all: choose one of the two")
	}
	return a.storage.Validate()
}

// host is what validate-all looks at.
func (a *agent) host(r *ocf.Request, s settings) error {
	for _, dir := range s.dirs {
		if files.Exists(dir) && !a.storage.Shared {
			if err := a.own(a.canWrite, dir); err != nil {
				return err
			}
		}
	}
	if a.unit == "" {
		service.UnitHints(r, "qpidd.service", "qpidd-primary.service")
	}
	return nil
}
