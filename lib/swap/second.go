package swap

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/pacemaker"
)

// secondDir is where, in [Swap.Dir], a second node keeps the journal of the swap that it watches over, until that has
// ended.
const secondDir = "second"

// SecondFlag is the command's flag by which the second node's guard is started; the journal's name follows it.
const SecondFlag = "--second"

// mostWords is how long a parameter may be: Linux takes 128 KiB for one variable of an agent's environment.
const mostWords = 120 << 10

// second has a guard watch over the swap from another node, in case this one dies, or the swap and its guard with it.
func (r *run) second(ctx context.Context) error {
	status, err := pacemaker.ReadStatus(ctx)
	if err != nil {
		return err
	}
	var able []pacemaker.Node
	for _, n := range status.Nodes {
		if n.Name != r.journal.Node && n.Online && !n.Standby && !n.Maintenance && !n.Guest && slices.Contains(r.nodes, n.Name) {
			able = append(able, n)
		}
	}
	slices.SortStableFunc(able, func(a, b pacemaker.Node) int { // full members first
		if a.Remote == b.Remote {
			return 0
		}
		if a.Remote {
			return 1
		}
		return -1
	})
	if len(able) == 0 {
		r.swap.Say("there is no second node to watch over the swap")
		return nil
	}
	words, err := r.packed()
	if err != nil {
		return err
	}
	node := able[0].Name
	r.swap.Say("%s watches over it", node)
	if err := r.start(ctx, secondID, []string{node}, map[string]string{"watch": words}); err != nil {
		return fmt.Errorf("%s cannot watch over the swap: %w", node, err)
	}
	return nil
}

// packed is the journal as another node needs it. Processes are of this node; and which units have been claimed by the
// time that the other node looks is not known.
func (r *run) packed() (string, error) {
	j := *r.journal
	j.Changes = nil
	for _, c := range r.journal.Changes {
		there := *c
		there.PID, there.Started = 0, 0
		j.Released = j.Released || c.Unit != ""
		j.Changes = append(j.Changes, &there)
	}
	text, err := json.Marshal(watched{filepath.Base(r.journal.dir), &j})
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err = z.Write(text)
	if err = errors.Join(err, z.Close()); err != nil {
		return "", err
	}
	words := base64.StdEncoding.EncodeToString(b.Bytes())
	if len(words) > mostWords {
		return "", fmt.Errorf("these are too many resources at once: name some of them, and swap the others after that")
	}
	return words, nil
}

// watched is a journal on its way to another node.
type watched struct {
	Name    string
	Journal *journal
}

func unpack(words string) (*watched, error) {
	raw, err := base64.StdEncoding.DecodeString(words)
	if err != nil {
		return nil, err
	}
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(z)
	if err != nil {
		return nil, err
	}
	w := &watched{}
	if err := json.Unmarshal(text, w); err != nil {
		return nil, err
	}
	if w.Name == "" || w.Name != filepath.Base(w.Name) || w.Journal == nil {
		return nil, errors.New("no journal")
	}
	return w, nil
}

// watchOver leaves a guard of a swap of another node behind.
func watchOver(ctx context.Context, words string) error {
	w, err := unpack(words)
	if err != nil {
		return fmt.Errorf("the parameter watch: %w", err)
	}
	all := filepath.Join(Dir, secondDir)
	if err := os.RemoveAll(all); err != nil { // those of swaps that are over: there is one at a time
		return err
	}
	w.Journal.dir = filepath.Join(all, w.Name)
	if err := os.MkdirAll(w.Journal.dir, 0o700); err != nil {
		return err
	}
	if err := w.Journal.write(); err != nil {
		return err
	}
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	p, err := daemon.Start(ctx, daemon.Command{Name: "guard", Path: program, Args: []string{"swap", "--guard", SecondFlag, w.Name}, Output: filepath.Join(Dir, guardLog)}, nil)
	if err != nil {
		return err
	}
	return p.Close()
}

// Relieve is what the second node's guard does: it looks at the cluster until the swap has ended. If the swap's node has
// gone, or the maintenance nears its end, it ends the swap in its place. What the swap still does then fails.
func (s *Swap) Relieve(ctx context.Context, name string) error {
	dir := filepath.Join(s.Dir, secondDir, filepath.Base(name))
	text, err := os.ReadFile(filepath.Join(dir, journalFile))
	if err != nil {
		return err
	}
	j := &journal{dir: dir}
	if err := json.Unmarshal(text, j); err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	here, err := pacemaker.LocalNode(ctx)
	if err != nil {
		return err
	}
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for why := ""; why == ""; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		over := false
		if over, why, err = s.needed(ctx, j); over {
			return nil
		} else if err != nil {
			s.Say("cannot look at the cluster: %v", err) // and goes on
		}
		if why != "" {
			s.Say("ending the swap of %s: %s", j.Node, why)
		}
	}
	j.from, j.Node = j.owner(), here
	return s.watch(ctx, func(ctx context.Context) (string, error) {
		if j.Step == swapped || j.Step == undone {
			return "", nil
		}
		return s.resume(ctx, j)
	})
}

// needed tells whether the swap is over, or why it has to be ended.
func (s *Swap) needed(ctx context.Context, j *journal) (over bool, why string, err error) {
	cib, err := pacemaker.CIB(ctx)
	if err != nil {
		return false, "", err
	}
	if owner(cib) != j.owner() {
		return true, "", nil
	}
	end := endOf(cib)
	if end.IsZero() {
		end = j.Until
	}
	if left := time.Until(end); left < spare(j.Within) {
		return false, fmt.Sprintf("its maintenance ends in %s, and it has not ended that itself", left.Round(time.Second)), nil
	}
	status, err := pacemaker.ReadStatus(ctx)
	if err != nil {
		return false, "", err
	}
	gone := !slices.ContainsFunc(status.Nodes, func(n pacemaker.Node) bool { return n.Name == j.Node && (n.Online || n.Pending) })
	if gone && status.Quorum {
		return false, "its node is gone", nil
	}
	return false, "", nil
}
