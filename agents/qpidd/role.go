package qpidd

import (
	"context"
	"errors"
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

// place is where a broker stands among the brokers of its cluster.
type place struct {
	qmf.HAStatus
	lost bool // a backup without a connection to its primary
}

// role turns health into what a monitor of a promotable clone answers, and
// tells the cluster how fit this broker is for promotion.
//
// A failure leaves the score as it is: Pacemaker stops what has failed, and
// stop takes the score back. If the score changed first, Pacemaker would demote
// and promote because of that, and never record why.
func (a *agent) role(ctx context.Context, r *ocf.Request, s settings, p *daemon.Process, at place, health error) error {
	code := ocf.CodeOf(health)
	if code == ocf.NotRunning && r.Probe() {
		a.tell(ctx, r, scoreAttribute(r), noScore)
		a.tell(ctx, r, stateAttribute(r), "")
	}
	if code != ocf.OK && code != ocf.Degraded {
		return health
	}
	if at.HAStatus == "" { // it refuses us, so that we know what we knew
		status, _, _ := strings.Cut(told(r, stateAttribute(r)), " ")
		at.HAStatus = qmf.HAStatus(status)
	} else if err := a.announce(ctx, r, s, p, at); err != nil {
		return err
	}
	role := r.Meta("role")
	switch {
	case !at.Primary():
		return health
	case !r.Probe() && role != "Promoted" && role != "Master": // a monitor without a role watches the unpromoted
		return ocf.Errorf(ocf.FailedPromoted, "TWO PRIMARIES ARE POSSIBLE: this broker is %s although Pacemaker did not promote it: it is failed, so that it joins the cluster as a backup; see that nobody else promotes brokers, and that fencing works", at.HAStatus)
	case code == ocf.Degraded:
		return ocf.Errorf(ocf.DegradedPromoted, "%w", health)
	}
	return ocf.Errorf(ocf.RunningPromoted, "the broker is %s", at.HAStatus)
}

// announce publishes this broker's promotion score and its state. The error
// says that it will never be fit for promotion as it is.
func (a *agent) announce(ctx context.Context, r *ocf.Request, s settings, p *daemon.Process, at place) error {
	state, score := string(at.HAStatus), noScore
	switch at.HAStatus {
	case qmf.Active, qmf.Recovering:
		score = scoreActive
	case qmf.Ready:
		score = scoreReady
	case qmf.Joining:
		stamp := storeStamp(s.dataDir)
		state += " " + strconv.FormatInt(stamp, 10)
		a.tell(ctx, r, stateAttribute(r), state) // before looking at the others', which may wait for ours
		score = a.coldScore(ctx, r, s, p, stamp)
	}
	if err := keepStamp(s.dataDir, score != scoreActive && score != scoreReady); err != nil {
		r.Log.Warn("a cold start may choose another broker's store over this one's, or this one's over another's", "error", err)
	}
	if at.lost {
		if err := a.adrift(ctx, r, at.HAStatus); err != nil {
			return err
		}
	}
	a.tell(ctx, r, scoreAttribute(r), score)
	a.tell(ctx, r, stateAttribute(r), state)
	return nil
}

// adrift decides about a backup that has lost its primary. Most are about to be
// promoted, or to find the new primary. Two would stay as they are for good,
// and are failed, so that they join anew:
//
//   - One that says it is ready while another broker is active. Whatever that
//     one has acknowledged since is missing here, and also when it finds the
//     primary again the broker calls itself ready while it catches up.
//   - One that was catching up when the last broker that had everything went
//     away: it refuses promotion, and its being there keeps others from it.
func (a *agent) adrift(ctx context.Context, r *ocf.Request, status qmf.HAStatus) error {
	peers, err := a.peers(ctx, r)
	if err != nil {
		return nil // nothing is known, so nothing is done
	}
	better := false
	for node, state := range peers {
		theirs, _, _ := strings.Cut(state, " ")
		primary := qmf.HAStatus(theirs).Primary()
		if status == qmf.Ready && primary {
			return ocf.Errorf(ocf.Generic, "the broker says it is ready, but has no connection to the primary on %s, so that it misses messages: it is failed, so that it joins anew; see why it cannot reach the addresses of ha_brokers_url", node)
		}
		better = better || primary || qmf.HAStatus(theirs) == qmf.Ready
	}
	if status == qmf.CatchUp && !better {
		return ocf.Errorf(ocf.Generic, "the broker was catching up with a primary that is gone, and no other is in step: it is failed, so that the broker with the newest store can be promoted")
	}
	return nil
}

// peers are the states of the brokers on other nodes.
func (a *agent) peers(ctx context.Context, r *ocf.Request) (map[string]string, error) {
	states, err := pacemaker.Attributes(ctx, stateAttribute(r))
	if err != nil {
		r.Log.Warn("cannot ask for the other brokers' states", "error", err)
		return nil, err
	}
	delete(states, node(r))
	return states, nil
}

// node is the name of this node in the cluster.
func node(r *ocf.Request) string {
	if on := r.Meta("on_node"); on != "" {
		return on
	}
	name, _ := os.Hostname()
	return name
}

// coldScore decides which of the brokers that all start from nothing may be
// promoted: the one with the newest store, once all have been heard.
func (a *agent) coldScore(ctx context.Context, r *ocf.Request, s settings, p *daemon.Process, stamp int64) string {
	peers, err := a.peers(ctx, r)
	if err != nil {
		return noScore
	}
	age, err := p.Age()
	waited := err == nil && age > a.coldStart
	if len(peers)+1 < s.brokers && !waited {
		r.Log.Debug("a cold start waits for brokers not yet heard", "heard", len(peers)+1, "expected", s.brokers)
		return noScore
	}
	for peer, state := range peers {
		status, text, _ := strings.Cut(state, " ")
		theirs, _ := strconv.ParseInt(text, 10, 64)
		if qmf.HAStatus(status) != qmf.Joining || theirs > stamp || theirs == stamp && peer < node(r) {
			return noScore // it is further than we are, or has the newer store
		}
	}
	return scoreCold
}

// stampFile is in the data directory, as long as the broker is not in step.
const stampFile = "openstack-ocf.stamp"

// storeStamp is the time until which the broker's store is known to hold what
// it should, in milliseconds since 1970; 0 without a store.
//
// That is when it was last written, but for a broker that joins a cluster: it
// throws away what it has, and writes what it gets from the primary, so that
// the newest store may be the emptiest. For that one it is what it was before.
func storeStamp(dataDir string) int64 {
	if b, err := os.ReadFile(filepath.Join(dataDir, stampFile)); err == nil {
		ms, _ := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
		return ms
	}
	newest := time.UnixMilli(0)
	for _, store := range []string{"qls", "rhm"} { // of linearstore and legacystore
		_ = filepath.WalkDir(filepath.Join(dataDir, store), func(_ string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return nil // what cannot be read is not counted
			}
			if fi, err := e.Info(); err == nil && fi.ModTime().After(newest) {
				newest = fi.ModTime()
			}
			return nil
		})
	}
	return newest.UnixMilli()
}

