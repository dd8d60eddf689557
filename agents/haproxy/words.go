package haproxy

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/oom"
	"github.com/openstack-ocf/agents/lib/selinux"
	"github.com/openstack-ocf/agents/lib/service"
	"github.com/openstack-ocf/agents/lib/systemd"
	"github.com/openstack-ocf/agents/ocf"
)

// How HAProxy is run. With -D it closes its standard error once it runs, and nobody hears why a worker died later; so it
// stays in the foreground where a journal keeps its words, as under its unit.
const (
	detached   = "-D"
	foreground = "-db"
)

// voice is what HAProxy says on its standard error: to the journal, or to a file until it has detached.
type voice struct {
	name  string // in the journal
	file  string
	since time.Time
	to    *os.File // the stream to the journal, nil if there is none
}

func (s settings) voice() voice {
	v := voice{name: s.name(), file: s.out, since: time.Now()}
	if streams() {
		v.to, _ = systemd.Stream(v.name)
	}
	return v
}

// streams says whether there is a journal that HAProxy may write to. Where SELinux enforces its policy, the kernel gives it
// /dev/null for a stream that the agent has opened (test/policy).
func streams() bool { return systemd.Journals() && !selinux.Enforcing("/") }

// name is what the journal has its words under: that of the program, as under its unit, and the pid file's if it is another.
func (s settings) name() string {
	if name := strings.TrimSuffix(filepath.Base(s.pid), ".pid"); name != "haproxy" {
		return "haproxy-" + name
	}
	return "haproxy"
}

func (v voice) mode() string {
	if v.to != nil {
		return foreground
	}
	return detached
}

// direct has a command speak there; id is what it leaves behind if it detaches.
func (v voice) direct(c daemon.Command, id *daemon.Identity) daemon.Command {
	if v.to != nil {
		c.Errors = v.to
		return c
	}
	c.Output, c.Forks = v.file, id
	return c
}

func (v voice) close() {
	if v.to != nil {
		_ = v.to.Close()
	}
}

// last is what it complained of.
func (v voice) last(ctx context.Context) string {
	if words := alerts(v.file); words != "" {
		return words
	}
	soon, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWait)
	defer cancel()
	return complaints(systemd.Said(soon, v.name, v.since))
}

// lastWait is for the journal's answer.
const lastWait = 2 * time.Second

// why is what it complained of, or where to look.
func (v voice) why(ctx context.Context) string {
	if words := v.last(ctx); words != "" {
		return words
	}
	return "see HAProxy's log"
}

// lately is how old the last words of one that died may be: older ones are of something else.
const lately = 2 * time.Minute

// absent is a monitor's answer when there is no process. Of one that nobody stopped, the pid file is left: then, and only
// then, journalctl is run for what it said last.
func (a *agent) absent(ctx context.Context, r *ocf.Request, s settings) error {
	err := a.daemon(r).Absent(r)
	if ocf.CodeOf(err) != ocf.NotRunning || errors.As(err, new(*oom.Kill)) || a.unit != "" || service.Remaining(ctx) < 2*lastWait {
		return err
	}
	left, serr := os.Stat(s.pid)
	if serr != nil {
		return err
	}
	v := voice{name: s.name(), since: time.Now().Add(-lately)}
	if left.ModTime().After(v.since) {
		v.since = left.ModTime()
	}
	if words := v.last(ctx); words != "" {
		return ocf.Errorf(ocf.NotRunning, "HAProxy died: %s (%w)", words, err)
	}
	return err
}
