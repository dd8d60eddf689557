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

// settleTime is how long the cluster may take to do what it has to do after a change: a database recovers in it.
const settleTime = 10 * time.Minute

// Apply makes a cluster what the file says.
type Apply struct {
	*ControlPlane
	Dir string // see [Dir]
	Say func(format string, args ...any)
}

// Pending is what is left to do.
type Pending struct {
	*Difference
	Then    []string // what the cluster does when it is done, by crm_simulate
	HAProxy string   // the file on this node that is to be written, "" if it is as it should be
	live    *pacemaker.Element
}

// Nothing tells whether the cluster and this node are as the file says.
func (p *Pending) Nothing() bool {
	return len(p.Changes) == 0 && len(p.Refused) == 0 && p.HAProxy == ""
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
	if p.HAProxy != "" {
		fmt.Fprintf(&b, "write %s\n", p.HAProxy)
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
	dir, err := os.MkdirTemp("", "plan")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	live, err := pacemaker.CIB(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w\nif there is no cluster yet:\n    %s", err, join(a.Setup(), "\n    "))
	}
	if err := a.sameNodes(live); err != nil {
		return nil, err
	}
	if err := checkHAProxy(ctx, dir, a.ControlPlane.HAProxy()); err != nil {
		return nil, err
	}
	built, err := a.build(ctx, dir)
	if err != nil {
		return nil, err
	}
	p := &Pending{Difference: built.Compare(live), live: live}
	if file := a.HAProxyFile(); file != "" {
		have, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		if string(have) != a.ControlPlane.HAProxy() {
			p.HAProxy = file
		}
	}
	if len(p.Changes) == 0 || len(p.Refused) > 0 {
		return p, nil
	}
	tried, err := Build(ctx, dir, live, p.Steps())
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

// Run does what is pending, one command after the other, and stops at the first that fails. Then it waits until the
// cluster has nothing left to do; the error names what does not run. When ctx ends, it stops between two commands.
func (a *Apply) Run(ctx context.Context, p *Pending) error {
	if len(p.Refused) > 0 {
		return errors.New(strings.Join(p.Refused, "\n"))
	}
	short, cancel := context.WithTimeout(ctx, time.Second)
	release, err := lock.Take(short, a.Dir+".lock")
	cancel()
	if err != nil {
		return fmt.Errorf("another apply is under way: %w", err)
	}
	defer release()
	if p.HAProxy != "" {
		if err := replace(p.HAProxy, a.ControlPlane.HAProxy()); err != nil {
			return err
		}
		a.Say("wrote %s; the same on the other nodes: %s", p.HAProxy, a.writeHAProxy())
		if p.live.Find("primitive", a.balancer().id.s) != nil {
			a.Say("the HAProxy that runs takes it over, without losing a connection, where it runs: %s", a.reload())
		}
	}
	if len(p.Changes) == 0 {
		return nil
	}
	now, err := pacemaker.CIB(ctx)
	if err != nil {
		return err
	}
	if !now.Child("configuration").Equal(p.live.Child("configuration")) {
		return fmt.Errorf("%w: nothing was changed; call apply again", pacemaker.ErrChanged)
	}
	back := filepath.Join(a.Dir, time.Now().UTC().Format("20060102T150405Z")+".xml")
	if err := save(back, now.String()); err != nil {
		return fmt.Errorf("nothing was changed, because the cluster's configuration cannot be kept: %w", err)
	}
	way := "pcs cluster cib-push " + back + " --config"
	a.Say("the way back: %s", way)
	steps := p.Steps()
	for i, s := range steps {
		if ctx.Err() != nil {
			return fmt.Errorf("interrupted: %d of %d commands were run; call apply again to go on, or go back: %s", i, len(steps), way)
		}
		a.Say("%d of %d: %s", i+1, len(steps), s)
		if err := pacemaker.PCS(context.WithoutCancel(ctx), "", s.Args...); err != nil {
			return fmt.Errorf("%s: %w\n%d of %d commands were run before; call apply again to go on, or go back: %s", s, err, i, len(steps), way)
		}
	}
	a.Say("waiting for the cluster")
	if err := pacemaker.WaitIdle(ctx, settleTime); err != nil {
		return fmt.Errorf("all commands were run, but %w; the way back: %s", err, way)
	}
	if err := a.running(ctx); err != nil {
		return fmt.Errorf("all commands were run, but %w; the way back: %s", err, way)
	}
	return nil
}

// running names what of the file does not run. What failed or is degraded, and runs all the same, is only told.
func (a *Apply) running(ctx context.Context) error {
	st, err := pacemaker.ReadStatus(ctx)
	if err != nil {
		return err
	}
	for _, f := range st.Failures {
		a.Say("%s on %s: %s", f.Operation, f.Node, f.Reason)
	}
	var stopped []string
	for _, s := range a.Steps() {
		runs := slices.ContainsFunc(st.Instances(s.Makes), func(r pacemaker.Resource) bool { return r.Active })
		if s.kind == resource && !runs {
			stopped = append(stopped, s.Makes)
		}
	}
	if len(stopped) > 0 {
		return fmt.Errorf("%s: not running", strings.Join(stopped, ", "))
	}
	return nil
}

// replace writes a file in one step, that all may read.
func replace(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
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
