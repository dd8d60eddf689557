package swap

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/openstack-ocf/agents/lib/files"
	"github.com/openstack-ocf/agents/lib/pacemaker"
)

// Dir is where a swap keeps the cluster's configuration as it was, and how far it has come.
const Dir = "/var/lib/openstack-ocf/swap"

// step is how far a swap has come.
type step string

// The steps. A swap that was cut off is undone, unless all was found to be right already: then it is finished.
const (
	begun    step = "begun"    // from here on the CIB may be touched
	verified step = "verified" // the new agents are right: only the maintenance is left to lift
	undoing  step = "undoing"
	swapped  step = "swapped" // the end
	undone   step = "undone"  // the other end
)

// journal is one swap, on disk.
type journal struct {
	Step     step
	Node     string // where it runs
	Began    time.Time
	Versions string        // of this program
	Undoes   string        `json:",omitempty"` // the journal of the swap that this one takes back
	Whole    bool          `json:",omitempty"` // all of the cluster's resources are in maintenance meanwhile
	Still    []string      `json:",omitempty"` // resources that are in maintenance meanwhile, beside those that change
	Within   time.Duration // see Swap.Within
	Until    time.Time     // when the maintenance ends by itself
	Released bool          `json:",omitempty"` // drop-ins of systemd units may have been changed
	Changes  []*Change
	Why      string `json:",omitempty"` // it was undone

	dir  string
	from string // who had it before this node: see [Swap.Relieve]
}

// hold is until when the maintenance holds that begins now.
func (j *journal) hold() time.Time { return time.Now().Add(j.Within + spare(j.Within)) }

// owner is how the CIB names the swap.
func (j *journal) owner() string { return j.Node + " " + filepath.Base(j.dir) }

// newJournal makes the directory of a swap, and puts the CIB into it as it is before.
func newJournal(state string, j journal, cib *pacemaker.Element) (*journal, error) {
	j.dir = filepath.Join(state, j.Began.UTC().Format("20060102T150405.000Z"))
	if err := os.MkdirAll(j.dir, 0o700); err != nil {
		return nil, err
	}
	if err := files.Replace(filepath.Join(j.dir, savedCIB), []byte(cib.String()), 0o600); err != nil {
		_ = os.RemoveAll(j.dir)
		return nil, fmt.Errorf("cannot save the cluster's configuration, so that nothing is changed: %w", err)
	}
	if err := j.write(); err != nil {
		_ = os.RemoveAll(j.dir)
		return nil, err
	}
	return &j, nil
}

// at takes down that the swap has come so far.
func (j *journal) at(s step) error {
	j.Step = s
	return j.write()
}

func (j *journal) write() error {
	text, err := json.MarshalIndent(j, "", "  ")
	if err != nil {
		return err
	}
	if err := files.Replace(filepath.Join(j.dir, journalFile), text, 0o600); err != nil {
		return fmt.Errorf("cannot take down how far the swap has come: %w", err)
	}
	return nil
}

// journals are all swaps of this node, the oldest first.
func journals(state string) ([]*journal, error) {
	files, err := filepath.Glob(filepath.Join(state, "*", journalFile))
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	var list []*journal
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		j := &journal{dir: filepath.Dir(file)}
		if err := json.Unmarshal(text, j); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		list = append(list, j)
	}
	return list, nil
}

// unfinished is the swap that was cut off, nil if there is none.
func unfinished(state string) (*journal, error) {
	list, err := journals(state)
	if err != nil {
		return nil, err
	}
	for _, j := range slices.Backward(list) {
		if j.Step != swapped && j.Step != undone {
			return j, nil
		}
	}
	return nil, nil
}

// undoable is the last swap that is still in effect, nil if there is none.
func undoable(state string) (*journal, error) {
	list, err := journals(state)
	if err != nil {
		return nil, err
	}
	if effective := inEffect(list); len(effective) > 0 {
		return effective[0], nil
	}
	return nil, nil
}

// inEffect are the swaps that were not taken back, the last first.
func inEffect(list []*journal) []*journal {
	var effective []*journal
	taken := map[string]bool{}
	for _, j := range slices.Backward(list) {
		switch {
		case j.Step != swapped:
		case j.Undoes != "":
			taken[j.Undoes] = true
		case !taken[filepath.Base(j.dir)]:
			effective = append(effective, j)
		}
	}
	return effective
}

// kept is how many of the last runs are kept in full, whatever became of them.
const kept = 5

// prune removes what is no longer of use of older runs, for it holds passwords: of a swap that is in effect the saved
// configuration, and of all others that have ended everything.
func prune(state string) error {
	list, err := journals(state)
	if err != nil {
		return err
	}
	effective := inEffect(list)
	for _, j := range list[:max(0, len(list)-kept)] {
		ended := j.Step == swapped || j.Step == undone
		switch {
		case slices.Contains(effective, j):
			if rerr := os.Remove(filepath.Join(j.dir, savedCIB)); !errors.Is(rerr, os.ErrNotExist) {
				err = errors.Join(err, rerr)
			}
		case ended:
			err = errors.Join(err, os.RemoveAll(j.dir))
		}
	}
	return err
}

const (
	savedCIB    = "cib.xml"
	journalFile = "journal.json"
)
