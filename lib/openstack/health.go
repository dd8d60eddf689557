package openstack

import (
	"context"
	"errors"
	"time"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/ocf"
)

// health is how a process that runs serves: nil, ocf.Degraded, or another error.
// The first failure decides, and any failure outweighs a handicap.
func (i *instance) health(ctx context.Context, p *daemon.Process) error {
	age, err := p.Age()
	if err != nil {
		return err
	}
	early := i.early(p, age)
	conf, err := i.loadOf(ctx, p)
	switch {
	case err != nil && early: // its unit has given it others than ours
		return ocf.Errorf(ocf.Generic, "%w", err)
	case err != nil:
		return ocf.Errorf(ocf.Degraded, "%w; its health is unknown", err)
	}
	var checks []func(context.Context) error
	add := func(wanted bool, check func(context.Context) error) {
		if wanted {
			checks = append(checks, check)
		}
	}
	add(i.decl.API.Default != 0, func(ctx context.Context) error { return i.answersHTTP(ctx, conf, p) })
	add(i.decl.Switch, i.hasSwitch)
	for _, host := range conf.hosts {
		c := &conversation{instance: i, conf: conf, p: p, host: host, age: age}
		add(i.decl.Row != "" || i.decl.Bus.Topic != "", c.alive)
	}
	add(conf.unnamed != nil && (i.decl.Row != "" || i.decl.Bus.Topic != ""), func(context.Context) error {
		return ocf.Errorf(ocf.Degraded, "under which host it reports and answers cannot be told: write a name or address: %w", conf.unnamed)
	})
	add(i.decl.Cache && i.r.Level >= 20, func(ctx context.Context) error { return reachesCache(ctx, i.r, conf.cfg) })

	witnesses, handicap := ask(ctx, checks)
	if handicap != nil && ocf.CodeOf(handicap) != ocf.Degraded {
		return handicap
	}
	if witnesses == 0 && early {
		return ocf.Errorf(ocf.Generic, "lives since %s, and more cannot be asked: too early to tell", age.Round(time.Millisecond))
	}
	if handicap != nil && i.starting(age) && (early || errors.As(handicap, new(away))) {
		return ocf.Errorf(ocf.Generic, "%w", handicap)
	}
	return handicap
}

// ask asks until something is wrong. Else what is told is the first handicap, and
// witnesses are those who could be asked.
func ask(ctx context.Context, checks []func(context.Context) error) (witnesses int, told error) {
	for _, check := range checks {
		err := check(ctx)
		if errors.Is(err, errNoWitness) {
			continue
		}
		witnesses++
		if err != nil && ocf.CodeOf(err) != ocf.Degraded {
			return witnesses, err
		}
		if told == nil {
			told = err
		}
	}
	return witnesses, told
}

// away marks a handicap that may yet come right by waiting: who is asked has not yet heard of the service. A login that is
// refused stays refused, and a broker that died comes back when no start is under way any more: neither holds one.
type away struct{ error }

func (e away) Unwrap() error { return e.error }

// survival is how long a process that answers nobody must have lived before its
// start counts, and had a CPU to itself: on a configuration that it cannot use it dies in its first seconds.
const survival = 5 * time.Second

// early tells a start that more may yet befall a process of that age.
func (i *instance) early(p *daemon.Process, age time.Duration) bool {
	return i.r.Action == ocf.Start && age-p.Waited() < survival
}

// starting tells whether a process of that age is the one that a start has just
// begun: what is a handicap later may for half of the start's time yet come right (away).
func (i *instance) starting(age time.Duration) bool {
	const resolution = 20 * time.Millisecond // of ages
	return time.Now().Before(i.patience) && age <= time.Since(i.began)+resolution
}

// conversation is what is asked of and about one registered host of the service.
type conversation struct {
	*instance
	conf configuration
	p    *daemon.Process
	host string
	age  time.Duration // of the process

	waits bool // for its database, which does not answer: before that does it may not be subscribed
}

// errNoWitness is for a row or a bus that there is not, or that cannot be asked.
var errNoWitness = errors.New("nothing to ask")

// alive asks the row, and the bus from level 10 on. Level 0 asks the bus only where
// the row does not settle it, or where the process has no connection to its bus; and
// not every few seconds where each question leaves a traceback in the service's log.
func (c *conversation) alive(ctx context.Context) error {
	row, young := c.reported(ctx)
	c.waits = errors.As(row, new(away))
	if c.r.Level < 10 && c.r.Action != ocf.Start && errors.Is(row, errNoWitness) && c.loud() && !c.cutOff() {
		return nil
	}
	// A start asks the bus too where the database tells nothing: once the service answers, nothing is left to wait for. And of
	// one that has just begun: it makes its row before it logs in at the bus, and may die of that.
	asked := c.r.Level >= 10 || c.r.Action == ocf.Start && (row != nil || c.early(c.p, c.age))
	if isSettled(row) && !asked && !c.cutOff() {
		return row
	}
	return weigh(row, c.answers(ctx), young)
}

// isSettled: the row is good, or the database is at fault.
func isSettled(row error) bool { return row == nil || ocf.CodeOf(row) == ocf.Degraded }

// weigh judges by what the row and the bus say:
//
//	row \ bus       answers          at fault   does not answer  none
//	good            0                degraded   failed           0
//	database fault  degraded         degraded   failed           degraded
//	late            degraded, 0 (1)  degraded   failed           degraded
//	none            0                degraded   failed           errNoWitness
//
// (1) if the process is so young that it need not have reported yet.
//
// One that is not subscribed while its database does not answer at all is degraded: it waits for that, and subscribes then. No
// start waits with it: the cluster restarts a database of its own only when the start is over.
func weigh(row, bus error, young bool) error {
	asked := !errors.Is(bus, errNoWitness)
	late := !isSettled(row) && !errors.Is(row, errNoWitness)
	switch {
	case errors.As(row, new(away)) && errors.As(bus, new(unsubscribed)):
		return ocf.Errorf(ocf.Degraded, "%v; %v", row, bus) // no longer away: there is nothing to wait for
	case asked && bus != nil && late:
		return ocf.Errorf(ocf.CodeOf(bus), "%w; and %w", bus, row)
	case asked && bus != nil:
		return bus
	case !late && asked && errors.Is(row, errNoWitness):
		return nil
	case !late:
		return row
	case asked && young:
		return nil
	case asked:
		return ocf.Errorf(ocf.Degraded, "answers over the message bus, but %w", away{row})
	}
	return ocf.Errorf(ocf.Degraded, "%w; it cannot be asked otherwise: see its log", away{row})
}

// cutOff tells whether the service surely cannot be reached over its bus.
func (c *conversation) cutOff() bool {
	if c.decl.Bus.Topic == "" || c.params.zeromq {
		return false
	}
	bus, err := c.transport()
	return err == nil && cutOff(c.p, bus)
}
