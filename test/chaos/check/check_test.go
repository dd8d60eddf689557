package check

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// story writes a history by hand.
type story struct {
	now    time.Duration
	events []Event
}

func (s *story) add(e Event) {
	s.now += 10 * time.Millisecond
	e.At = s.now
	s.events = append(s.events, e)
}

// serve has every client ask twice.
func (s *story) serve(n *int) {
	for range 2 {
		*n++
		for _, client := range []string{"rows", "pairs", "messages", "api"} {
			s.add(Event{Kind: Invoke, Who: client, N: *n})
			s.add(Event{Kind: OK, Who: client, N: *n})
		}
		s.add(Event{Kind: Read, Who: "rows", N: *n, Count: 1})
		s.add(Event{Kind: Received, Who: "messages", N: *n})
	}
}

var everything = []string{"db", "qpidd", "haproxy"}

// well is a history in which all is as it should be: a kill of the database, which moves with all behind it in the second step.
func well() *story {
	s := &story{}
	s.add(Event{Kind: Setup, Service: []Service{
		{ID: "db", Disk: true, Clients: []string{"rows", "pairs"}}, {ID: "qpidd", Clients: []string{"messages"}, Disk: true}, {ID: "haproxy", Clients: []string{"api"}},
	}})
	pid, n := 0, 0
	up := func(node string) {
		s.add(Event{Kind: Mounted, Who: "db", Nodes: []string{node}})
		s.add(Event{Kind: Mounted, Who: "qpidd", Nodes: []string{node}})
		s.add(Event{Kind: Held, Nodes: []string{node}})
		for _, id := range everything {
			pid++
			s.add(Event{Kind: Running, Who: id, Daemons: []Daemon{{node, pid}}})
		}
	}
	down := func() {
		for _, id := range everything {
			s.add(Event{Kind: Running, Who: id})
		}
		s.add(Event{Kind: Mounted, Who: "db"})
		s.add(Event{Kind: Mounted, Who: "qpidd"})
		s.add(Event{Kind: Held})
	}
	up("node1")
	s.serve(&n)
	s.add(Event{Kind: Step, N: 1, Faults: []Fault{{Kind: "kill", Target: "db", Restart: everything, Bound: 20 * time.Second, Words: []string{"killed"}, Told: true}}})
	s.add(Event{Kind: Failed, Who: "db", Node: "node1", Action: "monitor", Code: 7, Text: "killed by SIGKILL"})
	down()
	s.now += 10 * time.Second
	up("node1")
	s.serve(&n)
	s.add(Event{Kind: Settled, N: 1})
	s.serve(&n)
	s.add(Event{Kind: Step, N: 2, Faults: []Fault{{Kind: "power cut", Node: "node1", Restart: everything, Move: true, Fence: []string{"node1"}, Cleanup: true, Bound: 20 * time.Second}}})
	s.add(Event{Kind: Fenced, Node: "node1"})
	down()
	up("node2")
	s.add(Event{Kind: Cleaned, Text: "cleaned up"})
	s.serve(&n)
	s.add(Event{Kind: Settled, N: 2})
	s.serve(&n)
	s.add(Event{Kind: Step, N: 3, Faults: []Fault{{Kind: "kill", Target: "haproxy", Restart: []string{"haproxy"}, Bound: 20 * time.Second}}})
	s.add(Event{Kind: Running, Who: "haproxy", Daemons: []Daemon{{"node2", 99}}})
	s.serve(&n)
	s.add(Event{Kind: Settled, N: 3})
	s.serve(&n)
	s.add(Event{Kind: Over})
	s.now += time.Minute
	var numbers []int
	for i := range n {
		numbers = append(numbers, i+1)
	}
	s.add(Event{Kind: Final, Who: "rows", Numbers: slices.Clone(numbers)})
	s.add(Event{Kind: Final, Who: "pairs", Numbers: slices.Clone(numbers), Others: slices.Clone(numbers)})
	return s
}

