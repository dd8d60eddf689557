package service

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/oom"
	"github.com/openstack-ocf/agents/ocf"
)

// A service that was killed for lack of memory leaves no word; the kernel's log has it. That is read only once the service is
// known to be dead, and only what was killed since it began to serve counts.

// Began notes that p serves from now on, in the file of the service's lock, which the caller holds.
func (s Service) Began(r *ocf.Request, p *daemon.Process) {
	st, _ := p.Stat() // of one that has died since, nothing is known
	note := fmt.Sprintf("%d %s\n", oom.Now(), st.Comm)
	if err := os.WriteFile(s.lockFile(r), []byte(note), 0o600); err != nil {
		r.Log.Warn("it will not be told whether the kernel has killed the service for lack of memory", "error", err)
	}
}

// starved is whom of the service the kernel has killed for lack of memory since it began to serve, nil if nobody.
func (d Daemon) starved(r *ocf.Request) error {
	note, _ := os.ReadFile(d.lockFile(r))
	at, comm, noted := strings.Cut(strings.TrimSpace(string(note)), " ")
	began, err := strconv.ParseInt(at, 10, 64)
	if !noted || err != nil { // nobody started it: it was taken over as it ran, or was never on this node, of which a probe asks
		if r.Probe() {
			return nil
		}
		return killed(-1, d.Unit, d.Identity.Executables...)
	}
	return killed(time.Duration(began), d.Unit, comm)
}

// killed is the last one since began that ran in the unit, or has the name of one of the programs where the kernel names no unit,
// or the service has none; nil if there is none.
func killed(began time.Duration, unit string, programs ...string) error {
	for _, k := range slices.Backward(oom.Since(began)) {
		named := slices.ContainsFunc(programs, func(p string) bool {
			name := filepath.Base(p)
			return k.Task == name[:min(len(name), 15)]
		})
		if unit != "" && k.In(unit) || named && (unit == "" || k.Unit() == "") {
			return &k
		}
	}
	return nil
}
