package sharedstorage

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openstack-ocf/agents/lib/filesystem"
	"github.com/openstack-ocf/agents/test/box"
	"github.com/openstack-ocf/agents/test/needs"
)

// TestOptionsAsMount8 mounts with each option by mount(2) and by mount(8): the kernel must say the same of both.
func TestOptionsAsMount8(t *testing.T) {
	box.Need(t)
	both := []string{
		"", "defaults", "ro", "ro,rw", "rw,ro", "noexec", "noexec,exec", "nosuid", "nodev", "sync", "sync,async", "dirsync", "noatime", "nodiratime",
		"noatime,atime", "relatime", "strictatime", "norelatime", "lazytime", "lazytime,nolazytime", "nosuid,nodev,noexec,noatime", "noauto,_netdev,nofail,x-a.b=c",
		"strictatime,relatime", "noatime,relatime", "relatime,noatime", "noatime,strictatime", "silent", "loud", "iversion",
	}
	own := map[string][]string{
		"ext4": {
			"errors=remount-ro", "errors=panic", "errors=continue,noatime", "data=ordered", "data=writeback", "data=journal", "commit=30", "nobarrier", "barrier=1", "discard",
			"noacl", "acl,user_xattr", "nodelalloc", "journal_checksum", "stripe=16", "noload,ro", "auto_da_alloc", "usrquota,grpquota", "max_batch_time=0,min_batch_time=1",
		},
		"xfs": {"inode64", "inode32", "logbufs=4", "logbsize=64k", "noquota", "uquota", "prjquota", "allocsize=1m", "discard", "largeio", "swalloc", "nouuid", "norecovery,ro", "wsync", "noalign"},
	}
	for fstype, options := range own {
		t.Run(fstype, func(t *testing.T) {
			needs.Program(t, "mkfs."+fstype, fstype)
			device := loop(t, fstype)
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			for _, o := range append(both, options...) {
				if _, _, ok := filesystem.ParseOptions(fstype, o); !ok {
					t.Errorf("%q is left to mount(8)", o)
					continue
				}
				ours := mounted(t, func() error {
					return filesystem.Mount(t.Context(), device, filepath.Base(device), dir, fstype, o, nil)
				})
				theirs := mounted(t, func() error {
					args := []string{"-t", fstype}
					if o != "" {
						args = append(args, "-o", o)
					}
					return filesystem.Run(t.Context(), "/usr/bin/mount", append(args, device, dir)...)
				})
				if ours == "an error" {
					t.Logf("%q is refused", o)
				}
				if ours != theirs {
					t.Errorf("%q: mount(2) makes %s\nand mount(8)  %s", o, ours, theirs)
				}
			}
		})
	}
}

// mounted is what the kernel says of what was mounted, or that it was refused.
func mounted(t *testing.T, mount func() error) string {
	t.Helper()
	if err := mount(); err != nil {
		return "an error"
	}
	defer box.Sh(t, "umount '%s'", dir)
	table, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(table)) {
		if f := strings.Fields(line); f[1] == strings.ReplaceAll(dir, " ", `\040`) {
			return f[3]
		}
	}
	t.Fatal("it is not mounted")
	return ""
}
