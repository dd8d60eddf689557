package sharedstorage

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/ocf/ocftest"
	"github.com/openstack-ocf/agents/test/box"
)

// warned is validate-all at level 10 that is content, and warns so.
func (h *host) warned(a *box.Agent, words ...string) {
	h.T.Helper()
	r := a.Call(ocftest.Call{Action: ocf.ValidateAll, Level: 10}, ocf.OK)
	for _, w := range words {
		if !strings.Contains(r.Stderr, w) {
			h.T.Errorf("it does not warn %q: %s", w, r)
		}
	}
	if len(words) == 0 && strings.Contains(r.Stderr, "WARN") {
		h.T.Errorf("it warns: %s", r)
	}
}

// TestTwins: a clone of the device shows the same UUID. Which of the two is mounted by it would be chance.
func TestTwins(t *testing.T) {
	h := newHost(t)
	uuid := strings.TrimSpace(box.Sh(t, "blkid -p -o value -s UUID %s", h.device))
	byUUID := &host{Agent: h.With("device", "UUID="+uuid), device: h.device}
	h.warned(byUUID.Agent)
	clone := loop(t, "ext4")
	box.Sh(t, "dd if=%s of=%s bs=1M status=none", h.device, clone)
	both := func(way string) {
		t.Helper()
		is := fmt.Sprintf("UUID=%s is on ", uuid)
		byUUID.Want(ocf.Start, ocf.Generic, is, h.device, clone, "is one a clone")
		byUUID.Validate(ocf.Generic, is, h.device, clone)
		if h.open() {
			t.Fatalf("%s: it was mounted", way)
		}
		h.warned(h.Agent)
		h.Start() // by its path
		byUUID.Monitor(0, ocf.OK)
		h.warned(byUUID.Agent, "the next start here will refuse: ", is)
		byUUID.Stop()
	}
	both("without udev")

	udev(t, uuid, h.device, "")
	udev(t, uuid, clone, "")
	t.Cleanup(func() {
		box.Sh(t, "rm -f /dev/disk/by-uuid/%s; rmdir --ignore-fail-on-non-empty /dev/disk/by-uuid /dev/disk", uuid)
	})
	box.Sh(t, "mkdir -p /dev/disk/by-uuid; ln -s %s /dev/disk/by-uuid/%s", clone, uuid)
	both("with udev")
	link := h.With("device", "/dev/disk/by-uuid/"+uuid)
	link.Validate(ocf.Generic, "is on ", h.device, clone)

	udev(t, uuid, clone, "L:-100\n") // as LVM has it of a snapshot
	h.warned(byUUID.Agent, h.device+" and "+clone)
	udev(t, uuid, clone, "")
	part, err := os.OpenFile(clone, os.O_RDONLY|unix.O_EXCL, 0) // as DRBD, md and multipath have what they are made of
	if err != nil {
		t.Fatal(err)
	}
	defer part.Close()
	h.warned(byUUID.Agent)
}

// udev writes what udev keeps of a device, and that it runs.
func udev(t *testing.T, uuid, device, more string) {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(device, &st); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("S:disk/by-uuid/%s\nS:disk/by-label/data\n%sI:1012523\nE:ID_FS_UUID=%s\nE:ID_FS_TYPE=ext4\nE:ID_FS_USAGE=filesystem\nG:systemd\n", uuid, more, uuid)
	for path, text := range map[string]string{"/run/udev/control": "", fmt.Sprintf("/run/udev/data/b%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev)): text} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { os.RemoveAll("/run/udev") })
}

// TestFstab: what systemd would mount at boot is told, whether it is mounted now or not.
func TestFstab(t *testing.T) {
	h := newHost(t)
	h.warned(h.Agent)
	fstab := filepath.Join(t.TempDir(), "fstab")
	write := func(line string) {
		t.Helper()
		if err := os.WriteFile(fstab, []byte(line+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(h.device + " /mnt ext4 defaults,nofail 0 0")
	box.Sh(t, "mount --bind '%s' /etc/fstab", fstab)
	t.Cleanup(func() { box.Sh(t, "umount /etc/fstab") })
	h.warned(h.Agent, "systemd mounts "+h.device+" on /mnt at boot, behind the cluster's back (/etc/fstab): remove it there, or give it noauto")
	write(`UUID=dead-beef ` + strings.ReplaceAll(dir, " ", `\040`) + " ext4 defaults 0 0")
	h.Start()
	h.warned(h.Agent, "on "+dir+" at boot")
	h.Stop()
	write(h.device + " /mnt ext4 noauto 0 0")
	h.warned(h.Agent)
}

// TestCloned: several nodes may mount what a server gives them, by sshfs too (resource-agents issue 1665), and no disk.
func TestCloned(t *testing.T) {
	h := newHost(t)
	clone := h.With("CRM_meta_clone", "0", "CRM_meta_clone_max", "2")
	for fstype, device := range map[string]string{"sshfs": "backup@192.0.2.1:/srv", "virtiofs": "shared", "beegfs": "beegfs_nodev", "fuse": "sshfs#192.0.2.1:/srv"} {
		clone.With("fstype", fstype, "device", device).Call(ocftest.Call{Action: ocf.ValidateAll}, ocf.OK)
	}
	for _, fstype := range []string{"ext4", "btrfs", "zfs"} {
		clone.With("fstype", fstype).Call(ocftest.Call{Action: ocf.ValidateAll}, ocf.NotConfigured, "a clone of "+fstype)
	}
}
