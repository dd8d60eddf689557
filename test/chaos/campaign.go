// Package chaos plays a campaign of random faults on a real Pacemaker cluster that runs a whole control plane, and has it
// judged by its history. `make chaos` is how to run it.
//
// What is random comes from the seed and the number of the step alone, so that a step can be played again. What clients were
// told, what was seen from outside and what each fault excuses is written down; package check, which knows nothing else,
// says afterwards what was wrong.
package chaos

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/openstack-ocf/agents/test/broker"
	"github.com/openstack-ocf/agents/test/chaos/check"
	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/clusterqpidd"
	"github.com/openstack-ocf/agents/test/scenario"
)

// Config is a campaign on one cluster.
type Config struct {
	Binary   string // openstack-ocf
	Seed     int
	From, To int      // steps, both included
	Kinds    []string // of faults; none: all
	Most     int      // faults at once; over 2 each step is a storm
	Lasting  bool     // failures are not cleaned up between steps: bans add up, as where nobody looks
	Group    Group
	History  io.Writer
	Logs     string // a directory for those of the nodes; "": they are not kept
	Say      func(line string)
	// Enough, once it is done, has no further step begin; nil: never. The one under way goes on to its end.
	Enough context.Context
	// Claim is told how many faults the next step has; when it says no, no further one is played. nil: all are.
	Claim func(faults int) bool

	slack    int                                       // see [check.Event]
	sabotage []fault                                   // in place of all others
	of       func(step int) (seed int, kinds []string) // in place of Seed and Kinds; nil: those of all steps
}

// Group is what differs between the groups of campaigns.
type Group struct {
	Native      bool // ocf:openstack:floating-ip and shared-storage, in place of IPaddr2 and Filesystem
	Consoleauth bool // nova-consoleauth is in it
	Units       bool // what has a systemd unit is run by that
	// Replicated has the broker on every node beside the group, one of them promoted, at an address of its own.
	Replicated bool
}

// GroupOf is the group of a campaign that nobody has chosen.
func GroupOf(seed int) Group {
	rng := rand.New(rand.NewPCG(uint64(seed), 0))
	g := Group{Native: rng.IntN(2) == 0, Consoleauth: rng.IntN(2) == 0, Units: rng.IntN(3) == 0}
	if rng.IntN(4) == 0 {
		_, err := scenario.ReplicatedBroker()
		g.Replicated = err == nil
	}
	return g
}

// ParseGroup reads words: native, consoleauth, units and replicated; plain is none of them.
func ParseGroup(words string) (g Group, err error) {
	for _, w := range strings.Split(words, ",") {
		switch w {
		case "native":
			g.Native = true
		case "consoleauth":
			g.Consoleauth = true
		case "units":
			g.Units = true
		case "replicated":
			g.Replicated = true
		case "plain":
		default:
			return g, fmt.Errorf("%q is none of native, consoleauth, units, replicated, plain", w)
		}
	}
	return g, nil
}

func (g Group) String() string {
	var words []string
	for _, w := range []struct {
		is   bool
		word string
	}{{g.Native, "native"}, {g.Consoleauth, "consoleauth"}, {g.Units, "units"}, {g.Replicated, "replicated"}} {
		if w.is {
			words = append(words, w.word)
		}
	}
	return cmp.Or(strings.Join(words, ","), "plain")
}

// Services are the group's, in their order. The words say what is not as in the document.
func (g Group) Services() (list []scenario.Service, words []string) {
	list = []scenario.Service{scenario.MySQL()}
	find := scenario.Broker
	if g.Units {
		list[0] = scenario.ByUnit(list[0], "mariadb.service")
		find = scenario.BrokerByUnit
	}
	if g.Replicated { // by the agent itself: the unit's options would have to say so
		find = func() (scenario.Service, broker.Kind, error) {
			b, err := scenario.ReplicatedBroker()
			return b, broker.Real, err
		}
	}
	if b, kind, err := find(); err != nil {
		words = append(words, fmt.Sprintf("no broker: %v", err))
	} else {
		if kind != broker.Real {
			words = append(words, fmt.Sprintf("the broker is a %s, which keeps no message over a restart", kind))
		}
		list = append(list, b)
	}
	if g.Consoleauth && len(list) > 1 && !g.Replicated { // it needs the broker, and looks for it at the group's address
		if nova, _, err := scenario.Consoleauth(); err != nil {
			words = append(words, fmt.Sprintf("no nova-consoleauth: %v", err))
		} else {
			list = append(list, nova)
		}
	}
	if api, err := scenario.API(); err != nil {
		words = append(words, fmt.Sprintf("no HAProxy: %v", err))
	} else {
		if g.Units {
			api = scenario.ByUnit(api, "haproxy.service")
		}
		list = append(list, api)
	}
	return list, words
}

