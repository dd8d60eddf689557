package qpidd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/openstack-ocf/agents/lib/amqp"
	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/files"
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
		at.HAStatus = parsePeer(told(r, stateAttribute(r))).HAStatus
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

// announce publishes this broker's state, and the promotion scores that are its
// own to give; p is needed of a joining one. The error says that it will never
// be fit as it is.
//
// A backup gets its score from the primary alone. It calls itself ready also
// when it has lost the primary, which goes on without it, and when it is back
// and catches up.
func (a *agent) announce(ctx context.Context, r *ocf.Request, s settings, p *daemon.Process, at place) error {
	if at.Primary() {
		a.remark(r, s, true)
		a.vouch(ctx, r, at)
		return nil
	}
	state, score := string(at.HAStatus)+" "+at.id, noScore
	switch at.HAStatus {
	case qmf.Ready:
		a.remark(r, s, true)
	case qmf.CatchUp:
		a.remark(r, s, false)
	case qmf.Joining:
		stamp := storeStamp(s)
		state += " " + strconv.FormatInt(stamp, 10)
		a.tell(ctx, r, stateAttribute(r), state, false) // before looking at the others', which may wait for ours
		score = a.coldScore(ctx, r, s, p, stamp)
	}
	if at.lost {
		if err := a.adrift(ctx, r, at.HAStatus); err != nil {
			return err
		}
	}
	if at.barred != nil {
		score = noScore
		if at.HAStatus == qmf.Ready {
			state = "barred" // the primary vouches for what is ready
		}
	}
	if at.HAStatus != qmf.Ready || at.barred != nil {
		a.tell(ctx, r, scoreAttribute(r), score, at.HAStatus != qmf.Ready) // also if it was told, for a primary may have vouched late
	}
	a.tell(ctx, r, stateAttribute(r), state, false)
	return nil
}

// vouch has the primary give the backups that have everything their scores, and
// take them from the others. It goes by the scores that there are: a restart of
// Pacemaker takes a node's away. In a steady state it looks at them only every
// now and then.
func (a *agent) vouch(ctx context.Context, r *ocf.Request, at place) {
	state := strings.Join(append([]string{string(at.HAStatus), at.id}, at.inStep...), " ")
	news := told(r, stateAttribute(r)) != state || told(r, scoreAttribute(r)) != scoreActive || r.Probe()
	if !news && since(toldFile(r, stateAttribute(r))) > settling && since(toldFile(r, looked)) < lookAgain {
		return
	}
	scores, err := pacemaker.Attributes(ctx, scoreAttribute(r))
	peers, err2 := a.peers(ctx, r)
	if err = errors.Join(err, err2); err == nil {
		want := map[string]string{}
		for peer, b := range peers {
			if !b.Primary() && slices.Contains(at.inStep, b.id) {
				want[peer] = scoreReady
			}
		}
		for peer := range scores {
			if want[peer] == "" && peer != node(r) {
				want[peer] = noScore
			}
		}
		for peer, score := range want {
			if scores[peer] != score {
				r.Step("telling the cluster %s=%q of %s", scoreAttribute(r), score, peer)
				err = errors.Join(err, pacemaker.SetAttribute(ctx, peer, scoreAttribute(r), score))
			}
		}
	}
	a.tell(ctx, r, scoreAttribute(r), scoreActive, scores[node(r)] != scoreActive)
	a.tell(ctx, r, stateAttribute(r), state, false)
	if err == nil {
		err = os.WriteFile(toldFile(r, looked), nil, 0o600)
	}
	if err != nil {
		_ = os.Remove(toldFile(r, looked))
		r.Log.Warn("cannot tell the cluster which backups are in step, and will do so next time", "error", err)
	}
}

// looked is when a primary last looked at the scores, and lookAgain how long it
// does not do so again in a steady state.
const (
	looked    = "looked"
	lookAgain = 15 * time.Second
)

// since is how long ago the file was written; for ever if it is not there.
func since(path string) time.Duration {
	fi, err := os.Stat(path)
	if err != nil {
		return math.MaxInt64
	}
	return time.Since(fi.ModTime())
}

var errLeftBehind = errors.New("the primary had gone on without this broker")

