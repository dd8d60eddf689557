package check

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Spared is how long a client may be without an answer whose service no fault was to touch. An act on the address of the
// group, or a machine that has much else to do, costs that much.
const Spared = 5 * time.Second

// startsPerFault is how often a fault may have a service started anew: once by itself, again where it struck a start.
const startsPerFault = 3

// Class is what kind of thing went wrong.
type Class string

const (
	Lost        Class = "lost"        // acknowledged, and not there
	Doubled     Class = "doubled"     // there more often than it was put
	Torn        Class = "torn"        // half of a transaction
	Stray       Class = "stray"       // never put, or surely refused, and there
	ReadBack    Class = "read-back"   // acknowledged, and not there when looked for
	TwoServers  Class = "two servers" // on the same data
	TwoMounts   Class = "two mounts"  // of the same file system
	StrayMount  Class = "stray mount" // where the service is not
	TwoHolders  Class = "two holders" // of the address
	StrayHolder Class = "stray address"
	TooEarly    Class = "too early"  // started elsewhere before the node that had it was known to be off
	Balks       Class = "command"    // of an operator, that did not work though nothing was broken
	Restarted   Class = "restarted"  // without an excuse
	Moved       Class = "moved"      // without an excuse
	NeedlessOff Class = "fenced"     // without an excuse
	NeedsHelp   Class = "needs help" // a cleanup, without an excuse
	TooLong     Class = "outage"     // over the bound
	Unexcused   Class = "failure"    // of a resource that no fault was to touch
	Wordless    Class = "words"      // an exit reason that does not say what happened
	Untold      Class = "untold"     // a fault that nobody will know of
	Unheeded    Class = "unheeded"   // a failure that Pacemaker shows, and does nothing about
	NotBack     Class = "not back"   // the cluster never came back
	Unjudged    Class = "not judged" // what is needed to judge is not in the history
)

// Problem is one thing that went wrong, in a step; 0 is before the first, or of all.
type Problem struct {
	Step  int
	Class Class
	Text  string
	Of    string // in a sum, the history that it is of
}

func (p Problem) String() string {
	return strings.TrimSpace(fmt.Sprintf("%s step %d: %s: %s", p.Of, p.Step, p.Class, p.Text))
}

// Line is a failed action, as crm_mon shows it.
type Line struct {
	Who, Node, Action string
	Code              int
	Reason            string
}

// Result is what came of a step.
type Result struct {
	N          int
	From, To   time.Duration
	Faults     []Fault
	Load       float64
	Outages    map[string]time.Duration // by client
	Failures   []Line
	FencedAre  []string
	Helped     bool
	ProblemsOf []Problem
	slack      int
}

// Tally is what a client was told.
type Tally struct{ OK, Refused, Unknown, Again int }

// Verdict is what the history says.
type Verdict struct {
	Name     string // of the history, for a sum
	Problems []Problem
	Steps    []Result
	Tallies  map[string]Tally
}

// Faults is how many there were.
func (v *Verdict) Faults() (n int) {
	for _, s := range v.Steps {
		n += len(s.Faults)
	}
	return n
}

// Count is how many problems there are of a class.
func (v *Verdict) Count(c Class) (n int) {
	for _, p := range v.Problems {
		if p.Class == c {
			n++
		}
	}
	return n
}

// Sum is what several verdicts come to.
func Sum(all []*Verdict) *Verdict {
	sum := &Verdict{Tallies: map[string]Tally{}}
	for _, v := range all {
		for _, p := range v.Problems {
			p.Of = v.Name
			sum.Problems = append(sum.Problems, p)
		}
		sum.Steps = append(sum.Steps, v.Steps...)
		for client, t := range v.Tallies {
			s := sum.Tallies[client]
			sum.Tallies[client] = Tally{s.OK + t.OK, s.Refused + t.Refused, s.Unknown + t.Unknown, s.Again + t.Again}
		}
	}
	return sum
}

