package qpidd

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openstack-ocf/agents/lib/amqp"
	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/qmf"
	"github.com/openstack-ocf/agents/ocf"
)

// stored asks the storages for trouble of their own.
func (a *agent) stored(ctx context.Context, r *ocf.Request, s settings, p *daemon.Process) (full error) {
	if !a.storage.Shared && a.storage.FullPercent == 0 {
		return nil
	}
	for _, guard := range a.guards(s) {
		r.Step("asking the storage of %s", guard.Dir)
		nearly, err := guard.Running(ctx, p)
		if err != nil {
			return err
		}
		full = cmp.Or(full, nearly)
	}
	return full
}

// answers is level 0's question to the broker: a client's login, and with
// ha_cluster its place among the brokers. p may be nil.
func (a *agent) answers(ctx context.Context, r *ocf.Request, s settings, p *daemon.Process) (at place, err error) {
	t, known, err := a.target(r, s, p)
	if err != nil {
		return at, err
	}
	r.Step("waiting for an answer on %s", t.Address)
	if !a.haCluster {
		return at, judge(amqp.Ping(ctx, t), known)
	}
	conn, ans := amqp.Connect(ctx, t)
	if conn == nil {
		return at, judge(ans, true)
	}
	defer conn.Close()
	c, err := qmf.New(ctx, conn)
	if err != nil {
		return at, managed(err)
	}
	defer c.Close(ctx)
	ha, err := c.HA(ctx)
	switch {
	case errors.Is(err, qmf.ErrNoObject):
		return at, ocf.Errorf(ocf.Degraded, "does not replicate: its module ha.so is not loaded, or it was started without --ha-cluster (as the init script does): install the HA module, and restart the resource when convenient")
	case err != nil:
		return at, managed(err)
	case ha.Status == qmf.StandAlone:
		return at, ocf.Errorf(ocf.Degraded, "stands alone and does not replicate, though ha_cluster is set: restart the resource when convenient")
	}
	at = placeOf(ha)
	if ha.Status == qmf.Ready || ha.Status == qmf.CatchUp {
		if at.lost, err = c.HALinkLost(ctx); err != nil {
			return at, managed(err)
		}
	}
	steady := at.HAStatus != qmf.Joining && strings.HasPrefix(told(r, stateAttribute(r)), string(at.HAStatus)+" "+at.id)
	if r.Level >= 10 || !steady {
		at.barred = mayPromote(ctx, c)
	}
	return at, at.barred
}

// judge turns an answer into an exit code. known is false when the operator
// named nobody to log in as: a refused login then shows that the broker answers.
func judge(ans amqp.Answer, known bool) error {
	switch {
	case ans.Health() == amqp.Healthy,
		!known && (ans.Kind == amqp.BadLogin || ans.Kind == amqp.NoMechanism):
		return nil
	case ans.Health() == amqp.Degraded:
		return ocf.Errorf(ocf.Degraded, "%s", ans.Reason())
	}
	return ocf.Errorf(ocf.Generic, "%s", ans.Reason())
}

// managed is an error of the broker's management: its own refusal is a
// handicap, no answer is a failure.
func managed(err error) error {
	var refused *qmf.Error
	switch {
	case errors.As(err, &refused) && refused.Code == qmf.Forbidden:
		return ocf.Errorf(ocf.Degraded, "the broker's ACL forbids the check's user to read its management: allow that user access in its acl-file: %w", err)
	case refused != nil, errors.Is(err, qmf.ErrDisabled):
		return ocf.Errorf(ocf.Degraded, "management: %w", err)
	}
	return ocf.Errorf(ocf.Generic, "management does not answer: %w", err)
}

