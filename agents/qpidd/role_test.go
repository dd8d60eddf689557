package qpidd

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestStoreStamp holds what a store is worth against what happened to it.
func TestStoreStamp(t *testing.T) {
	old, now := time.Now().Add(-time.Hour).Truncate(time.Millisecond), time.Now().Truncate(time.Millisecond)
	for _, row := range []struct {
		name  string
		files map[string]time.Time
		want  time.Time
	}{
		{"no store", nil, time.UnixMilli(0)},
		{"a store without messages", map[string]time.Time{"qls/dat2/log.0000000001": now}, time.UnixMilli(0)},
		{"in step", map[string]time.Time{"qls/p001/efp/2048k/in_use/a.jrnl": old, "qls/p001/efp/2048k/b.jrnl": now, "qls/dat2/queues.db": now.Add(time.Hour)}, now},
		{"legacystore", map[string]time.Time{"rhm/jrnl/q/q.0001.jdat": old}, old},
		{"joins, with what it had", map[string]time.Time{"qls/p001/efp/2048k/in_use/a.jrnl": old, behindFile: now}, old},
		{"catches up", map[string]time.Time{"qls/p001/efp/2048k/in_use/a.jrnl": now, behindFile: old}, time.UnixMilli(0)},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, mtime := range row.files {
				path := filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, nil, 0o600); err != nil {
					t.Fatal(err)
				}
				if err := os.Chtimes(path, mtime, mtime); err != nil {
					t.Fatal(err)
				}
			}
			if got := storeStamp(dir); got != row.want.UnixMilli() {
				t.Errorf("%s, want %s", time.UnixMilli(got), row.want)
			}
		})
	}
}

func TestBehind(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, behindFile)
	var since time.Time
	for i, behind := range []bool{false, true, true, false, false} {
		if err := setBehind(dir, behind); err != nil {
			t.Fatal(err)
		}
		fi, err := os.Stat(path)
		switch {
		case behind != (err == nil):
			t.Fatalf("step %d: behind %t: %v", i, behind, err)
		case !behind:
			since = time.Time{}
		case since.IsZero():
			since = fi.ModTime()
		case !fi.ModTime().Equal(since):
			t.Errorf("step %d: behind since %s, and was since %s", i, fi.ModTime(), since)
		}
	}
	if err := setBehind(filepath.Join(dir, "nowhere"), true); err == nil {
		t.Error("no error without a directory")
	}
}
