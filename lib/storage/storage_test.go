package storage_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/lib/storage"
	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/test/box"
)

func TestMain(m *testing.M) { box.Main(m) }

const dir = "/run/storage"

// TestGuard is what start and a running service are told of the storage, in what
// crm_mon shows of it.
func TestGuard(t *testing.T) {
	box.Need(t)
	ctx := context.Background()
	for _, row := range []struct {
		name    string
		guard   storage.Guard
		change  string // of the storage, a tmpfs of 8 MiB
		code    ocf.Code
		start   string
		running string // after a |: the code of a running service if it differs
	}{
		{name: "well", guard: storage.Guard{Shared: true, FullPercent: 95}},
		{name: "not mounted", guard: storage.Guard{Shared: true}, change: "umount %s", code: ocf.Generic, start: "is not mounted: mount it first", running: "no longer mounted"},
		{name: "local on purpose", guard: storage.Guard{}, change: "umount %s"},
		{name: "no such directory", guard: storage.Guard{Shared: true}, change: "umount %[1]s; rmdir %[1]s", code: ocf.Generic, start: "mount its storage first", running: "is gone from under the running service"},
		{name: "read-only", guard: storage.Guard{Shared: true}, change: "mount -o remount,ro %s", code: ocf.Generic, start: "is read-only", running: "has gone read-only"},
		{name: "full", guard: storage.Guard{Shared: true, FullPercent: 95}, change: "head -c 8M /dev/zero >%s/filler || true", code: ocf.Generic, start: "is full", running: "100% full|degraded"},
		{name: "nearly full", guard: storage.Guard{Shared: true, FullPercent: 50}, change: "head -c 6M /dev/zero >%s/filler", running: "75% full|degraded"},
		{name: "nearly full, and nobody minds", guard: storage.Guard{Shared: true}, change: "head -c 6M /dev/zero >%s/filler"},
		{name: "another file system", guard: storage.Guard{Shared: true, FSType: "ext4"}, code: ocf.Generic, start: "is not ext4"},
		{name: "another device", guard: storage.Guard{Shared: true, Device: "/dev/null"}, code: ocf.Generic, start: "/dev/null"},
		{name: "the right one", guard: storage.Guard{Shared: true, FSType: "tmpfs", Device: "guarded"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			box.Sh(t, "mkdir -p %[1]s; mount -t tmpfs -o size=8M guarded %[1]s", dir)
			defer box.Sh(t, "umount %[1]s 2>/dev/null || true", dir)
			if row.change != "" {
				box.Sh(t, row.change, dir)
			}
			row.guard.Dir = dir
			check(t, "start", row.guard.ForStart(ctx), row.code, row.start)

			words, degraded, _ := strings.Cut(row.running, "|")
			handicap, err := row.guard.Running(ctx, nil)
			switch {
			case degraded != "":
				check(t, "running", handicap, ocf.Degraded, words)
			case words != "":
				check(t, "running", err, ocf.Generic, words)
			case handicap != nil || err != nil:
				t.Errorf("running: %v, %v", handicap, err)
			}
			if broken := row.guard.Broken(ctx, time.Second); (broken != nil) != (err != nil) {
				t.Errorf("broken: %v, and running: %v", broken, err)
			}
		})
	}
}

func check(t *testing.T, what string, err error, code ocf.Code, words string) {
	t.Helper()
	if words == "" && err == nil {
		return
	}
	if ocf.CodeOf(err) != code || !strings.Contains(err.Error()[:min(128, len(err.Error()))], words) || words == "" {
		t.Errorf("%s: %d %v, want %d %q", what, ocf.CodeOf(err), err, code, words)
	}
}

func TestValidate(t *testing.T) {
	if err := (&storage.Guard{Device: "/dev/sdb1"}).Validate(); ocf.CodeOf(err) != ocf.NotConfigured {
		t.Errorf("a device of local storage: %v", err)
	}
	if err := (&storage.Guard{Shared: true, Device: "/dev/sdb1"}).Validate(); err != nil {
		t.Error(err)
	}
}