// Judge reads a whole history.
func Judge(events []Event) *Verdict {
	j := &judge{Verdict: Verdict{Tallies: map[string]Tally{}}, events: events}
	j.steps()
	j.see()
	j.early()
	for _, s := range j.services {
		for _, client := range s.Clients {
			j.numbers(client, s)
		}
	}
	for i := range j.Steps {
		j.step(&j.Steps[i])
	}
	if len(j.services) == 0 || len(j.Steps) == 0 {
		j.say(0, Unjudged, "the history has no services, or no steps")
	}
	slices.SortStableFunc(j.Problems, func(a, b Problem) int { return cmp.Compare(a.Step, b.Step) })
	for i := range j.Steps {
		s := &j.Steps[i]
		for _, p := range j.Problems {
			if p.Step == s.N {
				s.ProblemsOf = append(s.ProblemsOf, p)
			}
		}
	}
	return &j.Verdict
}

type judge struct {
	Verdict
	events   []Event
	services []Service
}

func (j *judge) say(step int, class Class, format string, args ...any) {
	j.Problems = append(j.Problems, Problem{Step: step, Class: class, Text: fmt.Sprintf(format, args...)})
}

// steps finds where each begins and ends.
func (j *judge) steps() {
	for _, e := range j.events {
		switch e.Kind {
		case Setup:
			j.services = e.Service
		case Step:
			if n := len(j.Steps); n > 0 {
				j.Steps[n-1].To = e.At
			}
			j.Steps = append(j.Steps, Result{N: e.N, From: e.At, Faults: e.Faults, Load: e.Load, slack: max(e.Slack, 1), Outages: map[string]time.Duration{}})
		}
	}
	for _, e := range j.events {
		if n := len(j.Steps); n > 0 && e.Kind == Cut {
			j.Steps = j.Steps[:n-1]
			return
		}
	}
	if n := len(j.Steps); n > 0 {
		j.Steps[n-1].To = j.events[len(j.events)-1].At + 1
		for _, e := range j.events {
			if e.Kind == Over {
				j.Steps[n-1].To = e.At
			}
		}
	}
}

// at is the step that was under way.
func (j *judge) at(t time.Duration) int {
	n := 0
	for _, s := range j.Steps {
		if s.From <= t {
			n = s.N
		}
	}
	return n
}

// see judges what must never be, in no step.
func (j *judge) see() {
	looked := map[string]bool{}
	for _, e := range j.events {
		switch e.Kind {
		case Running:
			looked[e.Who] = true
			if j.tooMany(e) {
				j.say(j.at(e.At), TwoServers, "%d of %s at once: %v", len(e.Daemons), e.Who, e.Daemons)
			}
		case Promoted:
			looked["who is promoted of "+e.Who] = true
			if len(e.Nodes) > 1 {
				j.say(j.at(e.At), TwoServers, "%s is promoted on %s at once", e.Who, strings.Join(e.Nodes, " and "))
			}
		case Mounted:
			looked["disk of "+e.Who] = true
			if len(e.Nodes) > 1 {
				j.say(j.at(e.At), TwoMounts, "the disk of %s is mounted on %s at once", e.Who, strings.Join(e.Nodes, " and "))
			}
		case Held:
			looked[address(e.Who)] = true
			if len(e.Nodes) > 1 {
				j.say(j.at(e.At), TwoHolders, "%s is on %s at once", address(e.Who), strings.Join(e.Nodes, " and "))
			}
		case Blind:
			j.say(j.at(e.At), Unjudged, "%s: %s", e.Who, e.Text)
		}
	}
	if !looked[address("")] {
		j.say(0, Unjudged, "nobody has looked who has the address")
	}
	for _, s := range j.services {
		if !looked[s.ID] {
			j.say(0, Unjudged, "nobody has looked for %s's daemon", s.ID)
		}
		if s.Disk && !looked["disk of "+s.ID] {
			j.say(0, Unjudged, "nobody has looked who has the disk of %s mounted", s.ID)
		}
		if s.Everywhere != nil && !looked["who is promoted of "+s.ID] {
			j.say(0, Unjudged, "nobody has looked who is promoted of %s", s.ID)
		}
		if s.Everywhere != nil && !looked[address(s.ID)] {
			j.say(0, Unjudged, "nobody has looked who has %s", address(s.ID))
		}
	}
}

// address is that of a replicated service, or the group's.
func address(who string) string {
	if who == "" {
		return "the address"
	}
	return "the address of " + who
}

// service is the one with that ID; the zero value is none.
func (j *judge) service(id string) Service {
	for _, s := range j.services {
		if s.ID == id {
			return s
		}
	}
	return Service{}
}

