package sharedstorage

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/lib/filesystem"
	"github.com/openstack-ocf/agents/lib/hang"
	"github.com/openstack-ocf/agents/ocf"
)

func (a *agent) start(ctx context.Context, r *ocf.Request) error {
	// Two starts at once: the kernel lets one mount win, and the other finds it.
	s, err := a.look(ctx)
	if err != nil {
		return ocf.Errorf(ocf.Generic, "cannot tell what is mounted on %s: %w", a.dir, err)
	}
	if s.ours {
		return a.healthy(ctx, s)
	}
	// As ocf:heartbeat:Filesystem does, whose resources may come here: a node that never had the directory must not be lost.
	if _, err := hang.Bound(ctx, "the directory "+a.dir, func() (struct{}, error) { return struct{}{}, os.MkdirAll(a.dir, 0o755) }); err != nil {
		return ocf.Errorf(ocf.Generic, "directory %s cannot be made: %w", a.dir, err)
	}
	if err := a.ready(ctx, s); err != nil {
		return err
	}
	if s, err = a.await(ctx, r); err != nil {
		return err
	}
	if s.ours { // by another start of it, meanwhile
		return a.healthy(ctx, s)
	}
	if s.block {
		if err := a.prepared(ctx, r, s); err != nil {
			return err
		}
	}
	if err := a.unique(ctx, r); err != nil {
		return err
	}
	r.Step("mounting %s", a.device)
	err = a.mount(ctx, r, s)
	after, seen := a.look(ctx)
	switch {
	case err != nil && after.ours: // by another start of it, a moment ago
	case err != nil:
		return a.refused(ctx, s, err)
	case seen != nil:
		return ocf.Errorf(ocf.Generic, "cannot tell whether %s is mounted now: %w", a.device, seen)
	case !after.ours:
		return ocf.Errorf(ocf.Generic, "%s was mounted, but is not what is on %s now: %s", a.device, a.dir, after.at)
	}
	if err := a.healthy(ctx, after); err != nil {
		return err
	}
	r.Log.Info("mounted", "mount", after.at.String())
	return nil
}