// keepStamp writes the stamp down for as long as the broker is behind.
func keepStamp(dataDir string, behind bool) error {
	path := filepath.Join(dataDir, stampFile)
	_, err := os.Stat(path)
	there := err == nil
	switch {
	case there == behind:
		return nil
	case there:
		return os.Remove(path)
	}
	stamp := storeStamp(dataDir)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, stamp)
	return errors.Join(err, f.Sync(), f.Close()) // on the disk before the broker writes to its store
}

// tell sets an attribute of this node, or removes it with "", if that was not
// done before, so that a monitor in a steady state runs no program. A probe
// always does: after a restart of Pacemaker the attributes are gone.
func (a *agent) tell(ctx context.Context, r *ocf.Request, attribute, value string) {
	if told(r, attribute) == value && !r.Probe() {
		return
	}
	r.Step("telling the cluster %s=%q", attribute, value)
	var err error
	if value == "" {
		err = pacemaker.DeleteAttribute(ctx, attribute)
	} else {
		err = pacemaker.SetAttribute(ctx, attribute, value)
	}
	if err == nil {
		err = os.WriteFile(toldFile(r, attribute), []byte(value), 0o600)
	}
	if err != nil {
		_ = os.Remove(toldFile(r, attribute))
		r.Log.Warn("will tell the cluster again next time", "attribute", attribute, "value", value, "error", err)
	}
}

// told is what the cluster was last told, "?" if that is not known.
func told(r *ocf.Request, attribute string) string {
	b, err := os.ReadFile(toldFile(r, attribute))
	if err != nil {
		return "?"
	}
	return string(b)
}

// toldFile is cleared by a reboot, as the attributes are.
func toldFile(r *ocf.Request, attribute string) string {
	return filepath.Join(r.TempDir(), "openstack-qpidd-"+attribute+".told")
}

func scoreAttribute(r *ocf.Request) string { return pacemaker.PromotionScore(r.Instance) }
func stateAttribute(r *ocf.Request) string { return "qpidd-state-" + r.Resource() }