// tooMany says whether there are more daemons than there may be: of a replicated service each node has one.
func (j *judge) tooMany(e Event) bool {
	if j.service(e.Who).Everywhere == nil {
		return len(e.Daemons) > 1
	}
	at := map[string]bool{}
	for _, d := range e.Daemons {
		at[d.Node] = true
	}
	return len(at) < len(e.Daemons)
}

// early finds what was started elsewhere when the node that had it was neither fenced, nor vouched for, nor back.
func (j *judge) early() {
	const late = 5 * time.Second // a fencing that was under way
	has := map[string][]string{} // the nodes that have a service, a disk, or the address
	for i, e := range j.events {
		what, nodes := j.where(e)
		if what != "" {
			has[what] = nodes
		}
		if e.Kind != Off {
			continue
		}
		known := time.Duration(math.MaxInt64)
		for _, k := range j.events {
			if k.Node == e.Node && slices.Contains([]Kind{Fenced, Vouched, On}, k.Kind) && k.At > e.At-late {
				known = min(known, k.At)
			}
		}
		lost := map[string]bool{}
		for what, nodes := range has {
			lost[what] = slices.Contains(nodes, e.Node)
		}
		for _, k := range j.events[i:] {
			what, nodes := j.where(k)
			if k.At >= known || !lost[what] {
				continue
			}
			if at := slices.IndexFunc(nodes, func(n string) bool { return n != e.Node }); at >= 0 {
				j.say(j.at(k.At), TooEarly, "%s is on %s, and nobody knew that %s is off", what, nodes[at], e.Node)
				lost[what] = false
			}
		}
	}
}

// where is what an event says of where something is. A replicated service is where it is promoted.
func (j *judge) where(e Event) (what string, nodes []string) {
	switch e.Kind {
	case Promoted:
		return e.Who, e.Nodes
	case Running:
		if j.service(e.Who).Everywhere != nil {
			return "", nil
		}
		for _, d := range e.Daemons {
			nodes = append(nodes, d.Node)
		}
		return e.Who, nodes
	case Mounted:
		return "the disk of " + e.Who, e.Nodes
	case Held:
		return address(e.Who), e.Nodes
	}
	return "", nil
}

// numbers holds what a client was told against what is there.
func (j *judge) numbers(client string, s Service) {
	told, asked := map[int]Event{}, map[int]Event{}
	var received []Event
	var drops []time.Duration
	var final *Event
	t := Tally{}
	for i, e := range j.events {
		if e.Who != client {
			continue
		}
		switch e.Kind {
		case Invoke:
			asked[e.N] = e
		case OK, Refused, Unknown:
			told[e.N] = e
			switch e.Kind {
			case OK:
				t.OK++
			case Refused:
				t.Refused++
			default:
				t.Unknown++
			}
		case Read:
			if a := told[e.N]; a.Kind == OK && e.Count != 1 && !s.Forgets {
				j.say(j.at(e.At), ReadBack, "%s: %d was acknowledged, and is there %d times", client, e.N, e.Count)
			}
		case Received:
			received = append(received, e)
		case Dropped:
			drops = append(drops, e.At)
		case Final:
			final = &j.events[i]
		}
	}
	if t.OK == 0 {
		j.say(0, Unjudged, "%s: nothing was ever acknowledged", client)
	}
	there := map[int]int{}
	switch {
	case final != nil:
		for _, n := range final.Numbers {
			there[n]++
		}
		j.halves(client, final, there, told, asked)
		j.doubled(client, there, told, asked)
	case received != nil:
		first := map[int]time.Duration{}
		for _, e := range received {
			there[e.N]++
			if before, again := first[e.N]; again {
				t.Again++
				// What a consumer had, and could not settle, comes again.
				if !slices.ContainsFunc(drops, func(d time.Duration) bool { return d > before && d < e.At }) {
					j.say(j.at(e.At), Doubled, "%s: %d came twice to one consumer", client, e.N)
				}
			}
			first[e.N] = e.At
		}
	default:
		j.Tallies[client] = t
		if s.Disk || s.Everywhere != nil { // else it keeps nothing
			j.say(0, Unjudged, "%s: nothing was read back", client)
		}
		return
	}
	j.Tallies[client] = t
	j.kept(client, there, told, asked, s.Forgets)
}

