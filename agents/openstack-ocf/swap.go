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
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/lib/swap"
)

// The exit codes of the swap; they are in its help.
const (
	swapFailed     = 1
	swapUsage      = 2
	swapRefused    = 3
	swapRolledBack = 4
	swapDoubtful   = 5
	swapLocked     = 6
)

const swapHelp = `Puts these agents in the place of those that the cluster's resources have today (lsb:, systemd:,
ocf:heartbeat:mysql and the like), without a restart of any service. Without RESOURCE, all that have a
known successor are swapped, together. Run it on the node where they run. A service that lives in a
systemd unit stays there, and is run by that from then on.

First it shows what it will do; then it asks. It keeps ids, operations, meta attributes and constraints. On
any doubt, on Ctrl-C and when the terminal is lost, all is as before again, and the reason is told. The
configuration as it was, and what was done, is kept in ` + swap.Dir + `.

If the swap itself is killed, its guard undoes it, and goes on trying until it can or somebody else has
(` + swap.Dir + `/guard.log). A second node watches too: it undoes the swap if its node dies,
or if nobody else has before the maintenance ends, 4 minutes from its beginning (--within changes that).

--undo takes back what the swap changed, and nothing else. What somebody changed since of the very same is a
conflict: it is shown, and refused under --yes.

Exit codes: 0 swapped, or nothing was left to do; 1 an error, before anything was changed; 2 wrong usage;
3 refused, and nothing was changed; 4 rolled back, and all is as before; 5 rolled back, but look at the
cluster (crm_mon -1rf); 6 another swap is under way on this node.`

func swapCommand() *cli.Command {
	return &cli.Command{
		Name: "swap", Usage: "put these agents in the place of others, without a restart", ArgsUsage: "[RESOURCE...]", Description: swapHelp,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "to", Usage: "the `AGENT` to put there, instead of the one that is known to follow"},
			&cli.BoolFlag{Name: "undo", Usage: "take the last swap back, or end one that was cut off"},
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "only show what would be done"},
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask"},
			&cli.BoolFlag{Name: "json", Usage: "write one JSON object to standard output; progress goes to standard error"},
			&cli.BoolFlag{Name: "defaults", Usage: "give the resources the operations that the new agents advise, instead of keeping theirs"},
			&cli.BoolFlag{Name: "maintenance", Usage: "have the cluster leave all resources alone meanwhile, not only these"},
			&cli.DurationFlag{Name: "within", Value: swap.Within, Usage: "how long it may take at `MOST`, and a rollback once more; the cluster leaves the resources alone for a third more"},
			&cli.StringFlag{Name: strings.TrimPrefix(swap.SecondFlag, "--"), Hidden: true, Usage: "with --guard: of another node's swap"},
			&cli.BoolFlag{Name: "guard", Hidden: true, Usage: "wait for the swap that is under way, and undo it if it died"},
		},
		OnUsageError: func(_ *cli.Context, err error, _ bool) error { return cli.Exit(err, swapUsage) },
		Before:       supported,
		Action:       runSwap,
	}
}

// swapper is one call of the command.
type swapper struct {
	*swap.Swap
	c   *cli.Context
	out io.Writer // for people
}

// outcome is what --json writes.
type outcome struct {
	Result string     `json:"result"` // swapped, undone, planned, nothing, refused, failed, rolled back
	Reason []string   `json:"reason,omitempty"`
	Plan   *swap.Plan `json:"plan,omitempty"`
}