// mayPromote tells of a broker that lets the check's user read and not act:
// it would refuse to be promoted, which nobody needs to learn in a failover.
func mayPromote(ctx context.Context, c *qmf.Client) error {
	user, ok, err := c.MayCall(ctx, "org.apache.qpid.ha", "habroker", "promote")
	var refused *qmf.Error
	switch {
	case errors.As(err, &refused) && refused.Code == qmf.Forbidden:
		return ocf.Errorf(ocf.Degraded, "the broker's ACL lets the check's user %s call no methods, so that it may not be promoted: allow that in its acl-file: acl allow %s access method", user, user)
	case refused != nil:
		return nil // an old one has no such question
	case err != nil:
		return managed(err)
	case !ok:
		return ocf.Errorf(ocf.Degraded, "the broker's ACL will not let it be promoted by %s, the check's user: allow that in its acl-file: acl allow %s access method", user, user)
	}
	return nil
}

// look is what levels 10 and 20 add.
func (a *agent) look(ctx context.Context, r *ocf.Request, s settings, p *daemon.Process) error {
	t, known, err := a.target(r, s, p)
	if err != nil {
		return err
	}
	r.Step("sending a message to ourselves through %s", t.Address)
	if err := judge(amqp.RoundTrip(ctx, t), known); err != nil || r.Level < 20 {
		return err
	}
	r.Step("reading the management of %s", t.Address)
	conn, ans := amqp.Connect(ctx, t)
	if conn == nil {
		return judge(ans, true)
	}
	defer conn.Close()
	c, err := qmf.New(ctx, conn)
	if err != nil {
		return errors.Join(a.loaded(p.PID), managed(err))
	}
	defer c.Close(ctx)
	var found []error // what matters most comes first
	for _, check := range []func() error{
		func() error { return a.backups(ctx, r, c, s) },
		func() error { return a.stores(ctx, c) },
		func() error { return strayed(ctx, c, s) },
		func() error { return a.queues(ctx, c, s.says(ctx, p, "default-queue-limit")) },
		func() error { return a.connections(ctx, c) },
	} {
		switch err := check(); ocf.CodeOf(err) {
		case ocf.OK:
		case ocf.Degraded:
			found = append(found, err)
		default:
			return err
		}
	}
	if len(found) == 0 {
		return nil
	}
	return ocf.Errorf(ocf.Degraded, "%w", errors.Join(found...))
}

// defaultQueueLimit is the broker's own default-queue-limit in bytes.
const defaultQueueLimit = 100 << 20

// queues tells of those that are nearly full, the fullest first.
func (a *agent) queues(ctx context.Context, c *qmf.Client, standard string) error {
	queues, err := c.Queues(ctx)
	if err != nil {
		return managed(err)
	}
	usual := int64(defaultQueueLimit)
	if n, err := strconv.ParseInt(standard, 10, 64); err == nil {
		usual = n
	}
	type finding struct {
		percent int64
		text    string
	}
	var found []finding
	for _, q := range queues {
		limit := usual
		if _, declared := q.Arguments["qpid.max_size"]; declared {
			limit = q.MaxBytes
		}
		percent := func(n, limit int64) int64 { return n * 100 / max(limit, 1) * min(limit, 1) } // without a limit: 0
		bytes, count := percent(q.Bytes, limit), percent(q.Messages, q.MaxMessages)
		enough := int64(a.queuePercent)
		switch {
		case q.Policy == "ring" || q.Policy == "self-destruct":
			// They overwrite, which is what was asked for.
		case q.FlowStopped:
			found = append(found, finding{101, fmt.Sprintf("queue %s holds senders back: it is nearly full (%d messages, %d KiB)", q.Name, q.Messages, q.Bytes>>10)})
		case enough > 0 && bytes >= max(enough, count):
			found = append(found, finding{bytes, fmt.Sprintf("queue %s is %d%% full (%d KiB of %d; degraded from %d%%)", q.Name, bytes, q.Bytes>>10, limit>>10, enough)})
		case enough > 0 && count >= enough:
			found = append(found, finding{count, fmt.Sprintf("queue %s is %d%% full (%d of %d messages; degraded from %d%%)", q.Name, count, q.Messages, q.MaxMessages, enough)})
		}
	}
	if len(found) == 0 {
		return nil
	}
	slices.SortStableFunc(found, func(a, b finding) int { return cmp.Compare(b.percent, a.percent) })
	others := ""
	if n := len(found) - 1; n > 0 {
		others = fmt.Sprintf(", and %d more queues", n)
	}
	return ocf.Errorf(ocf.Degraded, "%s%s: find out why nobody reads it", found[0].text, others)
}

