// Package storage guards the directory that a service keeps its data in: a
// service must neither start on a node where its shared storage is not mounted,
// nor be called healthy where it is gone, read-only or full. Errors are
// ocf.Errors, written for the operator.
package storage

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"time"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/mount"
	"github.com/openstack-ocf/agents/ocf"
)

// Guard is what is expected of the storage. Bind it to an agent's parameters
// with Parameters, and set Dir before use.
type Guard struct {
	Dir         string // the data directory
	Shared      bool   // it is on storage that is mounted for it
	Device      string // that the mount must come from; "" is any
	FSType      string // "" is any
	FullPercent int    // from which on the service is degraded; 0 never
}

// Parameters declares the guard's parameters. shared is the default of
// shared_storage.
func (g *Guard) Parameters(shared bool) []ocf.Parameter {
	def := "false"
	if shared {
		def = "true"
	}
	return []ocf.Parameter{
		{
			Name: "shared_storage", Value: ocf.Bool(&g.Shared), Default: def, Short: "The data directory is on storage mounted for it",
			Long: "If true, start refuses while the data directory is on the node's own file system, because the storage\nis not mounted, and the monitor fails when the mount is gone. Set it to false for data that is local.",
		},
		{
			Name: "device", Value: ocf.String(&g.Device), Short: "Device that must be mounted there",
			Long: "What the mount must come from: a path, /dev/disk/by-*, LABEL=, UUID= or host:/path. Start refuses\nanything else.",
		},
		{
			Name: "fstype", Value: ocf.String(&g.FSType), Short: "File system type that must be mounted there",
			Long: "Such as ext4, xfs or nfs4. Start refuses anything else.",
		},
		{
			Name: "degraded_disk_percent", Value: ocf.Int(&g.FullPercent, 0, 100), Default: "95", Reloadable: true, Short: "Storage in use from which on the service is degraded (percent)",
			Long: "0 never says so.",
		},
	}
}

// Validate checks the parameters against each other.
func (g *Guard) Validate() error {
	if !g.Shared && (g.Device != "" || g.FSType != "") {
		return ocf.Errorf(ocf.NotConfigured, "device and fstype name the shared storage, but shared_storage is false: remove them, or set it to true")
	}
	return nil
}

// ForStart refuses to start on anything but the storage that was meant.
func (g *Guard) ForStart(ctx context.Context) error {
	m, err := mount.On(ctx, g.Dir)
	if err != nil {
		return ocf.Errorf(ocf.Generic, "data directory %s: mount its storage first (a shared-storage or Filesystem resource before this one in the group): %w", g.Dir, err)
	}
	if g.Shared && m.System {
		return ocf.Errorf(ocf.Generic, "the shared storage of %s is not mounted: mount it first (a shared-storage or Filesystem resource before this one in the group), or set shared_storage=false if the data is local on purpose: it is on the node's own %s", g.Dir, m)
	}
	if m.ReadOnly {
		return ocf.Errorf(ocf.Generic, "storage %s is read-only: look at the kernel log for its errors, repair it, and mount it again", m)
	}
	if g.FSType != "" && g.FSType != m.FSType {
		return ocf.Errorf(ocf.Generic, "%s is not %s, as the parameter fstype wants it: the wrong storage is mounted", m, g.FSType)
	}
	if g.Device != "" {
		same, err := m.From(ctx, g.Device)
		if err != nil {
			return Unknown(m, g.Device, err)
		}
		if !same {
			return ocf.Errorf(ocf.Generic, "%s does not come from %s, as the parameter device wants it: the wrong storage is mounted", m, g.Device)
		}
	}
	u, err := mount.Usage(ctx, g.Dir)
	if err != nil {
		return Silent(m, err)
	}
	if u.Available < 1<<20 || (u.Inodes > 0 && u.FreeInodes == 0) {
		return ocf.Errorf(ocf.Generic, "storage %s is full (%d KiB and %d inodes left): the service would not come up, or not take writes; make room", m, u.Available>>10, u.FreeInodes)
	}
	return nil
}

// GoneReadOnly says that storage that took writes takes none any more.
func GoneReadOnly(m mount.Mount) error {
	return ocf.Errorf(ocf.Generic, "storage %s has gone read-only and takes no writes: look at the kernel log for its errors", m)
}

// Silent says that storage did not do what was asked of it.
func Silent(m mount.Mount, err error) error {
	return ocf.Errorf(ocf.Generic, "storage %s does not answer: %w", m, err)
}

// Unknown says that it cannot be told whether a mount is of the device that was meant.
func Unknown(m mount.Mount, device string, err error) error {
	return ocf.Errorf(ocf.Generic, "cannot tell whether %s comes from %s, as the parameter device wants it: %w", m, device, err)
}

// Running tells whether a service that runs still has storage that takes
// writes. degraded is set when it has, but the storage is nearly full, or
// other storage has been mounted over it. p is the service's process, or nil.
func (g *Guard) Running(ctx context.Context, p *daemon.Process) (degraded, err error) {
	m, below, err := mount.Stack(ctx, g.Dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, ocf.Errorf(ocf.Generic, "the data directory %s is gone from under the running service: mount its storage again, or let the cluster move the group: %w", g.Dir, err)
	case err != nil:
		return nil, ocf.Errorf(ocf.Generic, "cannot tell what storage %s is on: %w", g.Dir, err)
	case g.Shared && m.System:
		return nil, ocf.Errorf(ocf.Generic, "the storage of %s is no longer mounted, and the service still runs: it must not go on (the path is on %s now)", g.Dir, m)
	case m.ReadOnly:
		return nil, GoneReadOnly(m)
	}
	if len(below) > 0 && p != nil {
		on := p.MountsBelow(g.Dir)
		for _, was := range below {
			if slices.Contains(on, was.ID) && !slices.Contains(on, m.ID) {
				return ocf.Errorf(ocf.Degraded, "umount %s: %s on %s was mounted over the service's own %s on %s: what it makes anew goes there", m.Point, m.FSType, m.Source, was.FSType, was.Source), nil
			}
		}
	}
	u, err := mount.Usage(ctx, g.Dir)
	if err != nil {
		return nil, Silent(m, err)
	}
	if used := u.UsedPercent(); g.FullPercent > 0 && used >= float64(g.FullPercent) {
		return ocf.Errorf(ocf.Degraded, "storage %s is %.0f%% full (%d MiB left; degraded from %d%%): make room before writes fail", m, used, u.Available>>20, g.FullPercent), nil
	}
	return nil, nil
}

// Broken is why no clean shutdown can be hoped for: the storage takes no
// writes, is gone, or does not answer within the time. nil if it does.
func (g *Guard) Broken(ctx context.Context, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if _, err := g.Running(ctx, nil); err != nil {
		return err
	}
	return nil
}