// scene is the cluster, its clients, and who looks at it.
type scene struct {
	Config
	cluster  *cluster.Cluster
	stage    *scenario.Stage
	services []string  // in the group's order
	idle     time.Time // since when Pacemaker has had nothing to do while it shows a failure
	clone    string    // the service that every node has an instance of, beside the group; "" is none
	history  *check.History
	overseer *overseer
	brokers  *clusterqpidd.Watch // of a replicated one; nil: there is none
	clients  []*client
	queue    *queue
	kept     *queue // whose messages nobody takes out until the end; nil: there is none

	cannot []string // kinds of faults

	repairing sync.Mutex // whoever checks a file system

	mu      sync.Mutex
	avoided map[string]int
}

// errEnough says that the step was not to be played.
var errEnough = errors.New("enough")

const (
	setupTimeout = 8 * time.Minute
	// stalled is how long nothing may move before the cluster is helped: longer than a failure keeps a node out.
	stalled = 150 * time.Second
	// stepTimeout is for one step, with help.
	stepTimeout = 12 * time.Minute
)

// Run plays the steps on one cluster, and returns the history. An error says that it could not be played to its end: the
// last step's number says how far it came.
func Run(ctx context.Context, cfg Config) (events []check.Event, last int, err error) {
	if cfg.Enough == nil {
		cfg.Enough = context.Background()
	}
	s := &scene{Config: cfg, history: check.NewHistory(cfg.History), avoided: map[string]int{}}
	last = cfg.From - 1
	defer func() {
		var herr error
		events, herr = s.history.Events()
		err = errors.Join(err, herr)
	}()
	if err := s.build(cfg.Enough); err != nil {
		return nil, last, err
	}
	defer func() { err = errors.Join(err, s.cluster.Close()) }()
	if s.Logs != "" {
		defer func() { err = errors.Join(err, s.cluster.Logs(context.WithoutCancel(ctx), s.Logs)) }()
	}
	defer s.stage.Close()
	if s.clone != "" {
		s.brokers = clusterqpidd.NewWatch(s.cluster)
		defer s.brokers.Stop()
	}
	playing, stop := context.WithCancel(ctx)
	var hands sync.WaitGroup
	defer hands.Wait()
	defer stop()
	if err := s.enter(playing, &hands); err != nil {
		return nil, last, err
	}
	for n := cfg.From; n <= cfg.To && ctx.Err() == nil; n++ {
		err := s.step(ctx, n)
		if errors.Is(err, errEnough) {
			break
		}
		last = n
		if ctx.Err() != nil {
			s.history.Add(check.Event{Kind: check.Cut, N: n})
			break
		}
		if err != nil {
			s.history.Add(check.Event{Kind: check.Stuck, N: n, Text: err.Error()})
			s.Say(fmt.Sprintf("step %d: %v", n, err))
			break
		}
	}
	s.history.Add(check.Event{Kind: check.Over})
	return nil, last, errors.Join(ctx.Err(), s.count(ctx, stop, &hands))
}

func (s *scene) foundation() scenario.Foundation {
	if s.Group.Native {
		return scenario.Native()
	}
	return scenario.Scripts()
}

// missing takes out the faults that this machine cannot have, and says so.
func (s *scene) missing() (words []string) {
	for _, c := range []struct {
		can   func() bool
		kinds []string
		needs string
	}{
		{canStarve, []string{"run out of memory", "run out of memory during a start", "run out of memory during a stop", "a child runs out of memory"}, "the memory controller of cgroup 1"},
		{canCount, []string{"run out of processes"}, "the pids controller of cgroup 1"},
		{canThrottle, []string{"slow the disk"}, "the blkio controller of cgroup 1"},
		// ocf:heartbeat:Filesystem calls a frozen file system unmounted that the kernel has open, and will write to when the freeze ends.
		{func() bool { return s.Group.Native }, []string{"freeze the storage"}, "a native group"},
		{func() bool { return s.Group.Units }, []string{"restart the unit by hand"}, "a group of units"},
		{func() bool { return s.Group.Replicated }, replicatedKinds(), "a replicated group"},
		{canLose, []string{
			"lose a few packets", "lose many packets", "lose big packets", "two nodes do not hear each other", "one-way network",
			"slow network", "power cut without a BMC", "no BMC for a while", "power cut with its BMC", "names that hang",
		}, "iptables and tc, with statistic, length and tbf"},
	} {
		if !c.can() {
			s.cannot = append(s.cannot, c.kinds...)
			words = append(words, fmt.Sprintf("no %q: needs %s", c.kinds, c.needs))
		}
	}
	return words
}