func TestAllIsWell(t *testing.T) {
	v := Judge(well().events)
	if len(v.Problems) > 0 || len(v.Steps) != 3 {
		t.Errorf("%v, %d steps", v.Problems, len(v.Steps))
	}
	if got := v.Tallies["rows"]; got != (Tally{OK: 14}) {
		t.Errorf("%+v", got)
	}
	if got := v.Steps[0].Outages["rows"]; got < 10*time.Second || got > 11*time.Second {
		t.Errorf("an outage of %v", got)
	}
}

// find is the event of a kind that comes as the nth of a client or resource.
func (s *story) find(t *testing.T, kind Kind, who string, nth int) *Event {
	t.Helper()
	for i := range s.events {
		if e := &s.events[i]; e.Kind == kind && e.Who == who {
			if nth--; nth == 0 {
				return e
			}
		}
	}
	t.Fatalf("no %s of %s", kind, who)
	return nil
}

func (s *story) insert(after *Event, e Event) {
	e.At = after.At + time.Millisecond
	i := slices.IndexFunc(s.events, func(o Event) bool { return o.At > after.At })
	s.events = slices.Insert(s.events, i, e)
}

// spoils are what is done to a good history, and how it is found.
var spoils = []struct {
	name   string
	spoil  func(*testing.T, *story)
	class  Class
	step   int
	others bool // there may be more problems
}{
	{"row deleted", func(t *testing.T, s *story) {
		f := s.find(t, Final, "rows", 1)
		f.Numbers = slices.Delete(f.Numbers, 3, 4)
	}, Lost, 1, false},
	{"row doubled", func(t *testing.T, s *story) {
		f := s.find(t, Final, "rows", 1)
		f.Numbers = append(f.Numbers, 7)
	}, Doubled, 2, false},
	{"row torn", func(t *testing.T, s *story) {
		f := s.find(t, Final, "pairs", 1)
		f.Others = slices.Delete(f.Others, 0, 1)
	}, Torn, 0, false},
	{"row torn the other way", func(t *testing.T, s *story) {
		f := s.find(t, Final, "pairs", 1)
		f.Others = append(f.Others, 2)
	}, Torn, 0, false},
	{"row that nobody put", func(t *testing.T, s *story) {
		f := s.find(t, Final, "rows", 1)
		f.Numbers = append(f.Numbers, 1000)
	}, Stray, 0, false},
	{"refused row is there", func(t *testing.T, s *story) { s.find(t, OK, "rows", 5).Kind = Refused }, Stray, 1, false},
	{"all rows gone", func(t *testing.T, s *story) { s.find(t, Final, "rows", 1).Numbers = nil }, Lost, 1, true},
	{"read back and not there", func(t *testing.T, s *story) { s.find(t, Read, "rows", 8).Count = 0 }, ReadBack, 2, false},
	{"message lost", func(t *testing.T, s *story) { s.find(t, Received, "messages", 4).Kind = Dropped }, Lost, 1, false},
	{"message twice", func(t *testing.T, s *story) {
		s.insert(s.find(t, Received, "messages", 4), Event{Kind: Received, Who: "messages", N: 3})
	}, Doubled, 1, false},
	{"message that nobody sent", func(t *testing.T, s *story) {
		s.insert(s.find(t, Received, "messages", 4), Event{Kind: Received, Who: "messages", N: -3})
	}, Stray, 0, false},
	{"second server", func(t *testing.T, s *story) {
		e := s.find(t, Running, "db", 3)
		e.Daemons = append(e.Daemons, Daemon{"node2", 5})
	}, TwoServers, 1, true},
	{"mounted twice", func(t *testing.T, s *story) {
		s.insert(s.find(t, Mounted, "db", 5), Event{Kind: Mounted, Who: "db", Nodes: []string{"node2", "node3"}})
	}, TwoMounts, 2, true},
	{"two addresses", func(t *testing.T, s *story) {
		s.insert(s.find(t, Held, "", 2), Event{Kind: Held, Nodes: []string{"node1", "node2"}})
	}, TwoHolders, 1, false},
	{"stray address", func(t *testing.T, s *story) { s.find(t, Held, "", 5).Nodes = []string{"node3"} }, StrayHolder, 2, true},
	{"no address", func(t *testing.T, s *story) { s.find(t, Held, "", 5).Nodes = nil }, StrayHolder, 2, true},
	{"nobody looked at the address", func(t *testing.T, s *story) {
		s.events = slices.DeleteFunc(s.events, func(e Event) bool { return e.Kind == Held })
	}, Unjudged, 0, true},
	{"a command that does not work", func(t *testing.T, s *story) {
		s.insert(s.find(t, Running, "haproxy", 6), Event{Kind: Balked, Who: "apply", Text: "no"})
	}, Balks, 3, false},
	{"a failure that nobody acts on", func(t *testing.T, s *story) {
		s.insert(s.find(t, Running, "haproxy", 6), Event{Kind: Idle, Who: "haproxy", Text: "failed for 20 s"})
	}, Unheeded, 3, false},
	{"degraded, and nothing excuses it", func(t *testing.T, s *story) {
		s.insert(s.find(t, Running, "haproxy", 6), Event{Kind: Failed, Who: "qpidd", Code: 190, Text: "full"})
	}, Unexcused, 3, false},
	{"restarted where it may only be degraded", func(t *testing.T, s *story) {
		f := &s.find(t, Step, "", 3).Faults[0]
		f.Restart, f.Handicapped = nil, []string{"haproxy"}
	}, Restarted, 3, false},
	{"failed where it may only be degraded", func(t *testing.T, s *story) {
		s.find(t, Step, "", 3).Faults[0].Handicapped = []string{"qpidd"}
		s.insert(s.find(t, Running, "haproxy", 6), Event{Kind: Failed, Who: "qpidd", Code: 1, Text: "frozen"})
	}, Unexcused, 3, false},
	{"stray mount", func(t *testing.T, s *story) { s.find(t, Mounted, "db", 5).Nodes = []string{"node3"} }, StrayMount, 2, true},
	{"mounted nowhere", func(t *testing.T, s *story) { s.find(t, Mounted, "db", 5).Nodes = nil }, StrayMount, 2, true},
	{"started before the node was fenced", func(t *testing.T, s *story) {
		s.find(t, Fenced, "", 1).Node = "node3"
		s.insert(s.find(t, Step, "", 2), Event{Kind: Off, Node: "node1"})
		s.find(t, Step, "", 2).Faults[0].Fence = []string{"node3"}
	}, TooEarly, 2, true},
	{"mounted before the node was fenced", func(t *testing.T, s *story) {
		s.insert(s.find(t, Step, "", 2), Event{Kind: Mounted, Who: "db", Nodes: []string{"node2"}})
		s.insert(s.find(t, Step, "", 2), Event{Kind: Off, Node: "node1"})
	}, TooEarly, 2, false},
	{"an address before the node was vouched for", func(t *testing.T, s *story) {
		s.find(t, Fenced, "", 1).Kind = Vouched
		s.insert(s.find(t, Step, "", 2), Event{Kind: Held, Nodes: []string{"node2"}})
		s.insert(s.find(t, Step, "", 2), Event{Kind: Off, Node: "node1"})
	}, TooEarly, 2, false},
	{"needless fencing", func(t *testing.T, s *story) {
		s.insert(s.find(t, Running, "haproxy", 5), Event{Kind: Fenced, Node: "node3"})
	}, NeedlessOff, 2, false},
	{"needless restart", func(t *testing.T, s *story) {
		s.insert(s.find(t, Running, "haproxy", 6), Event{Kind: Running, Who: "db", Daemons: []Daemon{{"node2", 100}}})
	}, Restarted, 3, false},
	{"restarted again and again", func(t *testing.T, s *story) {
		for pid := range 3 {
			s.insert(s.find(t, Running, "haproxy", 6), Event{Kind: Running, Who: "haproxy", Daemons: []Daemon{{"node2", 100 + pid}}})
		}
	}, Restarted, 3, false},
	{"needless move", func(t *testing.T, s *story) {
		e := s.find(t, Running, "haproxy", 6)
		e.Daemons = []Daemon{{"node3", 100}}
		s.find(t, Mounted, "db", 5).Nodes = []string{"node2", "node3"}
	}, Moved, 3, true},
	{"needs help", func(t *testing.T, s *story) {
		s.insert(s.find(t, Running, "haproxy", 6), Event{Kind: Cleaned, Text: "cleaned up"})
	}, NeedsHelp, 3, false},
	{"did not come back", func(t *testing.T, s *story) {
		s.events = slices.DeleteFunc(s.events, func(e Event) bool { return e.Kind == Settled && e.N == 3 })
	}, NotBack, 3, false},
	{"a server is missing in the end", func(t *testing.T, s *story) { s.find(t, Running, "haproxy", 6).Daemons = nil }, NotBack, 3, false},
	{"out for too long", func(t *testing.T, s *story) {
		from := s.find(t, Step, "", 1).At
		for i := range s.events {
			if s.events[i].At > from+time.Second {
				s.events[i].At += 11 * time.Second
			}
		}
	}, TooLong, 1, true},
	{"spared, but out", func(t *testing.T, s *story) {
		from := s.find(t, Step, "", 3).At
		for i := range s.events {
			if s.events[i].At > from {
				s.events[i].At += Spared
			}
		}
	}, TooLong, 3, true},
	{"never served again", func(t *testing.T, s *story) {
		from := s.find(t, Step, "", 3).At
		s.events = slices.DeleteFunc(s.events, func(e Event) bool { return e.Kind == OK && e.Who == "api" && e.At > from })
	}, TooLong, 3, false},
	{"a failure of what was spared", func(t *testing.T, s *story) {
		s.insert(s.find(t, Running, "haproxy", 6), Event{Kind: Failed, Who: "qpidd", Code: 1, Text: "frozen"})
	}, Unexcused, 3, false},
	{"a failure without a reason", func(t *testing.T, s *story) { s.find(t, Failed, "db", 1).Text = "" }, Wordless, 1, false},
	{"a reason that says something else", func(t *testing.T, s *story) { s.find(t, Failed, "db", 1).Text = "it rains" }, Wordless, 1, false},
	{"fails, and says what it lacks", func(t *testing.T, s *story) {
		s.find(t, Step, "", 1).Faults[0].Lacks = []string{"database"}
		s.find(t, Failed, "db", 1).Text = "no database"
	}, Wordless, 1, false},
	{"nobody is told", func(t *testing.T, s *story) {
		s.events = slices.DeleteFunc(s.events, func(e Event) bool { return e.Kind == Failed })
	}, Untold, 1, false},
	{"nobody looked", func(t *testing.T, s *story) {
		s.events = slices.DeleteFunc(s.events, func(e Event) bool { return e.Kind == Running && e.Who == "qpidd" })
	}, Unjudged, 0, true},
	{"nobody read back", func(t *testing.T, s *story) {
		s.events = slices.DeleteFunc(s.events, func(e Event) bool { return e.Kind == Final && e.Who == "rows" })
	}, Unjudged, 0, false},
	{"nobody looked at the disk", func(t *testing.T, s *story) {
		s.events = slices.DeleteFunc(s.events, func(e Event) bool { return e.Kind == Mounted })
	}, Unjudged, 0, true},
	{"somebody was blind", func(t *testing.T, s *story) {
		s.insert(s.find(t, Running, "haproxy", 6), Event{Kind: Blind, Who: "db"})
	}, Unjudged, 3, false},
	{"a client that was never served", func(t *testing.T, s *story) {
		s.events = slices.DeleteFunc(s.events, func(e Event) bool { return e.Kind == OK && e.Who == "api" })
	}, Unjudged, 0, true},
}