// leftBehind asks the other backups that may be promoted whether the primary
// counted this one among those that have everything. The primary told them at
// once, and the cluster only at its next monitor, for which it may not have
// lived.
func (a *agent) leftBehind(ctx context.Context, r *ocf.Request, s settings, id string) error {
	scores, err := pacemaker.Attributes(ctx, scoreAttribute(r))
	peers, err2 := a.peers(ctx, r)
	t, _, err3 := a.target(r, s, nil)
	if errors.Join(err, err2, err3) != nil {
		return nil // nobody can be asked
	}
	nodes := map[string]string{} // by the id of a broker that is not heard yet
	for node, b := range peers {
		if b.HAStatus == qmf.Ready && scores[node] == scoreReady {
			nodes[b.id] = node
		}
	}
	var asking sync.WaitGroup
	defer asking.Wait() // no question is left half asked: see qmf.Client.Close
	ctx, cancel := context.WithTimeout(ctx, askPeers)
	defer cancel()
	heard := make(chan place)
	for _, address := range haAddresses(a.haBrokers) {
		asking.Go(func() {
			t := t
			t.Address, t.PID = address, 0
			at, _ := ask(ctx, t)
			select {
			case heard <- at:
			case <-ctx.Done():
			}
		})
	}
	for len(nodes) > 0 {
		select {
		case at := <-heard:
			node, asked := nodes[at.id]
			if delete(nodes, at.id); asked && at.HAStatus == qmf.Ready && !slices.Contains(at.inStep, id) {
				return ocf.Errorf(ocf.Generic, "%w and with that of %s: promote that one; this one joins anew", errLeftBehind, node)
			}
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// askPeers is how long a promotion waits for the other backups' answers, which take milliseconds.
const askPeers = time.Second

// ask asks a broker for its place.
func ask(ctx context.Context, t amqp.Target) (at place, err error) {
	conn, ans := amqp.Connect(ctx, t)
	if conn == nil {
		return at, errors.New(ans.Reason())
	}
	defer conn.Close()
	c, err := qmf.New(ctx, conn)
	if err != nil {
		return at, err
	}
	defer c.Close(ctx)
	ha, err := c.HA(ctx)
	return placeOf(ha), err
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

// peer is what a broker told the cluster of itself: its status, its id, and
// while it joins what its store is worth.
type peer struct {
	qmf.HAStatus
	id    string
	stamp int64
}

func parsePeer(state string) peer {
	words := append(strings.Fields(state), "", "", "")
	stamp, _ := strconv.ParseInt(words[2], 10, 64)
	return peer{qmf.HAStatus(words[0]), words[1], stamp}
}

// peers are the brokers on other nodes.
func (a *agent) peers(ctx context.Context, r *ocf.Request) (map[string]peer, error) {
	states, err := pacemaker.Attributes(ctx, stateAttribute(r))
	delete(states, node(r))
	peers := map[string]peer{}
	for node, state := range states {
		peers[node] = parsePeer(state)
	}
	return peers, err
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
	if expected := a.brokers(r, s); len(peers)+1 < expected && !waited {
		r.Log.Debug("a cold start waits for brokers not yet heard", "heard", len(peers)+1, "expected", expected)
		return noScore
	}
	for peer, b := range peers {
		if b.HAStatus != qmf.Joining || b.stamp > stamp || b.stamp == stamp && peer < node(r) {
			return noScore // it is further than we are, or has the newer store
		}
	}
	return scoreCold
}

// storeStamp is when the broker's store last took in, or gave away, a message
// while the broker had everything, in milliseconds since 1970: 0 without a
// store, and with one of no worth.
//
// A broker that joins a cluster throws away what it has, and writes what it gets
// from the primary: the newest store may be the emptiest. So what a store is
// worth is noted before its broker starts, and it is worth nothing once it is
// written to. Recovery writes to it, too, behind a record that was half written.
func storeStamp(s settings) int64 {
	m, err := readMark(s.dataDir)
	switch newest := newestJournal(s.storeDir); {
	case errors.Is(err, fs.ErrNotExist):
		return newest
	case err != nil, m.recovered != 0 && newest > m.recovered:
		return 0
	}
	return m.stamp
}

// newestJournal is when a journal in the directory was last written to.
func newestJournal(dir string) int64 {
	newest := time.UnixMilli(0)
	var walk func(string)
	walk = func(dir string) {
		entries, _ := os.ReadDir(dir) // what cannot be read is not counted
		for _, e := range entries {
			path := filepath.Join(dir, e.Name())
			fi, err := os.Stat(path) // partitions may be links to other disks, and journals are linked to
			switch {
			case err != nil:
			case fi.IsDir():
				walk(path)
			case slices.Contains(journals, filepath.Ext(path)) && fi.ModTime().After(newest):
				newest = fi.ModTime()
			}
		}
	}
	for _, store := range []string{"qls", "rhm"} { // of linearstore and legacystore
		walk(filepath.Join(dir, store))
	}
	return newest.UnixMilli()
}

// journals are how the names of a store's journals end. Its other files are
// written by every start and stop.
var journals = []string{".jrnl", ".jdat"}

// A mark is in the data directory from before a broker starts until it has
// everything. A broker that has not seen the primary yet has its store as
// recovery left it.
type mark struct {
	stamp     int64 // of the store before the start
	recovered int64 // when the newest journal was written to at the end of recovery; 0: not known
}

const markFile = "openstack-ocf.behind"

func readMark(dataDir string) (m mark, err error) {
	b, err := os.ReadFile(filepath.Join(dataDir, markFile))
	if err == nil {
		_, err = fmt.Sscan(string(b), &m.stamp, &m.recovered)
	}
	return m, err
}

// setMark replaces the mark, or removes it with nil. It is on the disk when this returns.
func setMark(dataDir string, m *mark) error {
	path := filepath.Join(dataDir, markFile)
	if m != nil {
		return files.Replace(path, fmt.Appendln(nil, m.stamp, m.recovered), 0o644)
	}
	return errors.Join(os.Remove(path), files.SyncDir(dataDir))
}

// remark brings the mark to what the store is worth now that the broker has been seen.
func (a *agent) remark(r *ocf.Request, s settings, whole bool) {
	var want *mark
	if !whole {
		want = &mark{}
	}
	m, err := readMark(s.dataDir)
	if there := !errors.Is(err, fs.ErrNotExist); there == (want != nil) && (!there || m == *want && err == nil) {
		return
	}
	if err := setMark(s.dataDir, want); err != nil {
		r.Log.Warn("a cold start may misjudge this broker's store", "error", err)
	}
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