// build makes the cluster and the group, by `openstack-ocf apply`.
func (s *scene) build(ctx context.Context) error {
	list, words := s.Group.Services()
	words = append(words, s.missing()...)
	for _, w := range words {
		s.Say(w)
	}
	if len(s.Kinds) > 0 && !slices.ContainsFunc(s.Kinds, func(k string) bool { return !slices.Contains(s.cannot, k) }) {
		return fmt.Errorf("this campaign, %v, can have none of %q", s.Group, s.Kinds)
	}
	cfg, err := scenario.Config(s.Binary, list...)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()
	if s.cluster, err = cluster.Start(ctx, cfg); err != nil {
		return err
	}
	if s.stage, err = s.foundation().Apply(ctx, s.cluster, nil, list...); err != nil {
		return errors.Join(err, s.cluster.Close())
	}
	for _, a := range s.stage.Actors {
		a.Writer.Stop()
		if a.IP != "" {
			s.clone = a.ID
			continue
		}
		s.services = append(s.services, a.ID)
	}
	return nil
}

// enter lets clients and watches in.
func (s *scene) enter(ctx context.Context, hands *sync.WaitGroup) error {
	var services []check.Service
	for _, a := range s.stage.Actors {
		clients, err := s.admit(ctx, a, hands)
		if err != nil {
			return err
		}
		one := check.Service{ID: a.ID, Disk: !a.Diskless, Forgets: a.Forgets}
		if a.ID == s.clone {
			one.Everywhere = s.nodes()
		}
		for _, c := range clients {
			c.history = s.history
			one.Clients = append(one.Clients, c.name)
		}
		s.clients = append(s.clients, clients...)
		services = append(services, one)
	}
	s.history.Add(check.Event{Kind: check.Setup, Service: services})
	for _, a := range s.stage.Actors {
		watch(s.history, a)
	}
	for _, c := range s.clients {
		hands.Go(func() { c.run(ctx) })
	}
	s.overseer = newOverseer(s.cluster, s.history)
	hands.Go(func() { s.overseer.run(ctx) })
	hands.Go(func() { watchAddress(ctx, s.cluster, s.history, "", scenario.FloatingIP) })
	if s.brokers != nil {
		s.brokers.Tell(func(nodes []string) { s.history.Add(check.Event{Kind: check.Promoted, Who: s.clone, Nodes: nodes}) })
		hands.Go(func() { watchAddress(ctx, s.cluster, s.history, s.clone, s.actor(s.clone).IP) })
	}
	waiting, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	return s.allServed(waiting, time.Now())
}

