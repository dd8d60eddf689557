// Command cluster builds a Pacemaker cluster out of Linux namespaces and works with it, one command at a time.
//
//	cluster up 3
//	cluster exec node1 crm_mon -1
//	cluster cut node2
//	cluster client mariadb -h 10.76.0.100
//	cluster down
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/openstack-ocf/agents/test/cluster"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var exit *cluster.ExitError
	switch err := app().RunContext(ctx, os.Args); {
	case errors.As(err, &exit):
		os.Exit(exit.Code)
	case err != nil:
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

func app() *cli.App {
	return &cli.App{
		Name:  "cluster",
		Usage: "a Pacemaker cluster out of namespaces, until down",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "name", Aliases: []string{"n"}, Value: "demo", Usage: "name of the cluster", EnvVars: []string{"CLUSTER"}},
		},
		Commands: []*cli.Command{
			{Name: "up", Usage: "start a cluster", ArgsUsage: "[NODES]", Action: up, Flags: []cli.Flag{
				&cli.StringFlag{Name: "root", Usage: "root file system of the nodes", Value: "/"},
				&cli.BoolFlag{Name: "bare", Usage: "nodes without cluster configuration, for pcs cluster setup"},
				&cli.BoolFlag{Name: "fence-returns", Usage: "a fenced node boots again"},
				&cli.StringSliceFlag{Name: "file", Usage: "put a file of the machine into every node, `FROM:TO`"},
				&cli.StringSliceFlag{Name: "overlay", Usage: "copy a directory over the root of every node, `DIR`"},
				&cli.StringSliceFlag{Name: "unit", Usage: "enable a systemd `UNIT` on every node"},
			}},
			{Name: "exec", Usage: "run a command in a node", ArgsUsage: "NODE COMMAND...", SkipFlagParsing: true, Action: execute},
			{Name: "client", Usage: "run a command in the rack's network", ArgsUsage: "COMMAND...", SkipFlagParsing: true, Action: client},
			nodeCommand("off", "cut the power of nodes", (*cluster.Node).PowerOff),
			nodeCommand("on", "power nodes on", (*cluster.Node).PowerOn),
			nodeCommand("cut", "pull the network cable of nodes", (*cluster.Node).Cut),
			nodeCommand("heal", "plug the network cable of nodes in", (*cluster.Node).Heal),
			{Name: "disk", Usage: "make a shared ext4 disk, print its device", ArgsUsage: "MIB", Action: disk},
			{Name: "status", Usage: "show the nodes, what was fenced, and crm_mon", Action: status},
			{Name: "logs", Usage: "copy all logs into a directory", ArgsUsage: "DIR", Action: logs},
			{Name: "list", Usage: "name the clusters that live", Action: list},
			{Name: "down", Usage: "end the cluster", Action: down},
		},
	}
}

func open(ctx *cli.Context) (*cluster.Cluster, error) {
	return cluster.Open(ctx.Context, ctx.String("name"))
}

func up(ctx *cli.Context) error {
	cfg := cluster.Config{
		Name: ctx.String("name"), Keep: true, Root: ctx.String("root"), Bare: ctx.Bool("bare"), FenceReturns: ctx.Bool("fence-returns"),
		Overlay: ctx.StringSlice("overlay"), Units: ctx.StringSlice("unit"),
	}
	if ctx.Args().Present() {
		n, err := strconv.Atoi(ctx.Args().First())
		if err != nil {
			return fmt.Errorf("number of nodes: %w", err)
		}
		cfg.Nodes = n
	}
	for _, f := range ctx.StringSlice("file") {
		from, to, ok := strings.Cut(f, ":")
		if !ok {
			return fmt.Errorf("--file %s: want FROM:TO", f)
		}
		cfg.Files = append(cfg.Files, cluster.File{From: from, Path: to})
	}
	began := time.Now()
	c, err := cluster.Start(ctx.Context, cfg)
	if err != nil {
		return err
	}
	fmt.Printf("cluster %s is up, %d nodes in %.1f s\n", c.Name(), len(c.Nodes()), time.Since(began).Seconds())
	return nil
}

func execute(ctx *cli.Context) error {
	c, err := open(ctx)
	if err != nil {
		return err
	}
	args := ctx.Args()
	n, err := node(c, args.First())
	if err != nil {
		return err
	}
	_, err = n.Run(ctx.Context, terminal(args.Tail()))
	return err
}

func client(ctx *cli.Context) error {
	c, err := open(ctx)
	if err != nil {
		return err
	}
	_, err = c.Client(ctx.Context, terminal(ctx.Args().Slice()))
	return err
}

// terminal is a command on this program's own stdin, stdout and stderr.
func terminal(argv []string) cluster.Cmd {
	cmd := cluster.Cmd{Argv: argv, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	if term := os.Getenv("TERM"); term != "" {
		cmd.Env = []string{"TERM=" + term}
	}
	return cmd
}

func node(c *cluster.Cluster, name string) (*cluster.Node, error) {
	for _, n := range c.Nodes() {
		if n.Name == name {
			return n, nil
		}
	}
	return nil, fmt.Errorf("cluster %s has no node %q", c.Name(), name)
}

func nodeCommand(name, usage string, do func(*cluster.Node, context.Context) error) *cli.Command {
	return &cli.Command{Name: name, Usage: usage, ArgsUsage: "NODE...", Action: func(ctx *cli.Context) error {
		c, err := open(ctx)
		if err != nil {
			return err
		}
		if !ctx.Args().Present() {
			return errors.New("which node?")
		}
		for _, arg := range ctx.Args().Slice() {
			n, err := node(c, arg)
			if err != nil {
				return err
			}
			if err := do(n, ctx.Context); err != nil {
				return err
			}
		}
		return nil
	}}
}

func disk(ctx *cli.Context) error {
	c, err := open(ctx)
	if err != nil {
		return err
	}
	mib, err := strconv.ParseInt(ctx.Args().First(), 10, 32)
	if err != nil {
		return fmt.Errorf("size in MiB: %w", err)
	}
	device, err := c.Disk(ctx.Context, mib<<20)
	if err == nil {
		fmt.Println(device)
	}
	return err
}

func status(ctx *cli.Context) error {
	c, err := open(ctx)
	if err != nil {
		return err
	}
	states, err := c.States(ctx.Context)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, s := range states {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", s.Name, s.Addr, map[bool]string{true: "on", false: "off"}[s.On], map[bool]string{true: "cut"}[s.Cut])
	}
	w.Flush()
	events, err := c.Events(ctx.Context)
	for _, e := range events {
		fmt.Printf("%s BMC: %s %s, asked by %s %s\n", e.Time.Format(time.TimeOnly), e.Action, e.Node, e.From, e.Error)
	}
	fmt.Print(c.CrmMon(ctx.Context))
	return err
}

func logs(ctx *cli.Context) error {
	c, err := open(ctx)
	if err != nil {
		return err
	}
	if !ctx.Args().Present() {
		return errors.New("into which directory?")
	}
	return c.Logs(ctx.Context, ctx.Args().First())
}

func list(*cli.Context) error {
	names, err := cluster.List()
	for _, n := range names {
		fmt.Println(n)
	}
	return err
}

func down(ctx *cli.Context) error {
	c, err := open(ctx)
	if err != nil {
		return err
	}
	return c.Close()
}