func runSwap(c *cli.Context) error {
	for _, arg := range c.Args().Slice() {
		if strings.HasPrefix(arg, "-") {
			return cli.Exit("options come before resources: "+arg, swapUsage)
		}
	}
	if d := c.Duration("within"); d < 15*time.Second || d > time.Hour {
		return cli.Exit("--within takes 15s to 1h", swapUsage)
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	s := &swapper{c: c, out: c.App.Writer}
	if c.Bool("json") {
		s.out = c.App.ErrWriter
	} else if isTerminal(os.Stdout) {
		s.out = &live{out: s.out}
	}
	began := time.Now()
	s.Swap = &swap.Swap{
		Agents: takeovers(), Version: version, Program: program, Guard: []string{"swap", "--guard"}, Dir: swap.Dir,
		Only: c.Args().Slice(), To: c.String("to"), Defaults: c.Bool("defaults"), Whole: c.Bool("maintenance"), Within: c.Duration("within"),
		Say: func(format string, args ...any) {
			fmt.Fprintf(s.out, "%6.1f s  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
		},
	}
	// A terminal that is gone, or a pipe whose reader is, must not kill a swap half way; nor must Ctrl-Z halt it.
	signal.Ignore(unix.SIGPIPE, unix.SIGTSTP)
	ctx, cancel := context.WithCancelCause(c.Context)
	defer cancel(nil)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, unix.SIGTERM, unix.SIGHUP)
	go func() {
		for sig := range signals {
			cancel(fmt.Errorf("interrupted (%v)", sig))
		}
	}()
	if c.Bool("guard") {
		s.Say = func(format string, args ...any) {
			fmt.Fprintln(s.out, time.Now().Format(time.DateTime), fmt.Sprintf(format, args...))
		}
		if name := c.String("second"); name != "" {
			return s.Relieve(ctx, name)
		}
		return s.Watch(ctx)
	}
	o, err := s.do(ctx)
	return s.tell(o, err)
}

func (s *swapper) do(ctx context.Context) (outcome, error) {
	if !s.c.Bool("dry-run") {
		release, err := s.lock(ctx)
		if err != nil {
			return outcome{}, err
		}
		defer release()
		if did, err := s.leftover(ctx); err != nil {
			return outcome{}, err
		} else if did != "" {
			return outcome{Result: "undone", Reason: []string{did}}, nil
		}
	}
	plan := s.Plan
	if s.c.Bool("undo") {
		plan = s.PlanUndo
	}
	p, err := plan(ctx)
	if err != nil {
		return outcome{Plan: p}, err
	}
	result, err := s.carryOut(ctx, p)
	return outcome{Result: result, Plan: p}, err
}

// lock keeps other swaps away until release is called.
func (s *swapper) lock(ctx context.Context) (release func(), err error) {
	soon, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if release, err = s.Lock(soon); errors.Is(err, context.DeadlineExceeded) {
		err = cli.Exit("another swap is under way on this node, or its guard is undoing it: wait for it to end", swapLocked)
	}
	return release, err
}

// leftover ends a swap that was cut off, and says what it did if that is all that was asked for.
func (s *swapper) leftover(ctx context.Context) (string, error) {
	did, err := s.Recover(ctx)
	if err != nil {
		return "", &swap.RolledBack{Why: errors.New("a swap that was cut off before has to be ended first, and could not be"), Left: err}
	}
	if !s.c.Bool("undo") {
		return "", nil
	}
	if did == "" {
		return s.Abandoned(ctx)
	}
	if did == swap.Finished { // it is in effect, and to be undone
		return "", nil
	}
	return did, nil
}

// carryOut shows a plan and does it, if that is wanted. It returns the outcome's result.
func (s *swapper) carryOut(ctx context.Context, p *swap.Plan) (string, error) {
	if len(p.Changes) == 0 {
		none := ""
		if s.c.Bool("undo") {
			none = ": no swap that was made on this node is in effect"
		}
		fmt.Fprintf(s.out, "nothing is left to do%s\n", none)
		return "nothing", nil
	}
	s.show(p)
	if s.c.Bool("dry-run") {
		return "planned", nil
	}
	if err := s.agreed(ctx, p); err != nil {
		return "", err
	}
	if err := during(s.out, s.Hold().String(), func() error { return s.Run(ctx, p) }); err != nil {
		return "", err
	}
	if s.c.Bool("undo") {
		return "undone", nil
	}
	s.Say("done; `openstack-ocf swap --undo` on this node takes it back")
	return "swapped", nil
}

// show tells what will happen.
func (s *swapper) show(p *swap.Plan) {
	for _, c := range p.Changes {
		fmt.Fprintf(s.out, "%s: %s -> %s; %s\n", c.ID, c.From, c.To, c.Process)
		fmt.Fprintf(s.out, "  %s\n", c.Way())
		for _, line := range s.Diff(c) {
			fmt.Fprintf(s.out, "    %s\n", line)
		}
		for _, n := range c.Conflict {
			fmt.Fprintf(s.out, "  CONFLICT: %s\n", n)
		}
		for _, n := range c.Notes {
			fmt.Fprintf(s.out, "  note: %s\n", n)
		}
	}
	if len(p.Still) > 0 {
		fmt.Fprintf(s.out, "%s: not changed, but left alone by the cluster meanwhile, for it depends on what is\n", strings.Join(p.Still, ", "))
	}
	fmt.Fprintf(s.out, "Then: %s are asked; the cluster leaves these resources alone meanwhile (seconds, %s at most); no service is restarted.\n", strings.Join(p.Nodes, ", "), s.Hold())
}

// agreed is nil if a person agrees, or has with --yes, which is not to give up what others changed.
func (s *swapper) agreed(ctx context.Context, p *swap.Plan) error {
	if s.c.Bool("yes") {
		if conflicts := p.Conflicts(); len(conflicts) > 0 {
			return &swap.Refusal{Reasons: append(conflicts, "a person has to agree to that: call it without --yes")}
		}
		return nil
	}
	if err := confirm(ctx, s.out, bufio.NewReader(os.Stdin), "Go ahead?"); err != nil {
		return &swap.Refusal{Reasons: []string{err.Error()}}
	}
	return nil
}

// tell writes the outcome, and turns an error into an exit code.
func (s *swapper) tell(o outcome, err error) error {
	code := 0
	var refused *swap.Refusal
	var back *swap.RolledBack
	var exit cli.ExitCoder
	switch {
	case err == nil:
	case errors.As(err, &refused):
		o.Result, o.Reason, code = "refused", refused.Reasons, swapRefused
		err = errors.New("refused, nothing was changed:\n  " + strings.Join(refused.Reasons, "\n  "))
	case errors.As(err, &back):
		o.Result, code = "rolled back", swapRolledBack
		if back.Left == nil {
			err = fmt.Errorf("rolled back, and all is as before: %w", err)
			break
		}
		code = swapDoubtful
		err = fmt.Errorf("rolled back: %w\nlook at the cluster: crm_mon -1rf", err)
	case errors.As(err, &exit):
		o.Result, code = "failed", exit.ExitCode()
	default:
		o.Result, code = "failed", swapFailed
	}
	if err != nil && len(o.Reason) == 0 {
		o.Reason = strings.Split(err.Error(), "\n")
	}
	if s.c.Bool("json") {
		if o.Plan != nil {
			o.Plan = s.Masked(o.Plan)
		}
		e := json.NewEncoder(s.c.App.Writer)
		e.SetIndent("", "  ")
		if jerr := e.Encode(o); err == nil {
			err = jerr
		}
	}
	if err == nil {
		return nil
	}
	return cli.Exit(fmt.Sprintf("openstack-ocf: %v", err), code)
}
