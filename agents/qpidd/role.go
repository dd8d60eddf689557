package qpidd

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
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
	id     string   // of this broker, new at every start
	inStep []string // the ids of a primary's backups that have everything
	lost   bool     // a backup without a connection to its primary
	barred error    // why it would refuse to be promoted, whatever it is
}

func placeOf(ha qmf.HA) place {
	at := place{HAStatus: ha.Status, id: shortID(ha.SystemID)}
	for _, m := range ha.Members {
		if m.Status == qmf.Ready {
			at.inStep = append(at.inStep, shortID(m.SystemID))
		}
	}
	slices.Sort(at.inStep)
	return at
}

// shortID is how the broker's log calls a broker.
func shortID(uuid string) string { return uuid[:min(8, len(uuid))] }

// role turns health into what a monitor of a promotable clone answers, and
// tells the cluster how fit this broker is for promotion.
//
// A failure leaves the score as it is: Pacemaker stops what has failed, and
// stop takes the score back. If the score changed first, Pacemaker would demote
// and promote because of that, and never record why.
func (a *agent) role(ctx context.Context, r *ocf.Request, s settings, p *daemon.Process, at place, health error) error {
	code := ocf.CodeOf(health)
	if code == ocf.NotRunning && r.Probe() {
		a.forget(ctx, r)
	}
	if code != ocf.OK && code != ocf.Degraded {
		return health
	}
	role := r.Meta("role")
	promoted := role == "Promoted" || role == "Master" // a monitor without a role watches the unpromoted
	if at.Primary() && !promoted && !r.Probe() {
		return ocf.Errorf(ocf.FailedPromoted, "TWO PRIMARIES: this broker is %s, and Pacemaker did not promote it: it is made a backup; see who promoted it, and that fencing works", at.HAStatus)
	}
	if at.HAStatus == "" { // it refuses us, so that we know what we knew
		status, _, _ := strings.Cut(told(r, stateAttribute(r)), " ")
		at.HAStatus = qmf.HAStatus(status)
	} else if err := a.announce(ctx, r, s, p, at); err != nil {
		return err
	}
	switch {
	case !at.Primary():
		return health
	case code == ocf.Degraded:
		return ocf.Errorf(ocf.DegradedPromoted, "%w", health)
	}
	return ocf.Errorf(ocf.RunningPromoted, "the broker is %s", at.HAStatus)
}

// announce publishes this broker's promotion score and its state; p is needed
// of a joining one. The error says that it will never be fit as it is.
func (a *agent) announce(ctx context.Context, r *ocf.Request, s settings, p *daemon.Process, at place) error {
	state, score := string(at.HAStatus), noScore
	switch at.HAStatus {
	case qmf.Active, qmf.Recovering:
		score = scoreActive
		vouched := state + " " + strings.Join(at.inStep, " ")
		if !r.Probe() && (told(r, stateAttribute(r)) == vouched || a.vouch(ctx, r, at.inStep) == nil) {
			state = vouched
		}
	case qmf.Ready:
		score = scoreReady
		state += " " + at.id
	case qmf.Joining:
		stamp := storeStamp(s.dataDir)
		state += " " + strconv.FormatInt(stamp, 10)
		a.tell(ctx, r, stateAttribute(r), state, false) // before looking at the others', which may wait for ours
		score = a.coldScore(ctx, r, s, p, stamp)
	}
	behind := score != scoreActive && score != scoreReady
	if err := setBehind(s.dataDir, behind); err != nil {
		r.Log.Warn("a cold start may misjudge this broker's store", "error", err)
	}
	if at.lost && (behind || told(r, scoreAttribute(r)) == score) { // one that has just become ready surely has everything
		if err := a.adrift(ctx, r, at.HAStatus); err != nil {
			return errors.Join(err, setBehind(s.dataDir, true)) // while the store is as the primary left it
		}
	}
	if at.barred != nil && !at.Primary() {
		score = noScore
		if at.HAStatus == qmf.Ready {
			state = "barred" // the primary vouches for what is ready
		}
	}
	a.tell(ctx, r, scoreAttribute(r), score, behind) // while behind also if it was told, for a primary may have vouched late
	a.tell(ctx, r, stateAttribute(r), state, false)
	return nil
}

