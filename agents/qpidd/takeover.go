package qpidd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/openstack-ocf/agents/lib/files"
	"github.com/openstack-ocf/agents/lib/takeover"
)

// Takeover is how a running broker is taken over.
func Takeover() takeover.Kind {
	return takeover.Kind{Types: []string{"qpidd"}, Identity: takeover.Program("qpidd", "lt-qpidd"), Derive: derive, Direct: direct}
}

// optionParams are options of the broker that have a parameter.
func optionParams() map[string]string {
	return map[string]string{
		"--config": "config", "--data-dir": "data_dir", "--port": "port", "-p": "port", "--interface": "interface",
		"--pid-dir": "pid_dir", "--module-dir": "module_dir",
	}
}

// member is what to do about a broker that replicates. The roles are a promotable clone's, and only its start gives them.
const member = "member of a cluster of brokers: with this agent they are a promotable clone, which chooses the primary, and that takes a restart of each broker. In a quiet hour delete the resource and create the clone as `openstack-ocf describe qpidd` shows; until then leave it as it is"

const haCluster = `(?mi)^ha-cluster=(yes|true|on|1)\b`

func derive(_ context.Context, p takeover.Process) (map[string]string, error) {
	f := takeover.Params{}
	var more []string
	args := p.Args
	if i := slices.IndexFunc(args, func(a string) bool { return !strings.HasPrefix(a, "-") }); i == 0 {
		args = args[1:] // a script: its own name
	}
	flags := []string{"-d", "--daemon", "--no-data-dir", "--version"}
	for _, o := range takeover.Options(args, func(name string) bool { return !slices.Contains(flags, name) }) {
		switch {
		case o.Name == "--no-data-dir":
			return nil, errors.New("the broker was started with --no-data-dir: the agent tells it from others by the data directory that it holds")
		case strings.HasPrefix(o.Name, "--ha-"):
			return nil, fmt.Errorf("the broker was started with %s, as a %s", o.Words[0], member)
		case optionParams()[o.Name] == "port":
			f.Set(p.Given, "port", o.Value, "")
		case optionParams()[o.Name] == "interface":
			f.Set(p.Given, "interface", o.Value, "")
		case optionParams()[o.Name] != "":
			f.Set(p.Given, optionParams()[o.Name], p.Abs(o.Value), "")
		case slices.Contains([]string{"-d", "--daemon", "-w", "--wait", "--pidfile"}, o.Name):
		default:
			more = append(more, o.Words...)
		}
	}
	for _, file := range []string{cmp.Or(p.Given["config"], f["config"], "/etc/qpid/qpidd.conf"), "/etc/qpidd.conf"} {
		text, err := os.ReadFile(file)
		if err == nil && regexp.MustCompile(haCluster).Match(text) {
			return nil, fmt.Errorf("%s says ha-cluster, so that the broker is a %s", file, member)
		}
		if err == nil {
			break
		}
	}
	if f["config"] == "/etc/qpid/qpidd.conf" || f["config"] == "/etc/qpidd.conf" && !files.Exists("/etc/qpid/qpidd.conf") {
		delete(f, "config")
	}
	f.Set(p.Given, "user", p.User, cmp.Or(p.Given["user"], takeover.Default(New(), "user")))
	if len(more) > 0 {
		f.Set(p.Given, "additional_parameters", takeover.Quoted(more), "")
	}
	return f, nil
}
