package qpidd

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/pacemaker"
	"github.com/openstack-ocf/agents/lib/qmf"
	"github.com/openstack-ocf/agents/ocf"
)

// Promotion scores. A primary outranks backups, so that nothing moves without
// need; a backup in step outranks what a cold start may bring.
const (
	scoreActive = "1000"
	scoreReady  = "100"
	scoreCold   = "10"
	noScore     = ""
)

// role turns health into what a monitor of a promotable clone answers, and
// tells the cluster how fit this broker is for promotion.
func (a *agent) role(ctx context.Context, r *ocf.Request, s settings, p *daemon.Process, status qmf.HAStatus, health error) error {
	code := ocf.CodeOf(health)
	if code != ocf.OK && code != ocf.Degraded {
		// Before the cluster decides what to do about it, so that it promotes a better one.
		a.publish(ctx, r, noScore, "")
		return health
	}
	a.announce(ctx, r, s, p, status)
	role := r.Meta("role")
	switch {
	case !status.Primary():
		return health
	case role == "Unpromoted" || role == "Slave":
		return ocf.Errorf(ocf.FailedPromoted, "TWO PRIMARIES ARE POSSIBLE: this broker is %s although Pacemaker did not promote it: it is failed, so that it joins the cluster as a backup; see that nobody else promotes brokers, and that fencing works", status)
	case code == ocf.Degraded:
		return ocf.Errorf(ocf.DegradedPromoted, "%w", health)
	}
	return ocf.Errorf(ocf.RunningPromoted, "the broker is %s", status)
}

// announce publishes this broker's promotion score and its state.
func (a *agent) announce(ctx context.Context, r *ocf.Request, s settings, p *daemon.Process, status qmf.HAStatus) {
	state := string(status)
	score := noScore
	switch status {
	case qmf.Active, qmf.Recovering:
		score = scoreActive
	case qmf.Ready:
		score = scoreReady
	case qmf.Joining:
		stamp := newestIn(s.dataDir)
		state += " " + strconv.FormatInt(stamp.UnixMilli(), 10)
		a.publish(ctx, r, a.published(r).score, state) // before looking at the others', which may wait for ours
		score = a.coldScore(ctx, r, s, p, stamp)
	}
	a.publish(ctx, r, score, state)
}

// coldScore decides which of the brokers that all start from nothing may be
// promoted: the one with the newest store, once all have been heard.
func (a *agent) coldScore(ctx context.Context, r *ocf.Request, s settings, p *daemon.Process, stamp time.Time) string {
	peers, err := pacemaker.Attributes(ctx, stateAttribute(r))
	if err != nil {
		r.Log.Warn("cannot ask for the other brokers' states", "error", err)
		return noScore
	}
	age, err := p.Age()
	waited := err == nil && age > a.coldStart
	if len(peers) < s.brokers && !waited {
		r.Log.Debug("a cold start waits for brokers not yet heard", "heard", len(peers), "expected", s.brokers)
		return noScore
	}
	me, _ := os.Hostname()
	if on := r.Meta("on_node"); on != "" {
		me = on
	}
	for node, state := range peers {
		status, theirs, _ := strings.Cut(state, " ")
		if node == me {
			continue
		}
		if qmf.HAStatus(status) != qmf.Joining {
			return noScore // it is further than we are
		}
		ms, _ := strconv.ParseInt(theirs, 10, 64)
		if t := time.UnixMilli(ms); t.After(stamp) || (t.Equal(stamp) && node < me) {
			return noScore
		}
	}
	return scoreCold
}

// newestIn is when the broker's store was last written, the zero time without
// one, to the millisecond.
func newestIn(dataDir string) time.Time {
	newest := time.UnixMilli(0)
	for _, store := range []string{"qls", "rhm"} {
		_ = filepath.WalkDir(filepath.Join(dataDir, store), func(_ string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() || strings.HasPrefix(e.Name(), "__db.") || strings.HasPrefix(e.Name(), "log.") {
				return nil // the database of bindings is touched by every start
			}
			if fi, err := e.Info(); err == nil && fi.ModTime().After(newest) {
				newest = fi.ModTime()
			}
			return nil
		})
	}
	return newest.Truncate(time.Millisecond)
}

// publication is what this node last told the cluster.
type publication struct{ score, state string }

// publish sets the promotion score and the state where they changed since the
// last time, so that a monitor in a steady state runs no program. A probe
// always does: after a restart of Pacemaker the attributes are gone.
func (a *agent) publish(ctx context.Context, r *ocf.Request, score, state string) {
	was, now := a.published(r), publication{score, state}
	if was == now && !r.Probe() {
		return
	}
	r.Step("telling the cluster the promotion score %q and the state %q", score, state)
	for name, value := range map[string]string{pacemaker.PromotionScore(r.Instance): score, stateAttribute(r): state} {
		var err error
		if value == "" {
			err = pacemaker.DeleteAttribute(ctx, name)
		} else {
			err = pacemaker.SetAttribute(ctx, name, value)
		}
		if err != nil {
			r.Log.Warn("cannot tell the cluster how fit this broker is for promotion", "error", err)
			return
		}
	}
	if err := os.WriteFile(a.memory(r), []byte(score+"\n"+state+"\n"), 0o600); err != nil {
		r.Log.Warn("will tell the cluster again next time", "error", err)
	}
}

func (a *agent) published(r *ocf.Request) publication {
	b, err := os.ReadFile(a.memory(r))
	if err != nil {
		return publication{"unknown", "unknown"}
	}
	score, rest, _ := strings.Cut(string(b), "\n")
	return publication{score, strings.TrimSuffix(rest, "\n")}
}

// memory is a file that a reboot clears, as it clears the attributes.
func (a *agent) memory(r *ocf.Request) string {
	return filepath.Join(r.TempDir(), fmt.Sprintf("openstack-qpidd-%s.told", r.Resource()))
}

func stateAttribute(r *ocf.Request) string { return "qpidd-state-" + r.Resource() }