// admit makes the clients of a service.
func (s *scene) admit(ctx context.Context, a *scenario.Actor, hands *sync.WaitGroup) ([]*client, error) {
	dial := s.cluster.Dial
	switch a.ID {
	case "db":
		rows, err := openDatabase(dial, patience)
		if err != nil {
			return nil, err
		}
		pairs, err := openDatabase(dial, patience)
		if err != nil {
			return nil, err
		}
		for _, table := range tables {
			if _, err := rows.db.ExecContext(ctx, table); err != nil {
				return nil, err
			}
		}
		return []*client{
			{
				name: "rows", pause: 50 * time.Millisecond, close: rows.close,
				do:    func(ctx context.Context, n int) error { return rows.transaction(ctx, n, "chaos_rows") },
				check: func(ctx context.Context, n int) (int, error) { return rows.count(ctx, n, "chaos_rows") },
			},
			{
				name: "pairs", pause: 100 * time.Millisecond, close: pairs.close,
				do: func(ctx context.Context, n int) error {
					return pairs.transaction(ctx, n, "chaos_first", "chaos_second")
				},
				check: func(ctx context.Context, n int) (int, error) { return pairs.count(ctx, n, "chaos_second") },
			},
		}, nil
	case "qpidd":
		s.queue = &queue{dial: dial, addr: cmp.Or(a.IP, scenario.FloatingIP) + ":5672", name: "chaos", history: s.history, received: map[int]bool{}, changed: time.Now()}
		hands.Go(func() { s.queue.consume(ctx) })
		clients := []*client{{name: "messages", pause: 50 * time.Millisecond, close: s.queue.drop, do: s.queue.put}}
		if a.IP != "" { // whoever takes over is to have them all
			s.kept = &queue{dial: dial, addr: s.queue.addr, name: "chaos-kept"}
			clients = append(clients, &client{name: keptName, pause: 50 * time.Millisecond, close: s.kept.drop, do: s.kept.put})
		}
		return clients, nil
	case "consoleauth":
		tokens := scenario.Tokens(dial, 2*patience)
		return []*client{{name: "calls", pause: 200 * time.Millisecond, close: func() { _ = tokens.Close() }, do: tokens.Put}}, nil
	case "haproxy":
		api := scenario.Versions(dial, "http://"+apiAddress+"/")
		return []*client{{name: "api", pause: 250 * time.Millisecond, close: func() { _ = api.Close() }, do: api.Put}}, nil
	}
	return nil, fmt.Errorf("%s has no client", a.ID)
}

// keptName is the client's whose messages stay in the queue.
const keptName = "kept"

func (s *scene) actor(id string) *scenario.Actor {
	i := slices.IndexFunc(s.stage.Actors, func(a *scenario.Actor) bool { return a.ID == id })
	return s.stage.Actors[i]
}

func (s *scene) has(id string) bool { return slices.Contains(s.services, id) }

func (s *scene) nodes() (names []string) {
	for _, n := range s.cluster.Nodes() {
		names = append(names, n.Name)
	}
	return names
}

// behind are the service and those that the group stops with it.
func (s *scene) behind(id string) []string {
	if id == s.clone {
		return []string{id}
	}
	return s.services[slices.Index(s.services, id):]
}

// everything is all services, those of the group first.
func (s *scene) everything() []string {
	if s.clone == "" {
		return s.services
	}
	return slices.Concat(s.services, []string{s.clone})
}

// allServed returns when each client was acknowledged something that it asked for after t.
func (s *scene) allServed(ctx context.Context, t time.Time) error {
	for {
		var waiting []string
		for _, c := range s.clients {
			if !c.served(t) {
				waiting = append(waiting, c.name)
			}
		}
		if len(waiting) == 0 {
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%s: not served: %w", strings.Join(waiting, ", "), ctx.Err())
		}
	}
}

// look says where everything is.
func (s *scene) look(ctx context.Context) (at where, err error) {
	st, err := s.cluster.Status(ctx)
	if err != nil {
		return at, err
	}
	if err := s.well(st); err != nil {
		return at, err
	}
	for _, r := range st.Resource(s.clone) {
		if r.Role == promoted {
			at.promoted = r.On[0].Name
		}
	}
	at.active, at.dc = st.Running(s.services[0])[0], st.DC
	for _, n := range s.cluster.Nodes() {
		if n.Name != at.active {
			at.passive = append(at.passive, n.Name)
		}
	}
	return at, nil
}

// draw draws the faults of a step, and how long after each the next one comes.
func (s *scene) draw(n int, at where) (acts []act, gaps []time.Duration) {
	var able []fault
	sum := 0
	seed, kinds := s.Seed, s.Kinds
	if s.of != nil {
		seed, kinds = s.of(n)
	}
	list := faults
	if s.sabotage != nil {
		list = s.sabotage
	}
	for _, f := range list {
		if (len(kinds) == 0 || slices.Contains(kinds, f.kind)) && !slices.Contains(s.cannot, f.kind) {
			able = append(able, f)
			sum += f.weight
		}
	}
	rng := rand.New(rand.NewPCG(uint64(seed), uint64(n)))
	count := 1
	if rng.IntN(3) == 0 && s.Most > 1 {
		count = 2
	}
	gaps = append(gaps, between(rng, 0, 4*time.Second))
	if s.Most > 2 {
		count = 2 + rng.IntN(s.Most-1)
	}
	for range count {
		pick := rng.IntN(sum)
		i := 0
		for ; pick >= able[i].weight; i++ {
			pick -= able[i].weight
		}
		// Of its own numbers, so that one fault does not change what the next one is.
		a := able[i].draw(s, rand.New(rand.NewPCG(rng.Uint64(), uint64(n))), at)
		s.beside(&a)
		acts = append(acts, a)
	}
	for len(gaps) < len(acts) {
		gaps = append(gaps, between(rng, 0, 4*time.Second))
	}
	return acts, gaps
}

