package bench

import (
	"fmt"
	"strings"
	"testing"

	"github.com/openstack-ocf/agents/test/box"
	"github.com/openstack-ocf/agents/test/needs"
)

const filesystem = "/usr/lib/ocf/resource.d/heartbeat/Filesystem"

// storage is an ext4 on a loop device, and both agents' calls of it, from the same state each time.
func storage(b *testing.B, action string) (ours, theirs *contender) {
	box.Need(b)
	needs.File(b, filesystem, "resource-agents")
	const dir = "/run/bench-storage"
	device := strings.TrimSpace(box.Sh(b, "mkdir -p %[1]s; truncate -s 64M /run/bench-image; mkfs.ext4 -q -F /run/bench-image; losetup -f --show /run/bench-image", dir))
	b.Cleanup(func() { box.Sh(b, "umount %s 2>/dev/null || true; losetup -d %s; rm /run/bench-image", dir, device) })
	env := []string{"OCF_RESKEY_device=" + device, "OCF_RESKEY_directory=" + dir, "OCF_RESKEY_fstype=ext4", "OCF_CHECK_LEVEL=0"}
	ours = agent(b, "shared-storage", action, env...)
	theirs = &contender{
		name: "ocf:heartbeat:Filesystem " + action, argv: []string{filesystem, action},
		env: append(env, "OCF_ROOT=/usr/lib/ocf", "OCF_RESOURCE_INSTANCE=bench", "OCF_RESKEY_CRM_meta_interval=10000", "OCF_RESKEY_CRM_meta_timeout=20000"),
	}
	prepare := map[string]string{
		"start":   "if mountpoint -q %[2]s; then umount %[2]s; fi",
		"stop":    "mountpoint -q %[2]s || mount %[1]s %[2]s",
		"monitor": "mountpoint -q %[2]s || mount %[1]s %[2]s",
	}[action]
	ours.before = func(b *testing.B) { box.Sh(b, prepare, device, dir) }
	theirs.before = ours.before
	return ours, theirs
}

func benchmarkStorage(b *testing.B, action string) {
	ours, theirs := storage(b, action)
	wall, cpu := against(b, ours, theirs)
	target(b, fmt.Sprintf("at most 0.15 of theirs' wall and CPU (%.2f and %.2f)", 1/wall, 1/cpu), min(wall, cpu), 1/0.15)
}

func BenchmarkStorageStartAgainstFilesystem(b *testing.B)   { benchmarkStorage(b, "start") }
func BenchmarkStorageStopAgainstFilesystem(b *testing.B)    { benchmarkStorage(b, "stop") }
func BenchmarkStorageMonitorAgainstFilesystem(b *testing.B) { benchmarkStorage(b, "monitor") }
