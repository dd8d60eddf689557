package mysql

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/openstack-ocf/agents/lib/hang"
	"github.com/openstack-ocf/agents/lib/systemd"
)

// byUnit is how the unit runs the server: by the command line of the process that is there, else by what the unit says.
func (p *params) byUnit(ctx context.Context) systemd.Unit {
	u, _ := systemd.Read("/", p.unit)
	u.Exec = serverIn(u.Exec)
	running, err := hang.Bound(ctx, p.unit, func() ([]string, error) { return commandLine(p.unit) })
	if err == nil && len(running) > 0 {
		u.Exec = running
	}
	return u
}

// commandLine is that of the server in the unit's control group, nil if there is none.
func commandLine(unit string) ([]string, error) {
	pids, err := systemd.Processes(unit)
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil || len(text) == 0 {
			continue
		}
		args := strings.Split(string(bytes.TrimSuffix(text, []byte{0})), "\x00")
		if slices.Contains(servers, filepath.Base(args[0])) {
			return args, nil
		}
	}
	return nil, err
}

// serverIn finds the server's command line in that of a unit, which may be a shell's: Debian's ends in "exec
// /usr/sbin/mariadbd $MYSQLD_OPTS".
func serverIn(exec []string) []string {
	if len(exec) > 2 && exec[1] == "-c" {
		words := strings.Fields(exec[2])
		i := slices.IndexFunc(words, isServer)
		if i < 0 {
			return nil
		}
		words = words[i:]
		if end := slices.IndexFunc(words, func(w string) bool { return strings.Trim(w, ";&|") == "" }); end >= 0 {
			words = words[:end]
		}
		return words
	}
	if len(exec) == 0 || !isServer(exec[0]) {
		return nil
	}
	return exec
}

func isServer(path string) bool {
	return slices.Contains(slices.Concat(servers, wrappers), filepath.Base(path))
}
