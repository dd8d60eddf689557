package plan

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/openstack-ocf/agents/lib/lock"
	"github.com/openstack-ocf/agents/lib/pacemaker"
)

// Dir is where the cluster's configuration is kept as it was before each apply.
const Dir = "/var/lib/openstack-ocf/apply"

// kept is of how many applies the configuration is kept.
const kept = 10

// SettleTime is how long the cluster may take to do what it has to do after a change: a database recovers in it.
const SettleTime = 10 * time.Minute

// Apply makes a cluster what the file says.
type Apply struct {
	*ControlPlane
	Dir string // see [Dir]
	Say func(format string, args ...any)
}

// Pending is what is left to do.
type Pending struct {
	*Difference
	Then     []string // what the cluster does when it is done, by crm_simulate
	Balancer *Rewrite // the load balancer's configuration on this node; nil if it is as it should be
	Enabled  []string // units that systemd starts on this node at boot, as in [Plan]
	Confined []string // what SELinux or AppArmor would keep services from on this node, as in [Plan]
	Storage  []string // who else mounts the storage on this node, as in [Plan]
	live     *pacemaker.Element
	agents   map[string]*pacemaker.Element
}

// Nothing tells whether the cluster and this node are as the file says.
func (p *Pending) Nothing() bool {
	return len(p.Changes) == 0 && len(p.Refused) == 0 && p.Balancer == nil
}

// String is what an operator is shown before the question whether to go ahead.
func (p *Pending) String() string {
	var b strings.Builder
	for _, c := range p.Changes {
		fmt.Fprintf(&b, "%s\n", c.What)
		for _, line := range c.Diff {
			fmt.Fprintf(&b, "    %s\n", line)
		}
		fmt.Fprintf(&b, "    %s\n", join(c.Steps, "\n    "))
	}
	if w := p.Balancer; w != nil {
		fmt.Fprintf(&b, "write %s\n    %s\n", w.File, strings.Join(w.Diff(), "\n    "))
		if w.Foreign {
			b.WriteString("    openstack-ocf did not write what is there, and all of it goes\n")
		}
	}
	if len(p.Then) > 0 {
		fmt.Fprintf(&b, "the cluster would then do:\n    %s\n", strings.Join(p.Then, "\n    "))
	}
	if len(p.Left) > 0 {
		fmt.Fprintf(&b, "not in the file, and left alone: %s\n", strings.Join(p.Left, ", "))
	}
	if p.Nothing() {
		b.WriteString("nothing is left to do\n")
	}
	if len(p.Enabled) > 0 { // without --now, which would stop what the cluster runs
		units := strings.Join(p.Enabled, " ")
		fmt.Fprintf(&b, "on this node systemd starts %s at boot, behind the cluster's back: systemctl disable %s\n", units, units)
	}
	for _, c := range slices.Concat(p.Confined, p.Storage) {
		fmt.Fprintf(&b, "on this node: %s\n", c)
	}
	return b.String()
}

// Steps are all commands, in order.
func (p *Pending) Steps() []Step {
	var steps []Step
	for _, c := range p.Changes {
		steps = append(steps, c.Steps...)
	}
	return steps
}

// Compare reads the cluster, and tries on a copy what it finds to do: crm_verify has to accept the outcome, and
// nothing may be left to do then. It changes nothing.
func (a *Apply) Compare(ctx context.Context) (*Pending, error) {
	live, err := pacemaker.CIB(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w\nif there is no cluster yet:\n    %s", err, join(a.Setup(), "\n    "))
	}
	if err := a.sameNodes(live); err != nil {
		return nil, err
	}
	if err := a.checkBalancer(ctx); err != nil {
		return nil, err
	}
	built, agents, err := a.build(ctx)
	if err != nil {
		return nil, err
	}
	p := &Pending{Difference: built.Compare(live), Enabled: a.enabled("/"), Confined: a.confined(ctx, "/"), Storage: a.disputed(ctx, "/"), live: live, agents: agents}
	if file := a.BalancerFile(); file != "" {
		if p.Balancer, err = a.lookAt(file); err != nil {
			return nil, err
		}
	}
	if len(p.Changes) == 0 || len(p.Refused) > 0 {
		return p, nil
	}
	tried, err := Build(ctx, live, p.Steps(), agents)
	if err != nil {
		return nil, fmt.Errorf("tried on a copy of the cluster's configuration: %w", err)
	}
	if left := built.Compare(tried.CIB); len(left.Changes) > 0 {
		return nil, fmt.Errorf("tried on a copy of the cluster's configuration, the commands leave something to do (%s: %s): nothing was changed",
			left.Changes[0].What, strings.Join(left.Changes[0].Diff, ", "))
	}
	p.Then, err = consequences(ctx, live, tried.CIB)
	return p, err
}