// together adds to the faults of a step what they excuse only because they overlap.
func (s *scene) together(acts []act) {
	group, clone, away := 0, 0, map[string]bool{}
	for _, a := range acts {
		touched := slices.Concat(a.Restart, a.Handicapped)
		if slices.ContainsFunc(touched, s.has) {
			group++
		}
		if slices.ContainsFunc(touched, s.ofClone) {
			clone++
		}
		for _, n := range a.Fence {
			away[n] = true
		}
	}
	for i, a := range acts {
		lost := len(a.Fence) > 0 && len(away) > 1 // where the majority is away, all that runs on the others is stopped
		// One may strike the start after another, or what it handicaps cannot start; Pacemaker has the group move then.
		if lost || group > 1 && slices.ContainsFunc(a.Restart, s.has) {
			acts[i].Restart, acts[i].Move = slices.Concat(s.services, slices.DeleteFunc(slices.Clone(a.Restart), s.has)), true
		}
		// One may strike the broker that is promoted after another, or before the one that came back has everything.
		if s.clone != "" && (lost || clone > 1 && slices.ContainsFunc(a.Restart, s.ofClone)) {
			acts[i].Restart = append(slices.DeleteFunc(slices.Clone(acts[i].Restart), s.ofClone), s.clone)
		}
	}
}

// ofClone says whether what a fault names is the clone, or one of its instances.
func (s *scene) ofClone(id string) bool {
	id, _, _ = strings.Cut(id, "@")
	return s.clone != "" && id == s.clone
}

// beside adds to a fault what it excuses of a service that is not in the group.
func (s *scene) beside(a *act) {
	if s.clone == "" {
		return
	}
	for _, n := range a.Fence {
		a.Restart = slices.Concat(a.Restart, []string{check.Instance(s.clone, n)})
	}
	a.Lacks = slices.Concat(a.Lacks, []string{saysBehind})
}

// step is the faults that are drawn for it, and the wait for all to be well again. An error says that it never was.
func (s *scene) step(ctx context.Context, n int) error {
	if s.Enough.Err() != nil {
		return errEnough
	}
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	at, err := s.look(ctx)
	if err != nil { // something came late of the step before
		if err := s.recovered(ctx, calm); err != nil {
			return err
		}
		if at, err = s.look(ctx); err != nil {
			return err
		}
	}
	acts, gaps := s.draw(n, at)
	if s.Claim != nil && !s.Claim(len(acts)) {
		return errEnough
	}
	s.together(acts)
	step := check.Event{Kind: check.Step, N: n, Load: load(), Slack: s.slack}
	said := fmt.Sprintf("step %d: ", n)
	for i, a := range acts {
		step.Faults = append(step.Faults, a.Fault)
		if i > 0 {
			said += ", and after " + gaps[i-1].Round(100*time.Millisecond).String() + " "
		}
		said += strings.TrimSpace(a.Kind + " " + a.Target)
		if s.clone != "" && a.Target == s.clone {
			said += " on " + a.Node
		}
	}
	said += fmt.Sprintf("; active %s, DC %s", at.active, at.dc)
	if at.promoted != "" {
		said += ", promoted " + at.promoted
	}
	s.history.Add(step)
	began := time.Now()
	var hands sync.WaitGroup
	for i, a := range acts {
		if i > 0 {
			sleep(ctx, gaps[i-1])
		}
		hands.Go(func() {
			if err := a.do(ctx); err != nil {
				s.history.Add(check.Event{Kind: check.Remark, N: n, Who: a.Kind, Text: err.Error()})
			}
		})
	}
	hands.Wait()
	if err := s.recovered(ctx, calm); err != nil {
		said += "; helped: " + err.Error()
		if err := s.help(ctx, n, err); err != nil {
			return fmt.Errorf("%s: %w", said, err)
		}
	}
	if err := s.forget(ctx); err != nil {
		return fmt.Errorf("%s: after a cleanup: %w", said, err)
	}
	s.history.Add(check.Event{Kind: check.Settled, N: n})
	s.Say(fmt.Sprintf("%s: %.1f s", said, time.Since(began).Seconds()))
	return nil
}

