//go:build linux

// Command demo shows the agents at work to somebody who knows Pacemaker: it builds a cluster, deploys the document's
// group on it, has clients use it all the while, breaks it in every way an operator fears, and counts what was lost.
// It exits with 1 if anything was, or if the cluster did not do what it should.
//
// The environment: KEEP=1 leaves the cluster up, DEMO_MARKDOWN names a file for the table of figures, DEMO_REPORT one for a page
// with a timeline, DEMO_PICTURE one for a drawing of the fail-over after the power cut. `make demo` builds all that is needed and
// runs it from the repository's top.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/scenario"
)

const (
	binary   = "bin/openstack-ocf"
	command  = "bin/cluster" // test/cluster/cmd/cluster
	keepName = "demo"        // the name that command looks for
)

var errInterrupted = errors.New("interrupted")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, newStory(os.Stdout), os.Getenv("KEEP") != "", files{os.Getenv("DEMO_MARKDOWN"), os.Getenv("DEMO_REPORT"), os.Getenv("DEMO_PICTURE")})
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// files are where the figures go; "" is none.
type files struct{ markdown, report, picture string }

func run(ctx context.Context, out *story, keep bool, to files) (err error) {
	if err := cluster.Missing(""); err != nil {
		return fmt.Errorf("%w: the demo builds hosts out of namespaces, with systemd, corosync and Pacemaker", err)
	}
	out.chapter("Three control nodes")
	group := services(out)
	c, err := build(ctx, out, keep, group)
	if err != nil {
		if ctx.Err() != nil {
			err = errInterrupted
		}
		return err
	}
	defer func() {
		if ctx.Err() != nil {
			err = errInterrupted
		} else if keep {
			out.lookAround()
			return
		}
		if left := c.Close(); left != nil {
			err = errors.Join(err, left)
		}
	}()
	s, err := deploy(ctx, out, c, group)
	if err != nil {
		return err
	}
	defer s.Close()
	var m moments
	m.follow(s)
	var figures []figure
	for _, sc := range scenes {
		if !s.Can(sc.Act) {
			continue
		}
		f, err := sc.show(ctx, out, len(figures)+1, s)
		if err != nil {
			return err
		}
		figures = append(figures, f)
	}
	return count(ctx, out, s, &m, figures, to)
}

// build starts the cluster.
func build(ctx context.Context, out *story, keep bool, group []scenario.Service) (*cluster.Cluster, error) {
	cfg, err := scenario.Config(binary, group...)
	if err != nil {
		return nil, err
	}
	if cfg.Keep = keep; keep {
		cfg.Name = keepName
		if live, err := cluster.List(); err == nil && strings.Contains(" "+strings.Join(live, " ")+" ", " "+keepName+" ") {
			return nil, fmt.Errorf("a demo's cluster is still up: end it with %s down", command)
		}
	}
	out.say("Three hosts out of Linux namespaces, each with systemd, corosync and Pacemaker; a disk that all of them can mount,")
	out.say("one at a time; power switches with which the cluster fences. Nothing of it runs on this machine itself.")
	c, err := cluster.Start(ctx, cfg)
	if err != nil {
		return nil, err
	}
	res, err := c.Nodes()[0].Shell(ctx, `echo "$(crm_mon --version | head -n1), pcs $(pcs --version), $(mariadbd --version | grep -o '[0-9.]*-MariaDB')"`)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	out.say("Quorum, a DC and three nodes online: %s.", strings.TrimSpace(res.Stdout))
	return c, nil
}

// deploy creates the group and lets the clients in.
func deploy(ctx context.Context, out *story, c *cluster.Cluster, group []scenario.Service) (_ *scenario.Stage, err error) {
	ctx, done := moving(ctx, stalled, out, seen(c))
	defer func() { err = done(err) }()
	out.chapter("The control plane, from its description")
	s, err := scenario.Apply(ctx, c, out.command, group...)
	if err != nil {
		return nil, err
	}
	out.crmMon(ctx, c)
	var units []string
	for _, a := range s.Actors {
		units = append(units, a.Unit)
	}
	out.say("Clients on the network now send %s to %s, one after the other, and count those acknowledged.", strings.Join(units, ", "), scenario.FloatingIP)
	return s, nil
}

// count reads everything back.
func count(ctx context.Context, out *story, s *scenario.Stage, m *moments, figures []figure, to files) error {
	counting, done := moving(ctx, stalled, out, seen(s.Cluster))
	out.chapter("The count")
	audits, err := s.Audit(counting)
	err = done(err)
	var lines []string
	for i, a := range audits {
		actor := s.Actors[i]
		line := fmt.Sprintf("%d %s acknowledged, %d %s found", a.Acknowledged, actor.Unit, a.Found, actor.Unit)
		switch {
		case actor.Diskless:
			acknowledged, tries := actor.Acknowledged()
			line = fmt.Sprintf("%d %s, %d answered", tries, actor.Unit, acknowledged)
		case actor.Forgets:
			line = fmt.Sprintf("%d %s acknowledged by a stand-in that keeps none over a restart", a.Acknowledged, actor.Unit)
		}
		lines = append(lines, line)
	}
	table := tabulate(s, figures, audits)
	out.table(table)
	for _, l := range lines {
		out.say("%s", l)
	}
	if err == nil {
		out.say("At no time did two servers work on the data, nor two nodes have it mounted.")
	}
	if to.markdown != "" {
		text := table.markdown() + "\n" + strings.Join(lines, "; ") + ".\n"
		err = errors.Join(err, os.WriteFile(to.markdown, []byte(text), 0o644))
	}
	if to.report != "" {
		err = errors.Join(err, report(to.report, s, figures, audits))
	}
	if to.picture != "" {
		err = errors.Join(err, picture(ctx, to.picture, s, m, figures))
	}
	return err
}