// Whatever is done to a good history is found, in its step, and nothing else is.
func TestFinds(t *testing.T) {
	for _, c := range spoils {
		t.Run(c.name, func(t *testing.T) {
			s := well()
			c.spoil(t, s)
			v := Judge(s.events)
			i := slices.IndexFunc(v.Problems, func(p Problem) bool { return p.Class == c.class && p.Step == c.step })
			if i < 0 || !c.others && len(v.Problems) != 1 {
				t.Errorf("want %q in step %d, got %v", c.class, c.step, v.Problems)
			}
		})
	}
}

// A storm of faults that excuse all they can excuses no damage.
func TestStormExcusesNoDamage(t *testing.T) {
	damage := []Class{Lost, Doubled, Torn, Stray, ReadBack, TwoServers, TwoMounts, StrayMount, TwoHolders, StrayHolder, TooEarly}
	all := Fault{Kind: "storm", Restart: everything, Handicapped: everything, Move: true, Fence: []string{"node1", "node2", "node3"}, Cleanup: true, Mute: true, Bound: time.Hour}
	found := map[Class]bool{}
	for _, c := range spoils {
		if !slices.Contains(damage, c.class) {
			continue
		}
		s := well()
		c.spoil(t, s)
		for i := range s.events {
			if s.events[i].Kind == Step {
				s.events[i].Faults = []Fault{all, all, all, all}
			}
		}
		if v := Judge(s.events); v.Count(c.class) == 0 {
			t.Errorf("%s: not found, but %v", c.name, v.Problems)
		}
		found[c.class] = true
	}
	if len(found) != len(damage) {
		t.Errorf("of %v only %v was done", damage, found)
	}
}

