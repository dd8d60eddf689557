package sharedstorage

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/openstack-ocf/agents/lib/filesystem"
	"github.com/openstack-ocf/agents/lib/mount"
	"github.com/openstack-ocf/agents/lib/service"
	"github.com/openstack-ocf/agents/lib/storage"
	"github.com/openstack-ocf/agents/ocf"
)

func (a *agent) monitor(ctx context.Context, r *ocf.Request) error {
	if r.Stays() { // whatever is mounted or unmounted from here on is an event to look again
		if changes, err := mount.Watch(); err == nil {
			r.Release(changes)
		}
	}
	s, err := a.look(ctx)
	if err == nil && !s.ours && r.Stays() { // one that stays sees an unmount before it is over
		s, err = a.settled(ctx)
	}
	if err != nil {
		return ocf.Errorf(ocf.Generic, "cannot tell whether %s is in use here: %w", a.device, err)
	}
	if !s.ours {
		return a.absent(ctx, s)
	}
	if err := a.healthy(ctx, s); err != nil {
		return err
	}
	if r.Level >= 10 {
		if err := a.deep(ctx, r, s); err != nil {
			return err
		}
	}
	return degraded(s)
}

// deep is what levels 10 and 20 ask of storage that is mounted.
func (a *agent) deep(ctx context.Context, r *ocf.Request, s state) error {
	q := filesystem.Question{Lock: r.TempFile(".asked")}
	if s.block {
		q.Device = s.path
	}
	if r.Level >= 20 && !filesystem.ReadOnly(a.options) {
		q.File, q.Content = a.statusFile(r), r.Instance+" "+time.Now().Format(time.RFC3339)+"\n"
	}
	if q.Device == "" && q.File == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, service.Remaining(ctx)*9/10) // the rest is to say what hangs
	defer cancel()
	if err := q.Ask(ctx); err != nil {
		return ocf.Errorf(ocf.Generic, "storage %s: %w", s.at, err)
	}
	return nil
}

// absent is what a monitor says where the storage is not mounted on the directory: 7 only if it is in use nowhere here.
func (a *agent) absent(ctx context.Context, s state) error {
	if err := a.inUse(ctx, s); err != nil {
		return err
	}
	switch {
	case s.mounted && (s.missing != nil || s.doubt != nil):
		return storage.Unknown(s.at, a.device, cmp.Or(s.missing, s.doubt))
	case s.own:
		return ocf.Errorf(ocf.NotRunning, "%s is what this node itself runs on, %s, and not the shared storage", a.device, s.elsewhere[0])
	case s.mounted:
		return ocf.Errorf(ocf.NotRunning, "other storage is mounted there: %s does not come from %s, as the parameter device wants it, which is not in use", s.at, a.device)
	}
	return ocf.Errorf(ocf.NotRunning, "%s is not mounted on %s, nor in use on this node", a.device, a.dir)
}

// healthy is what level 0 asks of storage that is mounted.
func (a *agent) healthy(ctx context.Context, s state) error {
	if s.at.ReadOnly && !filesystem.ReadOnly(a.options) {
		return ocf.Errorf(ocf.Generic, "%w%s", storage.GoneReadOnly(s.at), recorded(s))
	}
	if err := mount.Opens(ctx, s.dir); err != nil {
		return storage.Silent(s.at, err)
	}
	return nil
}

// errorsOf is how many errors ext4 has recorded, since the last fsck: /sys/fs/ext4/DEVICE, Documentation/ABI/testing/sysfs-fs-ext4.
func errorsOf(s state) (count int, what string) {
	dir := "/sys/fs/ext4/" + s.number.Name() + "/"
	read := func(name string) string {
		b, _ := os.ReadFile(dir + name)
		return strings.TrimSpace(string(b))
	}
	if !s.block {
		return 0, ""
	}
	if count, _ = strconv.Atoi(read("errors_count")); count == 0 {
		return 0, ""
	}
	what = fmt.Sprintf("ext4 has recorded %d errors on it", count)
	if count == 1 {
		what = "ext4 has recorded an error on it"
	}
	if sec, err := strconv.ParseInt(read("last_error_time"), 10, 64); err == nil && sec > 0 {
		what += ", the last " + time.Unix(sec, 0).UTC().Format("2006-01-02 15:04:05Z")
	}
	if f := read("last_error_func"); f != "" {
		what += " in " + f
	}
	return count, what
}

func recorded(s state) string {
	if _, what := errorsOf(s); what != "" {
		return "; " + what
	}
	return ""
}

// degraded says that the file system works, and has errors that only fsck mends. Another node would have them too.
func degraded(s state) error {
	if count, what := errorsOf(s); count > 0 {
		return ocf.Errorf(ocf.Degraded, "storage %s: %s: stop the resource when it suits and run fsck on it", s.at, what)
	}
	return nil
}

// statusFile is the file of level 20, by the name that ocf:heartbeat:Filesystem gives it.
func (a *agent) statusFile(r *ocf.Request) string {
	name := r.Instance
	if clone := r.Meta("clone"); clone != "" {
		name += "_" + clone
	}
	host, err := os.Hostname()
	if err == nil {
		name += "_" + host
	}
	return a.dir + "/" + a.prefix + name
}