// load is the machine's load average over a minute.
func load() (average float64) {
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		_, _ = fmt.Sscan(string(text), &average)
	}
	return average
}

// calm is how long all must be well: what Pacemaker has not noticed yet, such as a daemon of its own that was killed, shows by then.
// The longest of the plan's monitors that are not the deep ones' is 2 s. After a cleanup nothing has struck anew.
const (
	calm       = 3 * time.Second
	calmForgot = time.Second
	// Each look makes a process, or two.
	lookAgainIn = 500 * time.Millisecond
)

// recovered returns when all has been well for so long, with nothing left to do and all clients served; or, when nothing has
// moved for long, with what is not well.
func (s *scene) recovered(ctx context.Context, calm time.Duration) error {
	last, since, good := "", time.Now(), time.Time{}
	for {
		now, err := "", s.wellNow(ctx)
		switch {
		case err != nil:
			now, good = err.Error(), time.Time{}
		case good.IsZero():
			good = time.Now()
		case time.Since(good) > calm:
			return nil
		}
		if now != last {
			last, since = now, time.Now()
		}
		if err != nil && (time.Since(since) > stalled || ctx.Err() != nil) {
			return err
		}
		sleep(ctx, lookAgainIn)
	}
}

func (s *scene) wellNow(ctx context.Context) error {
	st, err := s.cluster.Status(ctx)
	if err != nil {
		return err
	}
	s.overseer.note(st)
	if err := s.well(st); err != nil {
		s.neglected(ctx, st)
		return err
	}
	s.idle = time.Time{}
	if s.clone != "" { // Pacemaker may not have noticed yet, and no client does, that a backup has ended
		for _, n := range s.nodes() {
			if _, runs := s.actor(s.clone).NowOn(n); !runs {
				return fmt.Errorf("%s does not run on %s", s.clone, n)
			}
		}
	}
	if err := s.cluster.IdleSince(ctx, st); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return s.allServed(ctx, time.Now())
}

// help does what an operator would, and notes that he had to.
func (s *scene) help(ctx context.Context, n int, why error) error {
	shown := s.cluster.CrmMon(ctx)
	s.history.Add(check.Event{Kind: check.Cleaned, N: n, Text: "a cleanup was needed: " + why.Error(), Action: shown})
	if err := s.tool(ctx, "pcs", "resource", "cleanup"); err != nil {
		return err
	}
	return s.recovered(ctx, calm)
}

// forget has Pacemaker forget the failures, so that the next step begins as the first, unless they are to last.
func (s *scene) forget(ctx context.Context) error {
	st, err := s.cluster.Status(ctx)
	if err != nil {
		return err
	}
	s.overseer.note(st)
	if len(st.Failures) == 0 || s.Lasting {
		return nil
	}
	if err := s.persist(ctx, "crm_resource", "--cleanup"); err != nil { // what pcs runs, a second later
		return err
	}
	return s.recovered(ctx, calmForgot)
}

// count stops who puts, and reads back what is there.
func (s *scene) count(ctx context.Context, stop func(), hands *sync.WaitGroup) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Minute)
	defer cancel()
	for _, c := range s.clients {
		c.halt.Store(true)
	}
	var errs []error
	if s.queue != nil {
		errs = append(errs, s.queue.drained(ctx))
	}
	stop()
	hands.Wait()
	if s.kept != nil {
		list, err := s.kept.numbers(ctx)
		if err == nil {
			s.history.Add(check.Event{Kind: check.Final, Who: keptName, Numbers: list})
		}
		errs = append(errs, err)
	}
	d, err := openDatabase(s.cluster.Dial, time.Minute)
	if err != nil {
		return err
	}
	defer d.close()
	var lists [3][]int
	for i, table := range []string{"chaos_rows", "chaos_first", "chaos_second"} {
		lists[i], err = d.numbers(ctx, table)
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	s.history.Add(check.Event{Kind: check.Final, Who: "rows", Numbers: lists[0]})
	s.history.Add(check.Event{Kind: check.Final, Who: "pairs", Numbers: lists[1], Others: lists[2]})
	return nil
}