// What is no fault of the cluster's.
func TestLetsPass(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(*testing.T, *story)
	}{
		{"out for longer, where the machine has other things to do", func(t *testing.T, s *story) {
			for _, n := range []int{1, 3} { // struck, and spared
				step := s.find(t, Step, "", n)
				step.Slack = 3
				from := step.At
				for i := range s.events {
					if s.events[i].At > from+time.Second {
						s.events[i].At += 2 * Spared
					}
				}
			}
		}},
		{"unknown and there", func(t *testing.T, s *story) { s.find(t, OK, "rows", 5).Kind = Unknown }},
		{"unknown and not there", func(t *testing.T, s *story) {
			s.find(t, OK, "rows", 3).Kind = Unknown
			f := s.find(t, Final, "rows", 1)
			f.Numbers = slices.Delete(f.Numbers, 2, 3)
		}},
		{"a message comes again after its consumer was dropped", func(t *testing.T, s *story) {
			s.insert(s.find(t, Running, "qpidd", 3), Event{Kind: Received, Who: "messages", N: 2})
			s.insert(s.find(t, Running, "db", 3), Event{Kind: Dropped, Who: "messages"})
		}},
		{"the node was fenced, vouched for, or booted before", func(t *testing.T, s *story) {
			s.insert(s.find(t, Step, "", 2), Event{Kind: Off, Node: "node1"})
		}},
		{"vouched for", func(t *testing.T, s *story) {
			s.insert(s.find(t, Step, "", 2), Event{Kind: Off, Node: "node1"})
			s.find(t, Fenced, "", 1).Kind = Vouched
		}},
		{"booted", func(t *testing.T, s *story) {
			s.insert(s.find(t, Step, "", 2), Event{Kind: Off, Node: "node1"})
			s.find(t, Fenced, "", 1).Kind = On
		}},
		{"an agent that was struck has a signal for a reason", func(t *testing.T, s *story) {
			s.find(t, Step, "", 1).Faults[0].Mute = true
			s.find(t, Failed, "db", 1).Text = "Resource agent interrupted by Killed signal"
		}},
		{"an agent that there was no process for", func(t *testing.T, s *story) {
			s.find(t, Step, "", 1).Faults[0].Mute = true
			s.find(t, Failed, "db", 1).Text = "Resource temporarily unavailable"
		}},
		{"a daemon that died of having no process", func(t *testing.T, s *story) {
			s.find(t, Step, "", 1).Faults[0].Mute = true
			s.find(t, Failed, "db", 1).Text = "mariadbd died: Resource temporarily unavailable"
		}},
		{"degraded, and says what it lacks", func(t *testing.T, s *story) {
			f := &s.find(t, Step, "", 1).Faults[0]
			f.Lacks = []string{"database"}
			s.insert(s.find(t, Failed, "db", 1), Event{Kind: Failed, Who: "qpidd", Code: 190, Text: "no database"})
		}},
		{"the start of another one says what it lacks", func(t *testing.T, s *story) {
			s.find(t, Step, "", 1).Faults[0].Lacks = []string{"database"}
			s.insert(s.find(t, Failed, "db", 1), Event{Kind: Failed, Who: "qpidd", Action: "start", Code: 1, Text: "no database"})
		}},
		{"a step that was cut short", func(t *testing.T, s *story) {
			s.insert(s.find(t, Running, "haproxy", 6), Event{Kind: Cut, N: 3})
			s.events = slices.DeleteFunc(s.events, func(e Event) bool { return e.Kind == Settled && e.N == 3 })
		}},
		{"degraded, as it may be", func(t *testing.T, s *story) {
			s.find(t, Step, "", 3).Faults[0].Handicapped = []string{"qpidd"}
			s.insert(s.find(t, Running, "haproxy", 6), Event{Kind: Failed, Who: "qpidd", Code: 190, Text: "full"})
		}},
		{"a stand-in forgets", func(t *testing.T, s *story) {
			s.find(t, Setup, "", 1).Service[1].Forgets = true
			s.find(t, Received, "messages", 4).Kind = Dropped
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := well()
			c.spoil(t, s)
			if v := Judge(s.events); len(v.Problems) > 0 {
				t.Error(v.Problems)
			}
		})
	}
}

