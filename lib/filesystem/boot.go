package filesystem

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/openstack-ocf/agents/lib/systemd"
)

// AtBoot says what systemd mounts by itself on this node: the device of a resource, wherever that is, or anything on its directory.
// It then is mounted by two nodes, or the resource finds its directory taken; and of a directory that it has an entry for systemd
// unmounts what the cluster has mounted there, when the entry's device goes.
func AtBoot(ctx context.Context, root, device, dir string) (list []string, err error) {
	mounts, err := systemd.Mounts(ctx, root)
	for _, m := range mounts {
		if filepath.Clean(m.Where) != filepath.Clean(dir) && !sameDevice(ctx, m.What, device) {
			continue
		}
		said := fmt.Sprintf("systemd mounts %s on %s at boot, behind the cluster's back (%s): %s", m.What, m.Where, m.By, m.Do)
		if !slices.Contains(list, said) {
			list = append(list, said)
		}
	}
	return list, err
}

// sameDevice tells whether two names are of one block device. Of one that is not there now the names are compared.
func sameDevice(ctx context.Context, a, b string) bool {
	a, b = asTag(a), asTag(b)
	if _, _, tag := tagged(a); !tag && !strings.HasPrefix(a, "/dev/") {
		return false
	}
	if a == b {
		return true
	}
	_, one, block, err := Find(ctx, a)
	if err != nil || !block {
		return false
	}
	_, other, block, err := Find(ctx, b)
	return err == nil && block && one == other
}

// asTag is the tag where a device is named by udev's link of it.
func asTag(device string) string {
	device, _ = ParseDevice(device)
	for _, tag := range []string{"LABEL", "UUID", "PARTLABEL", "PARTUUID"} {
		if value, ok := strings.CutPrefix(device, "/dev/disk/by-"+strings.ToLower(tag)+"/"); ok && !strings.Contains(value, `\`) {
			return tag + "=" + value
		}
	}
	return device
}
