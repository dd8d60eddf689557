package takeover

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"

	"github.com/openstack-ocf/agents/lib/daemon"
)

// UnitOf is the systemd unit that a process lives in, "" if it is none, or Pacemaker's own.
func UnitOf(pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return ""
	}
	return unitIn(string(text))
}

// unitIn is the unit that a process's cgroups say.
func unitIn(cgroups string) string {
	unit := ""
	for line := range strings.Lines(cgroups) {
		// hierarchy:controllers:path; systemd's own is the one without a number, or named (cgroups(7)).
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(part) != 3 || part[1] != "" && part[1] != "name=systemd" {
			continue
		}
		for name := range strings.SplitSeq(part[2], "/") {
			if strings.HasSuffix(name, ".service") {
				unit = name
			}
		}
	}
	if unit == "pacemaker.service" || unit == "pacemaker_remote.service" || strings.HasPrefix(unit, "user@") {
		return ""
	}
	return unit
}

// Look reads how a process runs, of which these parameters are given.
func Look(ctx context.Context, p *daemon.Process, given map[string]string) (Process, error) {
	args, err := p.Cmdline(ctx)
	if err != nil {
		return Process{}, err
	}
	dir, err := p.WorkDir()
	if err != nil {
		return Process{}, err
	}
	if len(args) == 0 {
		return Process{}, fmt.Errorf("%s shows no command line", p)
	}
	uid, err := p.UID()
	if err != nil {
		return Process{}, err
	}
	who := strconv.Itoa(uid)
	if u, err := user.LookupId(who); err == nil {
		who = u.Username
	}
	return Process{Program: p.Exe, Title: args[0], Args: args[1:], Dir: dir, User: who, Given: given}, nil
}