// replicated is a history of a broker that every node has an instance of: the promoted one on node1 is killed, and then the node of a
// backup loses its power.
func replicated() *story {
	s := &story{}
	nodes := []string{"node1", "node2", "node3"}
	s.add(Event{Kind: Setup, Service: []Service{
		{ID: "db", Disk: true, Clients: []string{"rows", "pairs"}},
		{ID: "haproxy", Clients: []string{"api"}},
		{ID: "qpidd", Clients: []string{"messages"}, Everywhere: nodes},
	}})
	s.add(Event{Kind: Mounted, Who: "db", Nodes: []string{"node3"}})
	s.add(Event{Kind: Held, Nodes: []string{"node3"}})
	s.add(Event{Kind: Running, Who: "db", Daemons: []Daemon{{"node3", 1}}})
	s.add(Event{Kind: Running, Who: "haproxy", Daemons: []Daemon{{"node3", 2}}})
	n := 0
	brokers := func(pids ...int) {
		var list []Daemon
		for i, pid := range pids {
			if pid > 0 {
				list = append(list, Daemon{nodes[i], pid})
			}
		}
		s.add(Event{Kind: Running, Who: "qpidd", Daemons: list})
	}
	promoted := func(nodes ...string) {
		s.add(Event{Kind: Promoted, Who: "qpidd", Nodes: nodes})
		s.add(Event{Kind: Held, Who: "qpidd", Nodes: nodes})
	}
	brokers(1, 1, 1)
	promoted("node1")
	s.serve(&n)
	s.add(Event{Kind: Step, N: 1, Faults: []Fault{{Kind: "kill", Target: "qpidd", Node: "node1", Restart: []string{Instance("qpidd", "node1")}, Bound: 20 * time.Second, Words: []string{"killed"}, Told: true}}})
	brokers(0, 1, 1)
	promoted()
	s.add(Event{Kind: Failed, Who: "qpidd", Node: "node1", Action: "monitor", Code: 7, Text: "killed by SIGKILL"})
	promoted("node2")
	brokers(3, 1, 1)
	s.serve(&n)
	s.add(Event{Kind: Settled, N: 1})
	s.serve(&n)
	s.add(Event{Kind: Step, N: 2, Faults: []Fault{{Kind: "power cut", Node: "node1", Restart: []string{Instance("qpidd", "node1")}, Fence: []string{"node1"}, Bound: 20 * time.Second}}})
	s.add(Event{Kind: Off, Node: "node1"})
	s.serve(&n)
	s.add(Event{Kind: Fenced, Node: "node1"})
	brokers(0, 1, 1)
	brokers(4, 1, 1)
	s.serve(&n)
	s.add(Event{Kind: Settled, N: 2})
	s.serve(&n)
	s.add(Event{Kind: Over})
	var numbers []int
	for i := range n {
		numbers = append(numbers, i+1)
	}
	s.add(Event{Kind: Final, Who: "rows", Numbers: slices.Clone(numbers)})
	s.add(Event{Kind: Final, Who: "pairs", Numbers: slices.Clone(numbers), Others: slices.Clone(numbers)})
	return s
}

