package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/lib/pacemaker"
	"github.com/openstack-ocf/agents/lib/plan"
)

const planHelp = `Reads a short description of a control plane, and writes the commands of pcs that make it, in order, as a shell
script; what else is to do stands there as comments. The agents, crm_verify, crm_simulate and haproxy check what
comes of it. Nothing is changed, and neither a cluster nor pcs is needed, but the agents are.`

const applyHelp = `Compares the cluster with a description of a control plane, shows the difference as commands of pcs, asks, and
changes only that: all in one step, or nothing if somebody else changed the configuration meanwhile. pcs is not
needed. It never deletes a resource, nor a parameter that the file does not know. The cluster's configuration as it
was is kept in ` + plan.Dir + `, and the way back is told: --undo takes back what one apply did, and
nothing that others did since. A second call finds nothing left to do.

HAProxy's configuration is written on this node alone, and what was there is kept beside it; "plan --haproxy" writes
it on the others.

Exit codes: 0 all is as described; 1 an error, or not confirmed.`

const replaceFlag = "replace-haproxy"

// supported has a command refuse a cluster that is too old for it, in one line.
func supported(c *cli.Context) error { return pacemaker.Supported(c.Context) }

func planCommand() *cli.Command {
	return &cli.Command{
		Name: "plan", Usage: "write the commands that make a control plane, from its description", ArgsUsage: "CONTROLPLANE.yaml", Description: planHelp,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "cib", Usage: "write the CIB to `FILE`"},
			&cli.StringFlag{Name: "haproxy", Usage: "only write HAProxy's configuration, to `FILE`"},
			&cli.BoolFlag{Name: "json", Usage: "write all of it as one JSON object"},
		},
		Before: supported,
		Action: runPlan,
	}
}

func applyCommand() *cli.Command {
	return &cli.Command{
		Name: "apply", Usage: "make the cluster what a description of a control plane says", ArgsUsage: "CONTROLPLANE.yaml", Description: applyHelp,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "only show what would be done"},
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask"},
			&cli.StringFlag{Name: "undo", Usage: "take back what the apply of that `TIME` did on this node; haproxy.cfg stays"},
			&cli.BoolFlag{Name: replaceFlag, Usage: "replace an haproxy.cfg that openstack-ocf did not write"},
		},
		Before: supported,
		Action: runApply,
	}
}

func controlPlane(c *cli.Context) (*plan.ControlPlane, error) {
	if c.NArg() != 1 {
		return nil, errors.New("want one file that describes the control plane; options come before it")
	}
	file := c.Args().First()
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return plan.Read(file, data, places())
}

func runPlan(c *cli.Context) error {
	cp, err := controlPlane(c)
	if err != nil {
		return err
	}
	if file := c.String("haproxy"); file != "" {
		if c.String("cib") != "" || c.Bool("json") {
			return errors.New("--haproxy writes HAProxy's configuration and nothing else: give it alone")
		}
		kept, err := cp.WriteBalancer(c.Context, file)
		if err != nil {
			return err
		}
		fmt.Fprintln(c.App.Writer, "wrote", file)
		if kept != "" {
			fmt.Fprintln(c.App.Writer, "what was there is", kept)
		}
		return nil
	}
	p, err := plan.New(c.Context, cp)
	if err != nil {
		return err
	}
	if file := c.String("cib"); file != "" {
		if err := os.WriteFile(file, []byte(p.CIB.String()), 0o600); err != nil {
			return err
		}
	}
	if c.Bool("json") {
		e := json.NewEncoder(c.App.Writer)
		e.SetIndent("", "  ")
		return e.Encode(p)
	}
	_, err = io.WriteString(c.App.Writer, p.Script())
	return err
}

func runApply(c *cli.Context) error {
	// A terminal that is gone must not end it between a command and its report.
	signal.Ignore(unix.SIGPIPE)
	ctx, stop := signal.NotifyContext(c.Context, os.Interrupt, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	out, in := io.Writer(c.App.Writer), bufio.NewReader(os.Stdin)
	if isTerminal(os.Stdout) {
		out = &live{out: out}
	}
	if at := c.String("undo"); at != "" {
		return runUndo(ctx, c, out, at)
	}
	cp, err := controlPlane(c)
	if err != nil {
		return err
	}
	a := &plan.Apply{ControlPlane: cp, Dir: plan.Dir, Say: func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) }}
	p, err := a.Compare(ctx)
	if err != nil {
		return err
	}
	fmt.Fprint(out, p)
	switch {
	case len(p.Refused) > 0:
		return fmt.Errorf("refused, nothing was changed:\n  %s", strings.Join(p.Refused, "\n  "))
	case p.Nothing() || c.Bool("dry-run"):
		return nil
	case !c.Bool("yes"):
		if err := confirm(ctx, out, in, "Go ahead?"); err != nil {
			return err
		}
	}
	if w := p.Balancer; w != nil && w.Foreign && !c.Bool(replaceFlag) {
		if c.Bool("yes") {
			return fmt.Errorf("%s was not written by openstack-ocf: nothing was changed; --%s replaces it, and keeps what is there beside it", w.File, replaceFlag)
		}
		if err := confirm(ctx, out, in, fmt.Sprintf("Replace %s, which openstack-ocf did not write? It stays beside, under another name.", w.File)); err != nil {
			return err
		}
	}
	if err := during(out, plan.SettleTime.String(), func() error { return a.Run(ctx, p) }); err != nil {
		return err
	}
	fmt.Fprintln(out, "done: all is as described")
	return nil
}

// runUndo takes back what an apply did.
func runUndo(ctx context.Context, c *cli.Context, out io.Writer, at string) error {
	if c.NArg() > 0 || c.Bool(replaceFlag) {
		return errors.New("--undo takes no file: it knows what the apply of that time changed")
	}
	u := &plan.Undo{Dir: plan.Dir, Time: at, Say: func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) }}
	p, err := u.Compare(ctx)
	if err != nil {
		return err
	}
	fmt.Fprint(out, p)
	if p.Nothing() || c.Bool("dry-run") {
		return nil
	}
	if c.Bool("yes") && len(p.Lost) > 0 {
		return errors.New("what others changed would go too, so a person has to agree: call it without --yes; nothing was changed")
	}
	if !c.Bool("yes") {
		if err := confirm(ctx, out, bufio.NewReader(os.Stdin), "Go ahead?"); err != nil {
			return err
		}
	}
	if err := during(out, plan.SettleTime.String(), func() error { return u.Run(ctx, p) }); err != nil {
		return err
	}
	fmt.Fprintln(out, "done: what that apply did is taken back")
	return nil
}

// confirm asks a person.
func confirm(ctx context.Context, out io.Writer, in *bufio.Reader, question string) error {
	fmt.Fprint(out, question, " [y/N] ")
	answer := make(chan string, 1)
	go func() {
		line, _ := in.ReadString('\n')
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case a := <-answer:
		if a == "y" || a == "yes" {
			return nil
		}
	case <-ctx.Done():
		fmt.Fprintln(out)
		return fmt.Errorf("%w; nothing was changed", context.Cause(ctx))
	}
	return errors.New("not confirmed; nothing was changed (--yes does not ask)")
}