// sameNodes refuses a file for another cluster.
func (a *Apply) sameNodes(live *pacemaker.Element) error {
	var have []string
	for n := range live.Child("configuration", "nodes").All("node") {
		have = append(have, n.Attr("uname"))
	}
	for _, n := range a.nodes {
		if !slices.Contains(have, n.name.s) {
			return fmt.Errorf("%s is not a node of this cluster, which has %s: is the file for another one? `pcs cluster node add %s` adds it", n.name.s, strings.Join(have, ", "), n.name.s)
		}
	}
	return nil
}

// consequences are the starts, stops and the like that a change leads to.
func consequences(ctx context.Context, before, after *pacemaker.Element) ([]string, error) {
	was, err := pacemaker.Simulate(ctx, before)
	if err != nil {
		return nil, err
	}
	will, err := pacemaker.Simulate(ctx, after)
	if err != nil {
		return nil, err
	}
	var list []string
	for _, a := range will {
		if !a.Probe() && !a.Recurring() && a.Operation != "notify" && !slices.Contains(was, a) {
			list = append(list, a.String())
		}
	}
	return list, nil
}

func join(steps []Step, sep string) string {
	var lines []string
	for _, s := range steps {
		lines = append(lines, s.String())
	}
	return strings.Join(lines, sep)
}

// alone keeps every other apply, and undo, of this node away until release is called.
func alone(ctx context.Context, dir string) (release func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if release, err = lock.Take(ctx, dir+".lock"); err != nil {
		return nil, fmt.Errorf("another apply is under way: %w", err)
	}
	return release, nil
}

// Run makes all changes of the cluster's configuration in one, if that is still what it was, after this node's file.
// Then it waits until the cluster has nothing left to do; the error names what does not run.
func (a *Apply) Run(ctx context.Context, p *Pending) error {
	if len(p.Refused) > 0 {
		return errors.New(strings.Join(p.Refused, "\n"))
	}
	release, err := alone(ctx, a.Dir)
	if err != nil {
		return err
	}
	defer release()
	now, to, err := a.edited(ctx, p)
	if err != nil {
		return err
	}
	way := ""
	if len(p.Changes) > 0 {
		if way, err = a.keep(now, to); err != nil {
			return fmt.Errorf("nothing was changed, because the cluster's configuration cannot be kept: %w", err)
		}
		a.Say("the way back, which leaves alone what others change meanwhile: %s", way)
	}
	takeBack, err := a.writeFile(p)
	if err != nil || len(p.Changes) == 0 {
		return err
	}
	edited := func() (now, to *pacemaker.Element, err error) { return a.edited(ctx, p) }
	if err := patch(ctx, now, to, edited); err != nil {
		return errors.Join(fmt.Errorf("%w: nothing was changed", err), takeBack())
	}
	a.Say("all is changed, in one step; waiting for the cluster")
	if err := pacemaker.WaitIdle(ctx, SettleTime); err != nil {
		return fmt.Errorf("all is changed, but %w; the way back: %s", err, way)
	}
	if err := a.running(ctx); err != nil {
		return fmt.Errorf("all is changed, but %w; the way back: %s", err, way)
	}
	return nil
}

// edited is the CIB as it is and as it is to be. The error is ErrChanged if what counts is not what was compared.
func (a *Apply) edited(ctx context.Context, p *Pending) (now, to *pacemaker.Element, err error) {
	if now, err = pacemaker.CIB(ctx); err != nil {
		return nil, nil, err
	}
	if !now.Child("configuration").Equal(p.live.Child("configuration")) {
		return nil, nil, fmt.Errorf("%w: call apply again", pacemaker.ErrChanged)
	}
	built, err := Build(ctx, now, p.Steps(), p.agents)
	if err != nil {
		return nil, nil, err
	}
	return now, built.CIB, nil
}