// One broker that is promoted and two that are not are as it should be; what is not, is found in its step.
func TestReplicated(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(*testing.T, *story)
		class Class // "": nothing is wrong
		step  int   // and others may follow from it
	}{
		{"all is well", func(*testing.T, *story) {}, "", 0},
		{"all of it may restart", func(t *testing.T, s *story) { s.find(t, Step, "", 1).Faults[0].Restart = []string{"qpidd"} }, "", 0},
		{"a backup is missed, and that is told", func(t *testing.T, s *story) {
			s.insert(s.find(t, Step, "", 2), Event{Kind: Failed, Who: "qpidd", Node: "node2", Code: 191, Text: "2 of 3 are in step"})
		}, "", 0},
		{"message lost", func(t *testing.T, s *story) { s.find(t, Received, "messages", 4).Kind = Dropped }, Lost, 1},
		{"two promoted", func(t *testing.T, s *story) { s.find(t, Promoted, "qpidd", 3).Nodes = []string{"node2", "node3"} }, TwoServers, 1},
		{"two brokers on one node", func(t *testing.T, s *story) {
			e := s.find(t, Running, "qpidd", 3)
			e.Daemons = append(e.Daemons, e.Daemons[2])
		}, TwoServers, 1},
		{"two have its address", func(t *testing.T, s *story) {
			s.insert(s.find(t, Held, "qpidd", 3), Event{Kind: Held, Who: "qpidd", Nodes: []string{"node1", "node2"}})
			s.insert(s.find(t, Step, "", 2), Event{Kind: Held, Who: "qpidd", Nodes: []string{"node2"}})
		}, TwoHolders, 1},
		{"its address is elsewhere", func(t *testing.T, s *story) {
			s.insert(s.find(t, Fenced, "", 1), Event{Kind: Held, Who: "qpidd", Nodes: []string{"node3"}})
		}, StrayHolder, 2},
		{"nobody is promoted in the end", func(t *testing.T, s *story) {
			s.insert(s.find(t, Fenced, "", 1), Event{Kind: Promoted, Who: "qpidd"})
		}, NotBack, 2},
		{"a backup is missing in the end", func(t *testing.T, s *story) {
			s.insert(s.find(t, Running, "qpidd", 5), Event{Kind: Running, Who: "qpidd", Daemons: []Daemon{{"node1", 4}, {"node2", 1}}})
		}, NotBack, 2},
		{"another is promoted, though a backup was struck", func(t *testing.T, s *story) {
			s.insert(s.find(t, Fenced, "", 1), Event{Kind: Promoted, Who: "qpidd", Nodes: []string{"node3"}})
			s.insert(s.find(t, Fenced, "", 1), Event{Kind: Held, Who: "qpidd", Nodes: []string{"node3"}})
		}, Moved, 2},
		{"the group may move, and the broker may not", func(t *testing.T, s *story) {
			s.find(t, Step, "", 2).Faults[0].Move = true
			s.insert(s.find(t, Fenced, "", 1), Event{Kind: Promoted, Who: "qpidd", Nodes: []string{"node3"}})
			s.insert(s.find(t, Fenced, "", 1), Event{Kind: Held, Who: "qpidd", Nodes: []string{"node3"}})
		}, Moved, 2},
		{"promoted before the node was fenced", func(t *testing.T, s *story) {
			s.find(t, Step, "", 2).Faults[0].Restart = []string{"qpidd"}
			s.find(t, Off, "", 1).Node = "node2"
			s.insert(s.find(t, Off, "", 1), Event{Kind: Promoted, Who: "qpidd", Nodes: []string{"node3"}})
			s.insert(s.find(t, Fenced, "", 1), Event{Kind: Held, Who: "qpidd", Nodes: []string{"node3"}})
		}, TooEarly, 2},
		{"another instance was restarted", func(t *testing.T, s *story) {
			s.insert(s.find(t, Running, "qpidd", 2), Event{Kind: Running, Who: "qpidd", Daemons: []Daemon{{"node2", 9}, {"node3", 1}}})
		}, Restarted, 1},
		{"another instance has failed", func(t *testing.T, s *story) {
			s.insert(s.find(t, Running, "qpidd", 2), Event{Kind: Failed, Who: "qpidd", Node: "node2", Code: 1, Text: "killed"})
		}, Unexcused, 1},
		{"degraded, and nobody has touched it", func(t *testing.T, s *story) {
			s.find(t, Step, "", 2).Faults[0].Restart = nil
			s.events = slices.DeleteFunc(s.events, func(e Event) bool { return e.Kind == Running && slices.Contains(e.Daemons, Daemon{"node1", 4}) })
			s.find(t, Running, "qpidd", 4).Daemons = []Daemon{{"node1", 3}, {"node2", 1}, {"node3", 1}}
			s.insert(s.find(t, Fenced, "", 1), Event{Kind: Failed, Who: "qpidd", Node: "node2", Code: 191, Text: "2 of 3 are in step"})
		}, Unexcused, 2},
		{"nobody asked who is promoted", func(t *testing.T, s *story) {
			s.events = slices.DeleteFunc(s.events, func(e Event) bool { return e.Kind == Promoted })
		}, Unjudged, 0},
		{"nobody looked at its address", func(t *testing.T, s *story) {
			s.events = slices.DeleteFunc(s.events, func(e Event) bool { return e.Kind == Held && e.Who == "qpidd" })
		}, Unjudged, 0},
		{"nobody has received anything", func(t *testing.T, s *story) {
			s.events = slices.DeleteFunc(s.events, func(e Event) bool { return e.Kind == Received })
		}, Unjudged, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := replicated()
			c.spoil(t, s)
			v := Judge(s.events)
			switch i := slices.IndexFunc(v.Problems, func(p Problem) bool { return p.Class == c.class && p.Step == c.step }); {
			case c.class == "" && len(v.Problems) > 0:
				t.Error(v.Problems)
			case c.class != "" && (i < 0 || len(v.Problems) != 1 && slices.Contains([]Class{Lost, Moved, Restarted, Unexcused, StrayHolder}, c.class)):
				t.Errorf("want %q in step %d, got %v", c.class, c.step, v.Problems)
			}
		})
	}
}