// mount mounts it. For a moment somebody may have the device, such as who asks whether it is in use.
func (a *agent) mount(ctx context.Context, r *ocf.Request, s state) error {
	for until := time.Now().Add(time.Second); ; {
		err := filesystem.Mount(ctx, s.path, s.number.Name(), s.dir, a.fstype, a.options, func() (string, error) { return r.LookPath("mount") })
		if !errors.Is(err, unix.EBUSY) || time.Now().After(until) {
			return err
		}
		if now, seen := a.look(ctx); seen != nil || now.ours {
			return err
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

// ready is what has to be so on the directory before something is mounted there.
func (a *agent) ready(ctx context.Context, s state) error {
	if s.mounted {
		return ocf.Errorf(ocf.Generic, "%s is mounted on the directory already, and does not come from %s: unmount it, the wrong storage is mounted", s.at, a.device)
	}
	for _, m := range s.table.All {
		if strings.HasPrefix(m.Point, s.dir+"/") {
			return ocf.Errorf(ocf.Generic, "%s is mounted below %s and would be hidden: unmount it, or order its resource after this one", m, a.dir)
		}
	}
	fi, err := hang.Bound(ctx, "the directory "+a.dir, func() (os.FileInfo, error) { return os.Stat(a.dir) })
	switch {
	case errors.Is(err, fs.ErrNotExist): // a start makes it
		return nil
	case err != nil:
		return ocf.Errorf(ocf.Generic, "directory %s: %w", a.dir, err)
	case !fi.IsDir():
		return ocf.Errorf(ocf.BadArgument, "%s is no directory: nothing can be mounted there", a.dir)
	}
	return nil
}

// await waits for the device for a third of the time, and looks once more at what is so.
func (a *agent) await(ctx context.Context, r *ocf.Request) (state, error) {
	r.Step("waiting for the device %s", a.device)
	within, cancel := context.WithTimeout(ctx, r.Timeout/3)
	defer cancel()
	if _, _, _, err := filesystem.Await(within, a.device); err != nil {
		return state{}, ocf.Errorf(ocf.Generic, "device %s is not there: look at the SAN, DRBD, LVM or iSCSI below it on this node: %w", a.device, err)
	}
	s, err := a.settled(ctx)
	if err != nil {
		return s, ocf.Errorf(ocf.Generic, "cannot tell whether %s is in use here: %w", a.device, err)
	}
	if s.ours {
		return s, nil
	}
	if s.own {
		return s, ocf.Errorf(ocf.BadArgument, "%s is what this node itself runs on, %s, and not the shared storage: name it by /dev/disk/by-id or UUID=", a.device, s.elsewhere[0])
	}
	return s, a.inUse(ctx, s)
}

// settled is look that waits for a mount or an unmount that is under way: for a moment the kernel has the device open, and it
// is mounted nowhere.
func (a *agent) settled(ctx context.Context) (state, error) {
	until := time.Now().Add(2 * time.Second)
	for {
		s, err := a.look(ctx)
		if err != nil || s.open == "" || len(s.elsewhere) > 0 || time.Now().After(until) {
			return s, err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return s, ctx.Err()
		}
	}
}

// unique refuses a LABEL or UUID that more than one device has: which of them would be mounted is chance.
func (a *agent) unique(ctx context.Context, r *ocf.Request) error {
	twins, err := filesystem.Twins(ctx, a.device)
	if err != nil {
		r.Log.Warn("it is not known whether another device has the same name", "device", a.device, "error", err)
	}
	why, certain := filesystem.Doubt(a.device, twins)
	switch {
	case why == "":
	case certain && r.Action == ocf.ValidateAll:
		r.Log.Warn(why)
	case !certain:
		return ocf.Errorf(ocf.Generic, "%s", why)
	}
	return nil
}

// prepared looks at what is on a block device, and checks it where run_fsck asks for that.
func (a *agent) prepared(ctx context.Context, r *ocf.Request, s state) error {
	err := filesystem.Forget(ctx, s.path)
	var sb filesystem.Superblock
	if err == nil {
		sb, err = filesystem.Look(ctx, s.path)
	}
	switch {
	case errors.Is(err, unix.EMEDIUMTYPE):
		return ocf.Errorf(ocf.Generic, "device %s is a DRBD secondary on this node: promote it first: %w", a.device, err)
	case err != nil:
		return ocf.Errorf(ocf.Generic, "device %s cannot be read: %w", a.device, err)
	case sb.Type != a.kind() && (sb.Type != "" || a.kind() == "ext4" || a.kind() == "xfs") && a.fstype != "auto" && a.fstype != "":
		return ocf.Errorf(ocf.Generic, "%s has %s on it, and not %s as the parameter fstype has it: the wrong storage, or the wrong type", a.device, orNone(sb.Type), a.fstype)
	case sb.Type == "ext4" && !sb.MMP && !filesystem.ReadOnly(a.options):
		r.Log.Info("ext4 can refuse a second node by itself: tune2fs -O mmp, while it is not mounted", "device", a.device)
	}
	if !a.checks() {
		return nil
	}
	program, err := r.LookPath("fsck")
	if err != nil {
		return err
	}
	args := []string{"-p", s.path}
	if a.fstype != "" && a.fstype != "auto" {
		args = append([]string{"-t", a.fstype}, args...)
	}
	r.Step("checking %s with fsck", a.device)
	err = filesystem.Run(ctx, program, args...)
	var exit *filesystem.ExitError
	switch {
	case err == nil:
	case errors.As(err, &exit) && slices.Contains([]string{"exit status 1", "exit status 2", "exit status 3"}, exit.Status): // mended
		r.Log.Warn("fsck has mended the file system", "device", a.device, "said", err)
	default:
		return ocf.Errorf(ocf.Generic, "fsck of %s did not come to a good end: run it by hand: %w", a.device, err)
	}
	return nil
}

// kind is the type as a superblock shows it.
func (a *agent) kind() string {
	switch a.fstype {
	case "ext2", "ext3":
		return "ext4"
	}
	return a.fstype
}

func orNone(fstype string) string {
	if fstype == "" {
		return "no file system that is known"
	}
	return fstype
}

// checks says whether fsck is run: with auto for what ocf:heartbeat:Filesystem checks.
func (a *agent) checks() bool {
	if a.fsck != "auto" {
		return a.fsck == "force"
	}
	switch a.fstype {
	case "ext4", "ext4dev", "ext3", "reiserfs", "reiser4", "nss", "xfs", "jfs", "vfat", "fat", "btrfs", "zfs", "rozofs":
		return false
	}
	return a.local()
}

// refused words a mount that failed.
func (a *agent) refused(ctx context.Context, s state, err error) error {
	sb, _ := filesystem.Look(ctx, s.path)
	switch {
	case ocf.CodeOf(err) == ocf.NotInstalled:
		return err
	case sb.MMP && errors.Is(err, unix.EBUSY), sb.MMP && errors.Is(err, unix.EINVAL):
		return ocf.Errorf(ocf.Generic, "%s is in use by %s, by ext4's multi-mount protection: unmount it there, or fence that node: %w", a.device, sb.By, err)
	case errors.Is(err, unix.EBUSY):
		return ocf.Errorf(ocf.Generic, "%s is held by something else on this node (multipath, LVM, md, fsck): %w", a.device, err)
	case errors.Is(err, unix.ENODEV):
		return ocf.Errorf(ocf.NotInstalled, "the kernel of this node has no %s: load or install its module: %w", a.fstype, err)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EROFS):
		return ocf.Errorf(ocf.Generic, "device %s takes no writes on this node: %w", a.device, err)
	case errors.Is(err, unix.EPERM) && os.Geteuid() != 0:
		return ocf.Errorf(ocf.Permission, "only root may mount: %w", err)
	}
	return ocf.Errorf(ocf.Generic, "%s cannot be mounted on %s: %w", a.device, a.dir, err)
}

// validate looks at the host too, at level 10.
func (a *agent) validate(ctx context.Context, r *ocf.Request) error {
	if r.Level < 10 {
		return nil
	}
	s, err := a.look(ctx)
	if err != nil {
		return ocf.Errorf(ocf.Generic, "cannot tell what is mounted on %s: %w", a.dir, err)
	}
	if !filesystem.Binds(a.options) {
		atBoot, err := filesystem.AtBoot(ctx, "/", a.device, a.dir)
		if err != nil {
			r.Log.Warn("it is not known what systemd mounts at boot", "error", err)
		}
		for _, w := range atBoot {
			r.Log.Warn(w)
		}
	}
	doubt := a.unique(ctx, r)
	if s.ours {
		if doubt != nil {
			r.Log.Warn("it is mounted, and the next start here will refuse: " + doubt.Error())
		}
		return nil
	}
	if doubt != nil {
		return doubt
	}
	if err := a.ready(ctx, s); err != nil {
		return err
	}
	if _, _, ok := filesystem.ParseOptions(a.fstype, a.options); !ok {
		if _, err := r.LookPath("mount"); err != nil {
			return err
		}
	}
	return nil
}