// patch makes the cluster's CIB another. While only the status changes, which monitors write, it tries again, with what
// edited makes of it then.
func patch(ctx context.Context, now, to *pacemaker.Element, edited func() (now, to *pacemaker.Element, err error)) error {
	for {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("interrupted: %w", err)
		}
		err := pacemaker.Patch(context.WithoutCancel(ctx), now, to)
		if !errors.Is(err, pacemaker.ErrChanged) {
			return err
		}
		if now, to, err = edited(); err != nil {
			return err
		}
	}
}

// writeFile writes the load balancer's configuration on this node, and returns what takes that back.
func (a *Apply) writeFile(p *Pending) (takeBack func() error, err error) {
	w := p.Balancer
	if w == nil {
		return func() error { return nil }, nil
	}
	kept, err := w.write()
	if err != nil {
		return nil, err
	}
	a.Say("wrote %s; the same on the other nodes: %s", w.File, a.writeBalancer())
	if kept != "" {
		a.Say("what was there is %s", kept)
	}
	if p.live.Find("primitive", a.balancer().id.s) != nil {
		a.Say("the one that runs takes it over, without losing a connection, where it runs: %s", a.reload())
	}
	return func() error { return w.takeBack(kept) }, nil
}

// keep saves the configuration as it is and as it becomes, and returns the command that undoes the difference. Those of
// the last applies are kept, and no more, for they hold passwords.
func (a *Apply) keep(now, to *pacemaker.Element) (way string, err error) {
	base := filepath.Join(a.Dir, stamp())
	for name, cib := range map[string]*pacemaker.Element{".before.xml": now, ".after.xml": to} {
		cib = &pacemaker.Element{Name: "cib", Attrs: now.Attrs, Children: []*pacemaker.Element{cib.Child("configuration"), pacemaker.El("status")}}
		if err := save(base+name, cib.String()); err != nil {
			return "", err
		}
	}
	old, err := filepath.Glob(filepath.Join(a.Dir, "*.xml"))
	if err != nil {
		return "", err
	}
	for _, file := range old[:max(0, len(old)-2*kept)] { // Glob sorts
		if err := os.Remove(file); err != nil {
			return "", err
		}
	}
	return "openstack-ocf apply --undo " + filepath.Base(base), nil
}

// promotionTime is how long a replicated service may take, after a first start, until an instance of it is promoted: which one may be,
// their monitors find out between them, and until then the cluster has nothing to do.
const promotionTime = 2 * time.Minute

// running names what of the file does not run, when whoever is to be promoted has had the time for it. What failed or is degraded, and
// runs all the same, is only told.
func (a *Apply) running(ctx context.Context) error {
	whole, cancel := context.WithTimeout(ctx, promotionTime)
	defer cancel()
	for {
		st, err := pacemaker.ReadStatus(ctx)
		if err != nil {
			return err
		}
		stopped := a.stopped(st)
		await := len(stopped) > 0 && !slices.ContainsFunc(stopped, func(id string) bool { return !slices.Contains(a.promotedIPs(), id) })
		if await {
			select {
			case <-time.After(500 * time.Millisecond):
				continue
			case <-whole.Done():
			}
		}
		if ctx.Err() != nil {
			return fmt.Errorf("the wait was interrupted: %w", context.Cause(ctx))
		}
		for _, f := range st.Failures {
			a.Say("%s on %s: %s", f.Operation, f.Node, f.Reason)
		}
		if len(stopped) > 0 {
			return fmt.Errorf("%s: not running", strings.Join(stopped, ", "))
		}
		return nil
	}
}

// stopped are the resources of the file that do not run.
func (a *Apply) stopped(st *pacemaker.Status) (ids []string) {
	for _, s := range a.Steps() {
		runs := slices.ContainsFunc(st.Instances(s.Makes), func(r pacemaker.Resource) bool { return r.Active })
		if s.kind == resource && !runs {
			ids = append(ids, s.Makes)
		}
	}
	return ids
}

// promotedIPs are the addresses that are started where an instance was promoted.
func (cp *ControlPlane) promotedIPs() (ids []string) {
	for _, s := range cp.services {
		if s.run.s == asPromotable && s.ip.s != "" {
			ids = append(ids, cp.floating(s.ip.s, "").id)
		}
	}
	return ids
}

// save puts text that may hold secrets on the disk.
func save(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Sync(), f.Close())
}