// Verdicts add up.
func TestSum(t *testing.T) {
	bad := well()
	bad.find(t, Failed, "db", 1).Text = ""
	second := Judge(bad.events)
	second.Name = "seed 8,"
	v := Sum([]*Verdict{Judge(well().events), second})
	if n := len(v.Problems); n != 1 || !strings.HasPrefix(v.Problems[0].String(), "seed 8, step ") {
		t.Errorf("%v", v.Problems)
	}
	if len(v.Steps) != 6 || v.Count(Wordless) != 1 || v.Tallies["rows"] != (Tally{OK: 28}) {
		t.Errorf("%d steps, %v, %+v", len(v.Steps), v.Problems, v.Tallies["rows"])
	}
}

// A history is judged the same when it is read from its file.
func TestHistory(t *testing.T) {
	var file bytes.Buffer
	h := NewHistory(&file)
	for _, e := range well().events {
		h.Add(e)
	}
	kept, err := h.Events()
	if err != nil {
		t.Fatal(err)
	}
	read, err := ReadHistory(&file)
	if err != nil || !reflect.DeepEqual(kept, read) {
		t.Errorf("%v: %d events written, %d read", err, len(kept), len(read))
	}
	if _, err := ReadHistory(bytes.NewBufferString("{\"at\":1}\n{\"at\":")); err == nil {
		t.Error("a torn file is no error")
	}
}
