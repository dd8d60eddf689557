package sharedstorage

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/lib/filesystem"
	"github.com/openstack-ocf/agents/lib/mount"
	"github.com/openstack-ocf/agents/ocf"
)

// fastGrace is what processes have before SIGKILL with fast_stop: half of the six seconds of ocf:heartbeat:Filesystem.
const fastGrace = 3 * time.Second

// stop unmounts the storage wherever it is mounted here, and says 0 once the kernel has closed it.
func (a *agent) stop(ctx context.Context, r *ocf.Request) error {
	u := filesystem.Unmounting{Force: a.force == "true", Signals: a.asks(), Delay: a.delay, Grace: r.Timeout / 2, Log: r.Log}
	if a.fast {
		u.Grace = fastGrace
	}
	s, err := a.look(ctx)
	if err != nil && !s.mounted {
		return ocf.Errorf(ocf.Generic, "cannot tell whether %s is in use here: %w", a.device, err)
	}
	if s.own {
		r.Log.Warn("the device is what this node itself runs on, and not the shared storage: left alone", "device", a.device)
		s.block = false
	}
	if s.mounted && !s.ours && a.unsure(s) {
		r.Log.Warn("it cannot be told whether this is the storage: unmounted for being on its directory", "mount", s.at.String(), "device", a.device)
		s.path, s.number, s.block = a.deviceOf(ctx, s.at)
		s.block = s.block && len(s.table.Of(s.number.Major, s.number.Minor)) == 1
	}
	own := filesystem.Number{}
	if s.block {
		own = s.number
	}
	for {
		list := s.table.Tree(a.mounts(s)...)
		if len(list) == 0 {
			break
		}
		m := list[0]
		if over, ok := s.table.Over(m); ok {
			return ocf.Errorf(ocf.Generic, "%s is covered by other storage that was mounted later, %s: unmount that", m.Point, over)
		}
		r.Step("unmounting %s", m.Point)
		if err := u.Unmount(ctx, m, own); err != nil {
			return stays(err)
		}
		if s.table, err = mount.Read(); err != nil {
			return ocf.Errorf(ocf.Generic, "cannot tell whether all of %s is unmounted: %w", a.device, err)
		}
	}
	if s.block {
		r.Step("waiting for the kernel to close %s", a.device)
		if err := u.Release(ctx, s.path, s.number); err != nil {
			return ocf.Errorf(ocf.Generic, "unmounted, but the kernel still has %s open: %w", a.device, err)
		}
	}
	return nil
}

// asks are the signals before SIGKILL.
func (a *agent) asks() (list []syscall.Signal) {
	for name := range strings.FieldsSeq(a.signals + " " + a.kill) {
		if signal(name) != syscall.SIGKILL || len(list) == 0 {
			list = append(list, signal(name))
		}
	}
	if len(list) == 0 {
		return []syscall.Signal{syscall.SIGTERM}
	}
	return list
}

// stays is why a mount could not be taken away.
func stays(err error) error {
	if errors.Is(err, unix.EPERM) && os.Geteuid() != 0 {
		return ocf.Errorf(ocf.Permission, "only root may unmount: %w", err)
	}
	return ocf.Errorf(ocf.Generic, "%w", err)
}

// mounts are those of the resource: what is on its directory, if it is of the device or nobody can tell, and all other mounts of the device.
// A bind mount is its directory's alone.
func (a *agent) mounts(s state) (list []mount.Mount) {
	mine := s.ours || a.unsure(s)
	for _, m := range s.table.All {
		switch {
		case s.block && m.Of(s.number.Major, s.number.Minor):
			list = append(list, m)
		case mine && s.mounted && m.Point == s.dir && m.Major == s.at.Major && m.Minor == s.at.Minor:
			list = append(list, m)
		}
	}
	return list
}

// unsure says that what is on the directory may be the resource's.
func (a *agent) unsure(s state) bool { return s.missing != nil || s.doubt != nil }
