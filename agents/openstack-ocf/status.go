package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/lib/files"
	"github.com/openstack-ocf/agents/lib/status"
	"github.com/openstack-ocf/agents/packaging"
)

const statusHelp = `Shows each resource of the cluster, where it runs and how it serves (serving, degraded, failed, blocked, stopped),
since when, why not, and what to do about it; and failures that are over, with what makes the cluster forget them.

--watch goes on until Ctrl-C: on a terminal it has the screen for itself, and where not all has room, what serves is counted.

--json writes one object; its field "format" grows when another field goes away or changes its meaning. --metrics writes
text for Prometheus, with --output FILE for node_exporter's textfile collector (the name has to end in .prom); there
openstack_ocf_up is 0 while the cluster does not answer.

Exit codes: 0 all is well; 1 Pacemaker does not answer; 2 wrong usage; 3 a resource is degraded; 4 one has failed, is
blocked, or runs nowhere although nobody stopped it, or the cluster has no quorum, or one of its daemons on this node is
frozen.`

// The exit codes of status.
const (
	statusUsage    = 2
	statusDegraded = 3
	statusFailed   = 4
)

func statusCommand() *cli.Command {
	return &cli.Command{
		Name: "status", Usage: "show how the cluster's services are, and why", Description: statusHelp,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "watch", Aliases: []string{"w"}, Usage: "go on, and write again when something has changed"},
			&cli.BoolFlag{Name: "json", Usage: "write one JSON object"},
			&cli.BoolFlag{Name: "metrics", Usage: "write Prometheus' text format"},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write to `FILE`, in one step"},
			&cli.DurationFlag{Name: "within", Value: 10 * time.Second, Usage: "how long Pacemaker may take to answer"},
		},
		OnUsageError: func(_ *cli.Context, err error, _ bool) error { return cli.Exit(err, statusUsage) },
		Action:       runStatus,
	}
}

func runStatus(c *cli.Context) error {
	switch {
	case c.NArg() > 0:
		return cli.Exit("status takes no arguments, only options", statusUsage)
	case c.Bool("json") && c.Bool("metrics"):
		return cli.Exit("--json or --metrics, not both", statusUsage)
	case c.Bool("watch") && (c.Bool("json") || c.Bool("metrics") || c.String("output") != ""):
		return cli.Exit("--watch is for a terminal, without --json, --metrics and --output", statusUsage)
	}
	s := &statusCall{c: c, advice: status.Advice(packaging.Guide), colour: colours()}
	if c.Bool("watch") {
		return s.watch(os.Stdout)
	}
	r, err := s.read(c.Context)
	if err != nil && c.Bool("metrics") {
		var b bytes.Buffer
		return errors.Join(err, status.WriteDown(&b, time.Now(), status.Frozen("/proc")), s.deliver(b.Bytes()))
	}
	if err != nil {
		return err
	}
	var b bytes.Buffer
	switch {
	case c.Bool("json"):
		e := json.NewEncoder(&b)
		e.SetIndent("", "  ")
		err = e.Encode(r)
	case c.Bool("metrics"):
		err = r.WriteMetrics(&b)
	default:
		err = r.WriteText(&b, s.colour)
	}
	if err := errors.Join(err, s.deliver(b.Bytes())); err != nil || c.Bool("metrics") {
		return err
	}
	return verdict(r)
}

// verdict is the exit code that a script may go by.
func verdict(r *status.Report) error {
	code := 0
	for _, res := range r.Resources {
		switch {
		case res.State == status.Failed || res.State == status.Blocked || res.Down():
			code = statusFailed
		case res.State == status.Degraded:
			code = max(code, statusDegraded)
		}
	}
	if !r.Cluster.Quorum || len(r.Cluster.Frozen) > 0 {
		code = statusFailed
	}
	if code == 0 {
		return nil
	}
	return cli.Exit("", code)
}

// statusCall is one call of the command.
type statusCall struct {
	c      *cli.Context
	advice func(reason string) string
	colour bool
}

func (s *statusCall) read(ctx context.Context) (*status.Report, error) {
	ctx, cancel := context.WithTimeout(ctx, s.c.Duration("within"))
	defer cancel()
	return status.Read(ctx, s.advice)
}

func (s *statusCall) deliver(text []byte) error {
	if file := s.c.String("output"); file != "" {
		return files.Replace(file, text, 0o644)
	}
	_, err := s.c.App.Writer.Write(text)
	return err
}

// colours tells whether standard output is a terminal that has them, and somebody who wants them (https://no-color.org).
func colours() bool { return drawable(os.Stdout) && os.Getenv("NO_COLOR") == "" }

// text is what a report writes.
func text(write func(w io.Writer, colour bool) error, colour bool) string {
	var b strings.Builder
	_ = write(&b, colour) // a Builder takes all
	return b.String()
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
