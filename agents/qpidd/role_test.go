package qpidd

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/ocf"
)

// TestStoreStamp holds what a store is worth against what happened to it.
func TestStoreStamp(t *testing.T) {
	old, now := time.Now().Add(-time.Hour).Truncate(time.Millisecond), time.Now().Truncate(time.Millisecond)
	none := time.UnixMilli(0)
	const journal = "qls/p001/efp/2048k/in_use/a.jrnl"
	for _, row := range []struct {
		name  string
		files map[string]time.Time
		mark  *mark
		want  time.Time
	}{
		{"no store", nil, nil, none},
		{"a store without messages", map[string]time.Time{"qls/dat2/log.0000000001": now}, nil, none},
		{"in step", map[string]time.Time{journal: old, "qls/p001/efp/2048k/b.jrnl": now, "qls/dat2/queues.db": now.Add(time.Hour)}, nil, now},
		{"legacystore", map[string]time.Time{"rhm/jrnl/q/q.0001.jdat": old}, nil, old},
		{"starts", map[string]time.Time{journal: old}, &mark{stamp: old.UnixMilli()}, old},
		{"died while it recovered a torn tail", map[string]time.Time{journal: now}, &mark{stamp: old.UnixMilli()}, old},
		{"joins, with a torn tail recovered", map[string]time.Time{journal: now}, &mark{old.UnixMilli(), now.UnixMilli()}, old},
		{"died while it caught up", map[string]time.Time{journal: now.Add(time.Millisecond)}, &mark{old.UnixMilli(), now.UnixMilli()}, none},
		{"seen catching up", map[string]time.Time{journal: now}, &mark{}, none},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := settings{dataDir: t.TempDir(), storeDir: t.TempDir()}
			disk := t.TempDir() // a partition of the store may be a link to another
			if err := errors.Join(os.Mkdir(filepath.Join(s.storeDir, "qls"), 0o755), os.Symlink(disk, filepath.Join(s.storeDir, "qls/p001"))); err != nil {
				t.Fatal(err)
			}
			for name, mtime := range row.files {
				path := filepath.Join(s.storeDir, name)
				if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, nil, 0o600), os.Chtimes(path, mtime, mtime)); err != nil {
					t.Fatal(err)
				}
			}
			if row.mark != nil {
				if err := setMark(s.dataDir, row.mark); err != nil {
					t.Fatal(err)
				}
			}
			if got := storeStamp(s); got != row.want.UnixMilli() {
				t.Errorf("%s, want %s", time.UnixMilli(got), row.want)
			}
		})
	}
}

func TestMark(t *testing.T) {
	dir := t.TempDir()
	for i, m := range []*mark{{stamp: 1}, {1, 2}, {}, nil} {
		if err := setMark(dir, m); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		got, err := readMark(dir)
		if m == nil {
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("step %d: a mark that was removed: %+v, %v", i, got, err)
			}
		} else if err != nil || got != *m {
			t.Errorf("step %d: %+v, %v, want %+v", i, got, err, *m)
		}
	}
	if err := setMark(filepath.Join(dir, "nowhere"), &mark{}); err == nil {
		t.Error("no error without a directory")
	}
	if err := os.WriteFile(filepath.Join(dir, markFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if stamp := storeStamp(settings{dataDir: dir, storeDir: dir}); stamp != 0 {
		t.Errorf("a store with a mark that cannot be read is worth %d", stamp)
	}
}

// TestDirs is where a broker keeps messages, whatever says so.
func TestDirs(t *testing.T) {
	conf := filepath.Join(t.TempDir(), "qpidd.conf")
	if err := os.WriteFile(conf, []byte("store-dir=/conf/store\nstore-dir=/second\npaging-dir=/conf/paging/\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		conf  string
		args  []string
		store string
		dirs  int
	}{
		{"/dev/null", nil, "/data", 1},
		{conf, nil, "/conf/store", 3},
		{conf, []string{"--store-dir=/line/store", "--store-dir=/second"}, "/line/store", 3},
		{conf, []string{"--store-dir", "/line/store/"}, "/line/store", 3},
		{"/dev/null", []string{"--store-dir=relative"}, "/relative", 2},
		{"/dev/null", []string{"--store-dir=/data"}, "/data", 1},
		{"/dev/null", []string{"--paging-dir=/paging"}, "/data", 2},
	} {
		s, err := (&params{config: row.conf, dataDir: "/data", additional: row.args}).settings()
		if err != nil || s.storeDir != row.store || len(s.dirs) != row.dirs || s.dirs[0] != "/data" {
			t.Errorf("%s %q: %q, %q, %v", row.conf, row.args, s.storeDir, s.dirs, err)
		}
	}
}

// TestBrokers is how many brokers a URL is of.
func TestBrokers(t *testing.T) {
	for _, row := range []struct {
		url       string
		instances string
		want      int
	}{
		{"amqp:node1:5672,node2:5672,node3:5672", "", 3},
		{"amqp:node1:5672,node2:5672,node3:5672", "5", 3},
		{"node1,tcp:node1:5672,node2", "", 2},
		{"amqp:tcp:127.0.0.1:5672,tcp:[::1]:5672", "", 1},
		{"amqp:ha/secret@tcp:127.0.0.1,tcp:[::1],192.0.2.1,[2001:db8::1]", "", 2},
		{"amqp:127.0.0.1:5672,127.0.0.1:5673,127.0.0.1:5674", "", 3},
		{"amqp:192.0.2.1,[2001:db8::1],192.0.2.2,[2001:db8::2]", "2", 2},
	} {
		a := &agent{params: &params{haBrokers: row.url}}
		r := ocf.NewRequest("qpidd", ocf.Monitor, "OCF_RESKEY_CRM_meta_clone_max="+row.instances)
		if got := a.brokers(r, settings{port: "5672"}); got != row.want {
			t.Errorf("%s of %q instances: %d brokers, want %d", row.url, row.instances, got, row.want)
		}
	}
}