// kept holds what is there against what was promised.
func (j *judge) kept(client string, there map[int]int, told, asked map[int]Event, forgets bool) {
	for _, n := range slices.Sorted(maps.Keys(asked)) {
		if told[n].Kind == OK && there[n] == 0 && !forgets {
			j.say(j.at(told[n].At), Lost, "%s: %d was acknowledged at %.3f s, and is not there", client, n, told[n].At.Seconds())
		}
	}
	for _, n := range slices.Sorted(maps.Keys(there)) {
		switch a, ok := asked[n]; {
		case !ok:
			j.say(0, Stray, "%s: %d is there, and was never put", client, n)
		case told[n].Kind == Refused:
			j.say(j.at(a.At), Stray, "%s: %d is there, and was refused: %s", client, n, told[n].Text)
		}
	}
}

func (j *judge) doubled(client string, there map[int]int, told, asked map[int]Event) {
	for _, n := range slices.Sorted(maps.Keys(there)) {
		if there[n] > 1 {
			j.say(j.at(asked[n].At), Doubled, "%s: %d is there %d times", client, n, there[n])
		}
	}
}

// halves judges transactions of two rows; one that is torn is not there.
func (j *judge) halves(client string, final *Event, there map[int]int, told, asked map[int]Event) {
	if final.Others == nil {
		return
	}
	others := map[int]int{}
	for _, n := range final.Others {
		others[n]++
	}
	all := maps.Clone(there)
	maps.Copy(all, others)
	for _, n := range slices.Sorted(maps.Keys(all)) {
		if there[n] != others[n] {
			j.say(j.at(asked[n].At), Torn, "%s: of %d there are %d first halves and %d second ones", client, n, there[n], others[n])
		}
	}
}

// excuse is what the faults of a step excuse together.
type excuse struct {
	restart map[string]bool
	less    map[string]bool // may be degraded
	fence   map[string]bool
	move    bool
	cleanup bool
	told    bool
	mute    bool
	bound   time.Duration
	words   []*regexp.Regexp
	lacks   []*regexp.Regexp
}

// restarts says whether the instance of a service on a node may be restarted.
func (x excuse) restarts(id, node string) bool { return x.restart[id] || x.restart[Instance(id, node)] }

// moves says whether a service may be somewhere else than where it was.
func (x excuse) moves(s Service, was string) bool {
	if s.Everywhere != nil {
		return x.restarts(s.ID, was)
	}
	return x.move
}

// touches says whether any instance of a service may be.
func (x excuse) touches(id string) bool {
	for name := range x.restart {
		if service, _, _ := strings.Cut(name, "@"); service == id {
			return true
		}
	}
	return false
}

func (j *judge) excuse(r *Result) excuse {
	x := excuse{restart: map[string]bool{}, less: map[string]bool{}, fence: map[string]bool{}}
	for _, f := range r.Faults {
		for _, id := range f.Restart {
			x.restart[id] = true
		}
		for _, id := range f.Handicapped {
			x.less[id] = true
		}
		for _, n := range f.Fence {
			x.fence[n] = true
		}
		x.move = x.move || f.Move
		x.cleanup = x.cleanup || f.Cleanup
		x.mute = x.mute || f.Mute
		x.bound += f.Bound
		x.words = append(x.words, j.compile(r, f, f.Words)...)
		x.lacks = append(x.lacks, j.compile(r, f, f.Lacks)...)
	}
	// Of two faults the one may hide the other.
	x.told = len(r.Faults) == 1 && r.Faults[0].Told
	return x
}

func (j *judge) compile(r *Result, f Fault, words []string) (list []*regexp.Regexp) {
	for _, w := range words {
		re, err := regexp.Compile(w)
		if err != nil {
			j.say(r.N, Unjudged, "%s: %v", f.Kind, err)
			continue
		}
		list = append(list, re)
	}
	return list
}

// seen is what was to be seen of the services, from the beginning up to some moment of a step.
type seen struct {
	last     map[string][]Daemon // by service
	all      map[string]map[Daemon]bool
	starts   map[string]map[string]int // in the step, by service and node
	promoted map[string][]string       // nodes
	before   map[string]string         // the node that a service was on when the step began
	mounted  map[string][]string
	held     map[string][]string // by the service whose address it is; "" is the group's
}

