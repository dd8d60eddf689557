package plan

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/openstack-ocf/agents/lib/diff"
	"github.com/openstack-ocf/agents/lib/pacemaker"
)

// Undo takes back what one apply did to the cluster's configuration, and leaves alone what others did since.
type Undo struct {
	Dir  string // see [Dir]
	Time string // of the apply, as it told
	Say  func(format string, args ...any)
}

// Undoing is what is left to take back.
type Undoing struct {
	Diff     []string // lines with - and +
	Lost     []string // what others did and goes too: a person has to agree to that
	Stays    []string // what apply made and stays, and why
	Then     []string // what the cluster does when it is done, by crm_simulate
	live, to *pacemaker.Element
}

// Nothing tells whether nothing is left to take back.
func (u *Undoing) Nothing() bool { return u.live.Equal(u.to) }

// String is what an operator is shown before the question whether to go ahead.
func (u *Undoing) String() string {
	if u.Nothing() {
		return lines(u.Stays) + "nothing is left to take back\n"
	}
	text := lines(u.Diff) + lines(u.Lost) + lines(u.Stays)
	if len(u.Then) > 0 {
		text += "the cluster would then do:\n    " + strings.Join(u.Then, "\n    ") + "\n"
	}
	return text
}

func lines(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return strings.Join(list, "\n") + "\n"
}

// Compare reads the cluster and says what there is to take back. It changes nothing.
func (u *Undo) Compare(ctx context.Context) (*Undoing, error) {
	live, err := pacemaker.CIB(ctx)
	if err != nil {
		return nil, err
	}
	p, err := u.compare(live)
	if err != nil || p.Nothing() {
		return p, err
	}
	if err := pacemaker.VerifyCIB(ctx, p.to); err != nil {
		return nil, fmt.Errorf("without what apply made, the configuration would not be valid: %w", err)
	}
	p.Then, err = consequences(ctx, live, p.to)
	return p, err
}

func (u *Undo) compare(live *pacemaker.Element) (*Undoing, error) {
	var saved [2]*pacemaker.Element
	for i, name := range []string{".before.xml", ".after.xml"} {
		f, err := os.Open(filepath.Join(u.Dir, filepath.Base(u.Time)+name))
		if errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("no apply of %s is kept on this node: apply has told the time of each, and %s has those of the last %d", u.Time, u.Dir, kept)
		}
		if err != nil {
			return nil, err
		}
		cib, err := pacemaker.ParseXML(f)
		_ = f.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
		saved[i] = cib.Child("configuration")
	}
	before, after, now := saved[0], saved[1], live.Child("configuration")
	p := &Undoing{live: live, to: live.Clone()}
	// A group, a set of attributes or a section stays while there is something in it that others put there.
	is, lost := pacemaker.TakeBack(before, after, now, func(e *pacemaker.Element) bool {
		return slices.Contains([]string{"primitive", "clone", "op"}, e.Name)
	})
	p.Lost = lost
	i := slices.IndexFunc(p.to.Children, func(e *pacemaker.Element) bool { return e.Name == now.Name })
	p.to.Children[i] = is
	for r := range after.All("primitive") {
		id := r.Attr("id")
		if before.Find("primitive", id) == nil && is.Find("primitive", id) != nil {
			p.Stays = append(p.Stays, id+" stays, because somebody has put it elsewhere: "+describe(place(p.to, is.Find("primitive", id))))
		}
	}
	if refers := dangling(now, is); len(refers) > 0 {
		return nil, fmt.Errorf("others refer to what apply made, so take that out first: %s", strings.Join(refers, ", "))
	}
	p.Diff = differences(now.Masked(nil), is.Masked(nil))
	return p, nil
}

// differences shows what becomes of a configuration, without what stays: one element of a section after the other.
func differences(now, is *pacemaker.Element) (list []string) {
	of := func(config *pacemaker.Element) map[string]string {
		texts := map[string]string{}
		for _, section := range config.Children {
			for _, e := range section.Children {
				texts[section.Name+" "+e.Name+" "+e.Attr("id")] += e.String()
			}
		}
		return texts
	}
	before, after := of(now), of(is)
	all := maps.Clone(before)
	maps.Copy(all, after)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if before[key] != after[key] {
			list = append(list, slices.DeleteFunc(diff.Lines(before[key], after[key]), func(l string) bool { return strings.HasPrefix(l, "  ") })...)
		}
	}
	return list
}

// dangling names the constraints of others that refer to a resource that is no longer there.
func dangling(now, is *pacemaker.Element) (refers []string) {
	resources := now.Child("resources")
	gone := func(id string) bool {
		has := func(e *pacemaker.Element) bool { return e.Attr("id") == id }
		return id != "" && resources.Any(has) && !is.Child("resources").Any(has)
	}
	if is.Child("constraints") == nil {
		return nil
	}
	for _, c := range is.Child("constraints").Children {
		for _, name := range []string{"rsc", "with-rsc", "first", "then"} {
			if id := c.Attr(name); gone(id) {
				refers = append(refers, fmt.Sprintf("constraint %s (%s)", c.Attr("id"), id))
			}
		}
		for ref := range c.All("resource_ref") {
			if id := ref.Attr("id"); gone(id) {
				refers = append(refers, fmt.Sprintf("constraint %s (%s)", c.Attr("id"), id))
			}
		}
	}
	return refers
}

// Run takes it back in one change, if the configuration still is what was compared, and waits until the cluster is done.
func (u *Undo) Run(ctx context.Context, p *Undoing) error {
	release, err := alone(ctx, u.Dir)
	if err != nil {
		return err
	}
	defer release()
	edited := func() (now, to *pacemaker.Element, err error) {
		if now, err = pacemaker.CIB(ctx); err != nil {
			return nil, nil, err
		}
		if !now.Child("configuration").Equal(p.live.Child("configuration")) {
			return nil, nil, fmt.Errorf("%w: call it again", pacemaker.ErrChanged)
		}
		to = now.Clone()
		i := slices.IndexFunc(to.Children, func(e *pacemaker.Element) bool { return e.Name == "configuration" })
		to.Children[i] = p.to.Child("configuration")
		return now, to, nil
	}
	if err := patch(ctx, p.live, p.to, edited); err != nil {
		return fmt.Errorf("%w: nothing was changed", err)
	}
	u.Say("all is taken back, in one step; waiting for the cluster")
	if err := pacemaker.WaitIdle(ctx, SettleTime); err != nil {
		return fmt.Errorf("all is taken back, but %w", err)
	}
	return nil
}