// vouch has the primary give the backups that have everything their scores, and
// take them from the others. Only the primary knows: a backup that lost the
// connection to it calls itself ready all the while, and also when it is back
// and catches up.
func (a *agent) vouch(ctx context.Context, r *ocf.Request, inStep []string) error {
	peers, err := a.peers(ctx, r)
	for peer, state := range peers {
		status, id, _ := strings.Cut(state, " ")
		if qmf.HAStatus(status) != qmf.Ready {
			continue
		}
		score := noScore
		if slices.Contains(inStep, id) {
			score = scoreReady
		}
		err = errors.Join(err, pacemaker.SetAttribute(ctx, peer, scoreAttribute(r), score))
	}
	if err != nil {
		r.Log.Warn("cannot tell the cluster which backups are in step", "error", err)
	}
	return err
}

// adrift decides about a backup that has lost its primary. Most are about to be
// promoted, or to find the new primary. One that is not in step, when no broker
// is, would stay as it is for good: it refuses promotion, and its being there
// keeps all others from it. That one is failed, so that it joins anew.
func (a *agent) adrift(ctx context.Context, r *ocf.Request, status qmf.HAStatus) error {
	scores, err := pacemaker.Attributes(ctx, scoreAttribute(r))
	if err != nil || len(scores) > 0 {
		return nil // nothing is known, or somebody is fit
	}
	return ocf.Errorf(ocf.Generic, "the primary is gone, this broker is %s without having everything, and so are all others: it joins anew, so that the newest store can be promoted", status)
}

// peers are the states of the brokers on other nodes.
func (a *agent) peers(ctx context.Context, r *ocf.Request) (map[string]string, error) {
	states, err := pacemaker.Attributes(ctx, stateAttribute(r))
	delete(states, node(r))
	return states, err
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
		r.Log.Warn("cannot ask for the other brokers' states", "error", err)
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

// storeStamp is when the broker's store last took in, or gave away, a message,
// in milliseconds since 1970: 0 without a store, and with one of no worth.
//
// A broker that joins a cluster throws away what it has, and writes what it gets
// from the primary: the newest store may be the emptiest. So a store that was
// written to while its broker was behind is worth nothing.
func storeStamp(dataDir string) int64 {
	newest := time.UnixMilli(0)
	for _, store := range []string{"qls", "rhm"} { // of linearstore and legacystore
		_ = filepath.WalkDir(filepath.Join(dataDir, store), func(_ string, e fs.DirEntry, err error) error {
			if err != nil || !slices.Contains(journals, filepath.Ext(e.Name())) {
				return nil // what cannot be read is not counted
			}
			if fi, err := e.Info(); err == nil && fi.ModTime().After(newest) {
				newest = fi.ModTime()
			}
			return nil
		})
	}
	if fi, err := os.Stat(filepath.Join(dataDir, behindFile)); err == nil && newest.After(fi.ModTime()) {
		return 0
	}
	return newest.UnixMilli()
}

// journals are how the names of a store's journals end. Its other files are
// written by every start and stop.
var journals = []string{".jrnl", ".jdat"}

// behindFile is in the data directory from before a broker starts until it has
// everything.
const behindFile = "openstack-ocf.behind"

func setBehind(dataDir string, behind bool) error {
	path := filepath.Join(dataDir, behindFile)
	_, err := os.Stat(path)
	there := err == nil
	switch {
	case there == behind:
		return nil
	case there:
		return os.Remove(path)
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close()) // on the disk before the broker writes to its store
}

// tell sets an attribute of this node, or removes it with "". Unless it must,
// it does so only if that is not what it told the last time, so that a monitor
// in a steady state runs no program. A probe must: after a restart of Pacemaker
// the attributes are gone.
func (a *agent) tell(ctx context.Context, r *ocf.Request, attribute, value string, must bool) {
	if told(r, attribute) == value && !must && !r.Probe() {
		return
	}
	r.Step("telling the cluster %s=%q", attribute, value)
	err := pacemaker.SetAttribute(ctx, "", attribute, value)
	if err == nil {
		err = os.WriteFile(toldFile(r, attribute), []byte(value), 0o600)
	}
	if err != nil {
		_ = os.Remove(toldFile(r, attribute))
		r.Log.Warn("will tell the cluster again next time", "attribute", attribute, "value", value, "error", err)
	}
}

// forget takes back what the cluster was told. The score first: Pacemaker goes by it.
func (a *agent) forget(ctx context.Context, r *ocf.Request) {
	a.tell(ctx, r, scoreAttribute(r), noScore, true)
	a.tell(ctx, r, stateAttribute(r), "", true)
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