// take takes an event in.
func (v *seen) take(e Event, within, replicated bool) {
	switch e.Kind {
	case Running:
		v.last[e.Who] = e.Daemons
		if v.all[e.Who] == nil {
			v.all[e.Who], v.starts[e.Who] = map[Daemon]bool{}, map[string]int{}
		}
		for _, d := range e.Daemons {
			if within && !v.all[e.Who][d] {
				v.starts[e.Who][d.Node]++
			}
			if !within && !replicated {
				v.before[e.Who] = d.Node
			}
			v.all[e.Who][d] = true
		}
	case Promoted:
		v.promoted[e.Who] = e.Nodes
		if !within && len(e.Nodes) > 0 {
			v.before[e.Who] = e.Nodes[0]
		}
	case Mounted:
		v.mounted[e.Who] = e.Nodes
	case Held:
		v.held[e.Who] = append([]string{}, e.Nodes...)
	}
}

// at is where a service is: "" if that is nowhere, or not to be told.
func (v *seen) at(s Service) string {
	if s.Everywhere != nil {
		if len(v.promoted[s.ID]) == 0 {
			return ""
		}
		return v.promoted[s.ID][0]
	}
	if len(v.last[s.ID]) == 0 {
		return ""
	}
	return v.last[s.ID][0].Node
}

// step judges one of them by what its faults excuse.
func (j *judge) step(r *Result) {
	x := j.excuse(r)
	v := &seen{
		map[string][]Daemon{}, map[string]map[Daemon]bool{}, map[string]map[string]int{}, map[string][]string{}, map[string]string{}, map[string][]string{}, map[string][]string{},
	}
	settled := false
	for _, e := range j.events {
		if e.At >= r.To {
			break
		}
		within := e.At >= r.From
		v.take(e, within, j.service(e.Who).Everywhere != nil)
		if within {
			settled = settled || e.Kind == Settled
			j.happened(r, x, e)
		}
	}
	for _, s := range j.services {
		j.starts(r, x, s, v.starts[s.ID])
		was, is := v.before[s.ID], v.at(s)
		if was != "" && is != "" && was != is && !x.moves(s, was) {
			j.say(r.N, Moved, "%s was on %s and is on %s now", s.ID, was, is)
		}
		for _, client := range s.Clients {
			j.outage(r, x, s.ID, client)
		}
	}
	if !settled {
		j.say(r.N, NotBack, "it was not all well at the end")
		return
	}
	j.rest(r, x, v)
}

// starts judges how often a service was started, of a replicated one each instance.
func (j *judge) starts(r *Result, x excuse, s Service, at map[string]int) {
	most := startsPerFault * len(r.Faults)
	judge := func(what string, n int, may bool) {
		if n > 0 && !may {
			j.say(r.N, Restarted, "%s was started %d times, which nothing excuses", what, n)
		} else if n > most {
			j.say(r.N, Restarted, "%s was started %d times for %d faults", what, n, len(r.Faults))
		}
	}
	all := 0
	for _, node := range slices.Sorted(maps.Keys(at)) {
		all += at[node]
		if s.Everywhere != nil {
			judge(s.ID+" on "+node, at[node], x.restarts(s.ID, node))
		}
	}
	if s.Everywhere == nil {
		judge(s.ID, all, x.restart[s.ID])
	}
}

// rest judges how things are when all is quiet.
func (j *judge) rest(r *Result, x excuse, v *seen) {
	for i, s := range j.services {
		now := v.last[s.ID]
		if s.Everywhere != nil {
			j.restReplicated(r, s, v)
			continue
		}
		if len(now) != 1 {
			j.say(r.N, NotBack, "of %s there is %v in the end", s.ID, now)
			continue
		}
		if at := v.mounted[s.ID]; s.Disk && (len(at) != 1 || at[0] != now[0].Node) {
			j.say(r.N, StrayMount, "the disk of %s is mounted on %v, and the service is on %s", s.ID, at, now[0].Node)
		}
		if i == 0 {
			j.holds(r, s, "", v)
		}
	}
	if x.told && len(r.Failures) == 0 {
		j.say(r.N, Untold, "%s: Pacemaker shows no failure", r.Faults[0].Kind)
	}
}

func (j *judge) restReplicated(r *Result, s Service, v *seen) {
	var at []string
	for _, d := range v.last[s.ID] {
		at = append(at, d.Node)
	}
	slices.Sort(at)
	if !slices.Equal(at, s.Everywhere) {
		j.say(r.N, NotBack, "%s is on %v in the end, and not on %v", s.ID, at, s.Everywhere)
	}
	if len(v.promoted[s.ID]) != 1 {
		j.say(r.N, NotBack, "%s is promoted on %v in the end", s.ID, v.promoted[s.ID])
		return
	}
	j.holds(r, s, s.ID, v)
}

