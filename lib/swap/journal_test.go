package swap

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestJournal(t *testing.T) {
	state := t.TempDir()
	began := time.Now()
	record := func(undoes string, s step) *journal {
		t.Helper()
		cib := parse(t, cibText)
		began = began.Add(time.Second)
		j, err := newJournal(state, journal{Step: begun, Began: began, Undoes: undoes, Changes: []*Change{{ID: "db", Old: resource(cib, "db"), New: resource(cib, "q")}}}, cib)
		if err != nil {
			t.Fatal(err)
		}
		if u, err := unfinished(state); err != nil || u == nil || u.dir != j.dir || !u.Changes[0].Old.Equal(j.Changes[0].Old) {
			t.Fatalf("a swap that has begun is not found unfinished: %+v, %v", u, err)
		}
		if err := j.at(s); err != nil {
			t.Fatal(err)
		}
		if u, err := unfinished(state); err != nil || u != nil {
			t.Fatalf("a swap that has ended is unfinished: %+v, %v", u, err)
		}
		return j
	}
	last := func(want *journal) {
		t.Helper()
		j, err := undoable(state)
		switch {
		case err != nil:
			t.Fatal(err)
		case want == nil && j != nil:
			t.Fatalf("%s can be undone", j.dir)
		case want != nil && (j == nil || j.dir != want.dir):
			t.Fatalf("%+v can be undone, want %s", j, want.dir)
		}
	}
	last(nil)
	first := record("", swapped)
	last(first)
	record("", undone) // rolled back: nothing to undo
	last(first)
	second := record("", swapped)
	last(second)
	record(filepath.Base(second.dir), swapped) // an undo
	last(first)
	record(filepath.Base(first.dir), undone) // an undo that was rolled back
	last(first)
	record(filepath.Base(first.dir), swapped)
	last(nil)

	for range kept {
		record("", undone)
	}
	if err := prune(state); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(first.dir); !os.IsNotExist(err) {
		t.Errorf("what was taken back is still kept: %v", err)
	}
	first = record("", swapped)
	for range kept {
		record("", undone)
	}
	if err := prune(state); err != nil {
		t.Fatal(err)
	}
	last(first)
	if _, err := os.Stat(filepath.Join(first.dir, "cib.xml")); !os.IsNotExist(err) {
		t.Errorf("the saved configuration of an old swap: %v", err)
	}
	if list, err := journals(state); err != nil || len(list) != kept+1 {
		t.Errorf("%d are kept, %v", len(list), err)
	}
	first = record("", undone)
	for name, mode := range map[string]fs.FileMode{"": 0o700, "cib.xml": 0o600, "journal.json": 0o600} {
		if fi, err := os.Stat(filepath.Join(first.dir, name)); err != nil || fi.Mode().Perm() != mode {
			t.Errorf("%q: %v, %v: it may hold passwords", name, fi.Mode(), err)
		}
	}
}