func (a *agent) connections(ctx context.Context, c *qmf.Client) error {
	b, err := c.Broker(ctx)
	if err != nil {
		return managed(err)
	}
	if a.connectionsPercent == 0 || b.MaxConnections == 0 {
		return nil
	}
	conns, err := c.Query(ctx, "org.apache.qpid.broker", "connection")
	if err != nil {
		return managed(err)
	}
	if n := len(conns); n*100 >= b.MaxConnections*a.connectionsPercent {
		return ocf.Errorf(ocf.Degraded, "%d of %d connections are in use (degraded from %d%%): find out who holds them, or raise max-connections", n, b.MaxConnections, a.connectionsPercent)
	}
	return nil
}

func (a *agent) stores(ctx context.Context, c *qmf.Client) error {
	if a.store == "" {
		return nil
	}
	stores, err := c.Stores(ctx)
	if err != nil {
		return managed(err)
	}
	if slices.ContainsFunc(stores, func(s qmf.Store) bool { return s.Kind == a.store }) {
		return nil
	}
	return a.noStore()
}

// strayed tells of a store that is elsewhere than where it is looked for.
func strayed(ctx context.Context, c *qmf.Client, s settings) error {
	stores, err := c.Stores(ctx)
	if err != nil {
		return managed(err)
	}
	for _, store := range stores {
		there, err := os.Stat(store.Dir)
		expected, err2 := os.Stat(s.storeDir)
		if store.Dir != "" && (errors.Join(err, err2) != nil || !os.SameFile(there, expected)) {
			return ocf.Errorf(ocf.Degraded, "the store is in %s, and is looked after in %s: write the option out (store-dir=%[1]s), or a cold start may take an old store for the newest", store.Dir, s.storeDir)
		}
	}
	return nil
}

// loaded asks the process for its store, where its management cannot be asked:
// a store's module that was loaded is in use.
func (a *agent) loaded(pid int) error {
	if a.store == "" {
		return nil
	}
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return ocf.Errorf(ocf.Generic, "cannot tell whether the message store %s is loaded: %w", a.store, err)
	}
	if bytes.Contains(maps, []byte("/"+a.store+".so")) {
		return nil
	}
	return a.noStore()
}

func (a *agent) noStore() error {
	return ocf.Errorf(ocf.Degraded, "the message store %s is not loaded: durable messages are lost when the broker stops: install its package (qpid-cpp-server-%s)", a.store, a.store)
}

// settling is how long backups may take to join a new primary before they are missed.
const settling = time.Minute

// backups tells whether the primary has all the backups it should have.
func (a *agent) backups(ctx context.Context, r *ocf.Request, c *qmf.Client, s settings) error {
	if !a.haCluster {
		return nil
	}
	ha, err := c.HA(ctx)
	if errors.Is(err, qmf.ErrNoObject) {
		return nil // level 0 has told that
	}
	if err != nil {
		return managed(err)
	}
	ready, expected := 1+len(placeOf(ha).inStep), a.brokers(r, s)
	if !ha.Status.Primary() || ready >= expected {
		return nil
	}
	if fi, err := os.Stat(toldFile(r, scoreAttribute(r))); err == nil && time.Since(fi.ModTime()) < settling {
		return nil
	}
	return ocf.Errorf(ocf.Degraded, "%d of %d brokers are in step: start the missing ones (ha_brokers_url %s), or messages are lost should this one fail too", ready, expected, a.haBrokers)
}