// holds judges whether an address is where the service is that it belongs to.
func (j *judge) holds(r *Result, s Service, whose string, v *seen) {
	held, is := v.held[whose], v.at(s)
	if held != nil && (len(held) != 1 || held[0] != is) {
		j.say(r.N, StrayHolder, "%s is on %v, and %s is on %s", address(whose), held, s.ID, is)
	}
}

// happened judges an event of the step.
func (j *judge) happened(r *Result, x excuse, e Event) {
	switch e.Kind {
	case Fenced:
		r.FencedAre = append(r.FencedAre, e.Node)
		if !x.fence[e.Node] {
			j.say(r.N, NeedlessOff, "%s was fenced, which nothing excuses", e.Node)
		}
	case Cleaned:
		r.Helped = true
		if !x.cleanup {
			j.say(r.N, NeedsHelp, "%s", e.Text)
		}
	case Stuck:
		j.say(r.N, NotBack, "%s", e.Text)
	case Idle:
		j.say(r.N, Unheeded, "%s: %s", e.Who, e.Text)
	case Balked: // where something else is broken too, it may say so
		if len(r.Faults) == 1 {
			j.say(r.N, Balks, "%s: %s", e.Who, e.Text)
		}
	case Failed:
		r.Failures = append(r.Failures, Line{e.Who, e.Node, e.Action, e.Code, e.Text})
		j.failure(r, x, e)
	}
}

// degraded says that the service serves, and the cluster leaves it alone.
func degraded(code int) bool { return code == 190 || code == 191 }

// What Pacemaker itself says of an agent that a signal has ended, and of one that it has no process for; a daemon too may die of that.
const (
	interrupted = "Resource agent interrupted by"
	noProcess   = "Resource temporarily unavailable"
)

func (j *judge) failure(r *Result, x excuse, e Event) {
	ours := slices.ContainsFunc(j.services, func(s Service) bool { return s.ID == e.Who })
	words := x.words
	struck := slices.ContainsFunc(r.Faults, func(f Fault) bool { return f.Target == e.Who })
	if degraded(e.Code) || e.Action == "start" && !struck { // a start that no fault struck waits for what stands before it
		words = slices.Concat(x.words, x.lacks)
	}
	switch {
	case ours && !x.restarts(e.Who, e.Node) && !((x.less[e.Who] || x.touches(e.Who)) && degraded(e.Code)):
		j.say(r.N, Unexcused, "%s %s on %s (%d): %s", e.Who, e.Action, e.Node, e.Code, e.Text)
	case ours && x.mute && (e.Text == "" || strings.Contains(e.Text, noProcess) || strings.HasPrefix(e.Text, interrupted)):
	case ours && e.Text == "":
		j.say(r.N, Wordless, "%s %s on %s (%d) has no reason", e.Who, e.Action, e.Node, e.Code)
	case ours && len(x.words) > 0 && !slices.ContainsFunc(words, func(re *regexp.Regexp) bool { return re.MatchString(e.Text) }):
		j.say(r.N, Wordless, "%s %s on %s (%d): %s", e.Who, e.Action, e.Node, e.Code, e.Text)
	}
}

// outage is a client's longest time without an answer that ended in the step, or has not.
func (j *judge) outage(r *Result, x excuse, id, client string) {
	var before, longest time.Duration
	served := false
	for _, e := range j.events {
		if e.At >= r.To {
			break
		}
		if e.Who != client || e.Kind != OK {
			continue
		}
		if e.At >= r.From {
			served = true
			longest = max(longest, e.At-before)
		}
		before = e.At
	}
	longest = max(longest, r.To-before)
	r.Outages[client] = longest
	bound := Spared
	if x.touches(id) || x.less[id] {
		bound = max(bound, x.bound)
	}
	bound *= time.Duration(r.slack)
	switch {
	case !served:
		j.say(r.N, TooLong, "%s was not served at all in %.1f s", client, (r.To - r.From).Seconds())
	case longest > bound:
		j.say(r.N, TooLong, "%s was not served for %.1f s, and the bound is %.1f s (load %.0f)", client, longest.Seconds(), bound.Seconds(), r.Load)
	}
}
