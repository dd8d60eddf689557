package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/openstack-ocf/agents/lib/filesystem"
	"github.com/openstack-ocf/agents/ocf"
)

const provider = "openstack"

// cliApp is the operator's command.
func cliApp() *cli.App {
	return &cli.App{
		Name:                 "openstack-ocf",
		Usage:                "Pacemaker resource agents for an OpenStack control plane",
		Version:              version,
		EnableBashCompletion: true,
		Commands: []*cli.Command{
			{
				Name: "agents", Usage: "list the agents",
				Action: func(c *cli.Context) error {
					all := agents()
					for _, name := range slices.Sorted(maps.Keys(all)) {
						fmt.Fprintf(c.App.Writer, "ocf:%s:%-24s %s\n", provider, name, all[name]().Short)
					}
					return nil
				},
			},
			{
				Name: "describe", Usage: "describe an agent: its parameters and actions", ArgsUsage: "AGENT",
				Flags: []cli.Flag{&cli.StringFlag{Name: "format", Value: "text", Usage: "text, xml, json, man or completion"}},
				Action: func(c *cli.Context) error {
					a, err := agentNamed(c.Args().First())
					if err != nil {
						return err
					}
					return describe(c.App.Writer, a, c.String("format"))
				},
			},
			{
				Name: "run", Usage: "run an agent's action by hand", ArgsUsage: "AGENT ACTION",
				Action: func(c *cli.Context) error {
					a, err := agentNamed(c.Args().First())
					if err != nil {
						return err
					}
					os.Exit(int(ocf.Run(c.Context, a, ocf.Call{Args: c.Args().Tail(), Env: os.Environ(), Stdout: os.Stdout, Stderr: os.Stderr, Stdin: os.Stdin})))
					return nil
				},
			},
			{
				Name: "link", Usage: "make the agents' links to this binary in a directory", ArgsUsage: "DIRECTORY TARGET",
				Action: func(c *cli.Context) error { return link(c.Args().Get(0), c.Args().Get(1)) },
			},
			{
				Name: filesystem.AskCommand, Hidden: true, Usage: "for a monitor to call", ArgsUsage: "TIME QUESTION",
				Action: func(c *cli.Context) error { return filesystem.Answer(c.Context, c.App.Writer, c.Args().Slice()) },
			},
			planCommand(),
			applyCommand(),
			swapCommand(),
			statusCommand(),
			doctorCommand(),
			alertCommand(),
		},
	}
}

func agentNamed(name string) (ocf.Agent, error) {
	if a, ok := find(name); ok {
		return a(), nil
	}
	return ocf.Agent{}, fmt.Errorf("no agent %q; `openstack-ocf agents` lists them", name)
}

func describe(w io.Writer, a ocf.Agent, format string) error {
	switch format {
	case "text":
		_, err := io.WriteString(w, a.Usage())
		return err
	case "xml":
		return a.WriteMetaData(w)
	case "json":
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(a)
	case "man":
		_, err := io.WriteString(w, a.Man(provider))
		return err
	case "completion":
		_, err := io.WriteString(w, a.BashCompletion())
		return err
	}
	return fmt.Errorf("no format %q: text, xml, json, man or completion", format)
}

// link makes one link per agent in dir, each to target.
func link(dir, target string) error {
	if dir == "" || target == "" {
		return fmt.Errorf("want a directory and what the links point to, such as /usr/lib/ocf/resource.d/%s ../../../../bin/openstack-ocf", provider)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name := range agents() {
		path := filepath.Join(dir, name)
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			return err
		}
		if err := os.Symlink(target, path); err != nil {
			return err
		}
	}
	return nil
}
