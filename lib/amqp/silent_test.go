package amqp

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

func TestLook(t *testing.T) {
	const limits = "Limit                     Soft Limit           Hard Limit           Units     \n" +
		"Max cpu time              unlimited            unlimited            seconds   \n"
	for _, tc := range []struct {
		name   string
		stat   string
		files  string // the limit
		open   []int
		want   process
		failed bool
	}{
		{"running", "7 (qpidd) S 1 7 7", "1024", []int{0, 1, 2}, process{'S', 3, 1024}, false},
		{"stopped, odd name", "7 (a) S (b) T 1 7 7", "1024", []int{0}, process{'T', 1, 1024}, false},
		{"full", "7 (qpidd) S 1 7 7", "3", []int{0, 1, 2}, process{'S', 3, 3}, false},
		{"limit lowered below a file in use", "7 (qpidd) S 1 7 7", "3", []int{0, 1, 9}, process{'S', 2, 3}, false},
		{"unlimited", "7 (qpidd) R 1 7 7", "unlimited", []int{0}, process{'R', 1, 0}, false},
		{"torn", "7 (qpidd)", "3", nil, process{}, true},
		{"empty", "", "3", nil, process{}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			proc := t.TempDir()
			dir := filepath.Join(proc, "7")
			must(t, os.MkdirAll(filepath.Join(dir, "fd"), 0o755))
			must(t, os.WriteFile(filepath.Join(dir, "stat"), []byte(tc.stat), 0o644))
			must(t, os.WriteFile(filepath.Join(dir, "limits"), []byte(limits+"Max open files            "+tc.files+"                 524288               files     \n"), 0o644))
			for _, n := range tc.open {
				must(t, os.Symlink("/dev/null", filepath.Join(dir, "fd", strconv.Itoa(n))))
			}
			got, err := look(proc, 7)
			if (err != nil) != tc.failed || err == nil && got != tc.want {
				t.Errorf("got %+v, %v; want %+v", got, err, tc.want)
			}
		})
	}
	if _, err := look(t.TempDir(), 7); err == nil {
		t.Error("no error for a process that is not there")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestBounded(t *testing.T) {
	ctx, cancel := bounded(context.Background())
	defer cancel()
	if end, ok := ctx.Deadline(); !ok || time.Until(end) > DefaultTimeout {
		t.Errorf("deadline %v, %v", end, ok)
	}
	short, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if same, cancel := bounded(short); same != short {
		cancel()
		t.Error("a context with a deadline was replaced")
	}
}

func TestKindsAreComplete(t *testing.T) {
	for k := range kinds {
		if row := kinds[k]; row.name == "" || row.found == "" || row.health != Healthy && row.whatToDo == "" {
			t.Errorf("kind %d has an incomplete row: %+v", k, row)
		}
	}
}
