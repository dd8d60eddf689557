// Package failover says where the time of a fail-over goes, by what corosync, Pacemaker and its executor have logged of it.
package failover

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Phase is what a client waits for.
type Phase int

// The phases, in the order in which they come.
const (
	Detection  Phase = iota // nobody knows yet
	Membership              // corosync agrees on who is left, and Pacemaker on who decides (DC)
	Fencing                 // from its request to its end
	Stop                    // an agent stops something
	Address                 // an agent starts the address
	Storage
	Service
	Monitors // recurring monitors, while nothing of the group is started or stopped
	Pacemaker
	Answer // all is started, and the client has no answer yet
	phases
)

func (p Phase) String() string {
	return [...]string{"detection", "membership", "fencing", "stop", "address", "storage", "service", "monitors", "Pacemaker", "first answer"}[p]
}

// Parts is how long each phase took.
type Parts [phases]time.Duration

// Resources are the IDs of the group's, which tell whose start it is.
type Resources struct{ Address, Storage, Service string }

// line is one of a log.
type line struct {
	at      time.Time
	node    string
	program string // "pacemaker-execd", "corosync"
	text    string
}

// Logs are those of all nodes.
type Logs []line

// ReadLogs reads pacemaker.log and corosync.log of each node in dir/NODE. A line has no year: none is after now.
func ReadLogs(dir string, now time.Time) (logs Logs, err error) {
	nodes, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, n := range nodes {
		if !n.IsDir() { // the supervisor's log
			continue
		}
		for file, parse := range map[string]func(text string) (line, bool){"pacemaker.log": parsePacemaker, "corosync.log": parseCorosync} {
			f, err := os.Open(filepath.Join(dir, n.Name(), file))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, err
			}
			s := bufio.NewScanner(f)
			s.Buffer(nil, 1<<20)
			for s.Scan() {
				if l, ok := parse(s.Text()); ok {
					l.at = l.at.AddDate(now.Year(), 0, 0)
					if l.at.After(now.Add(time.Hour)) {
						l.at = l.at.AddDate(-1, 0, 0)
					}
					logs = append(logs, l)
				}
			}
			err = errors.Join(s.Err(), f.Close())
			if err != nil {
				return nil, fmt.Errorf("%s: %w", f.Name(), err)
			}
		}
	}
	slices.SortStableFunc(logs, func(a, b line) int { return a.at.Compare(b.at) })
	return logs, nil
}

const stampForm = "Jan _2 15:04:05.000"

func stamp(text string) (t time.Time, rest string, ok bool) {
	if len(text) <= len(stampForm) {
		return t, "", false
	}
	t, err := time.ParseInLocation(stampForm, text[:len(stampForm)], time.Local)
	return t, text[len(stampForm)+1:], err == nil
}

// parsePacemaker reads "Nov 28 14:35:09.619 node2 pacemaker-execd  [63] (log_execute) 	info: executing - ...".
func parsePacemaker(text string) (l line, ok bool) {
	at, rest, ok := stamp(text)
	if !ok {
		return l, false
	}
	node, rest, _ := strings.Cut(rest, " ")
	program, rest, _ := strings.Cut(rest, "[")
	_, rest, ok = strings.Cut(rest, "\t")
	_, rest, _ = strings.Cut(rest, ": ")
	return line{at, node, strings.TrimSpace(program), rest}, ok
}

// parseCorosync reads "Nov 28 14:35:15.331 [46] node2 corosync notice  [TOTEM ] Token has not been received in 1237 ms".
func parseCorosync(text string) (l line, ok bool) {
	at, rest, ok := stamp(text)
	if !ok {
		return l, false
	}
	_, rest, _ = strings.Cut(rest, "] ")
	node, rest, _ := strings.Cut(rest, " ")
	program, _, _ := strings.Cut(rest, " ")
	_, rest, ok = strings.Cut(rest, "] ")
	return line{at, node, program, rest}, ok
}

// span is from when to when something went on.
type span struct{ from, to time.Time }

// story is what happened in an outage.
type story struct {
	news    time.Time // of what is wrong, or to be done
	token   time.Time // corosync misses somebody; zero: nobody
	fencing span
	started time.Time // when the last start ended
	running map[Phase][]span
	open    map[string]time.Time // actions under way, by node and name
}

// Account parts an outage of a client, from its last answer to the next one; began is when what led to it happened.
func (logs Logs) Account(began, lost, back time.Time, of Resources) (parts Parts) {
	s := story{running: map[Phase][]span{}, open: map[string]time.Time{}}
	within := slices.DeleteFunc(slices.Clone(logs), func(l line) bool { return l.at.Before(began) || l.at.After(back) })
	dead := fenced(within)
	for _, l := range within {
		if l.node != dead { // what a node does that is being fenced nobody waits for
			s.read(l, of)
		}
	}
	for what := range s.open { // goes on when the client is served already
		node, what, _ := strings.Cut(what, " ")
		s.close(line{at: back, node: node}, what, of)
	}
	// In steps of the logs' resolution.
	const step = time.Millisecond
	for t := lost; t.Before(back); t = t.Add(step) {
		parts[s.at(t)] += min(step, back.Sub(t))
	}
	return parts
}

// fenced is who is.
func fenced(logs Logs) string {
	for _, l := range logs {
		if _, what, ok := strings.Cut(l.text, "Requesting fencing ("); ok {
			_, node, _ := strings.Cut(what, "of node ")
			node, _, _ = strings.Cut(node, " ")
			return node
		}
	}
	return ""
}

func (s *story) read(l line, of Resources) {
	f := strings.Fields(l.text)
	switch {
	case l.program == "corosync" && strings.HasPrefix(l.text, "Token has not been received"):
		first(&s.token, l.at)
		first(&s.news, l.at)
	case strings.HasPrefix(l.text, "Requesting fencing ("):
		first(&s.fencing.from, l.at)
	case strings.Contains(l.text, " was terminated ("):
		first(&s.fencing.to, l.at)
	case strings.HasPrefix(l.text, "executing - rsc:") && len(f) > 3: // executing - rsc:db action:stop call_id:48
		s.open[l.node+" "+strings.TrimPrefix(f[2], "rsc:")+" "+strings.TrimPrefix(f[3], "action:")] = l.at
	case l.program == "pacemaker-execd" && strings.Contains(l.text, " exited with status ") && len(f) > 2: // db stop (call 48, PID 361) ...
		s.close(l, f[0]+" "+f[1], of)
	case strings.HasPrefix(l.text, "Initiating ") && len(f) > 3: // Initiating monitor operation db_monitor_2000 on node3 | action 8
		if f[1] == "stop" || f[1] == "start" {
			first(&s.news, l.at)
		}
		if on := strings.Index(l.text, " on "); f[1] == "monitor" && on > 0 {
			s.open[strings.Fields(l.text[on:])[1]+" "+f[3]] = l.at
		}
	case strings.HasPrefix(l.text, "Result of monitor operation for ") && len(f) > 7: // ... db on node3: not running (no MySQL...) | ... key=db_monitor_2000 rc=7
		if !strings.HasPrefix(f[7], "ok") && f[7] != "Cancelled" {
			first(&s.news, l.at)
		}
		_, key, _ := strings.Cut(l.text, " key=")
		key, _, _ = strings.Cut(key, " ")
		s.close(l, key, of)
	}
}

func first(t *time.Time, at time.Time) {
	if t.IsZero() {
		*t = at
	}
}

// close ends an action: RESOURCE ACTION, or a monitor's key.
func (s *story) close(l line, what string, of Resources) {
	from, ok := s.open[l.node+" "+what]
	if !ok {
		return
	}
	delete(s.open, l.node+" "+what)
	id, action, _ := strings.Cut(what, " ")
	phase, known := map[string]Phase{of.Address: Address, of.Storage: Storage, of.Service: Service}[id]
	switch {
	case action == "stop":
		phase = Stop
	case action == "start" && known:
		s.started = l.at
	case action == "":
		phase = Monitors
	default:
		return
	}
	s.running[phase] = append(s.running[phase], span{from, l.at})
}

// at is what the client waits for at that moment.
func (s *story) at(t time.Time) Phase {
	in := func(p Phase) bool {
		return slices.ContainsFunc(s.running[p], func(r span) bool { return !t.Before(r.from) && t.Before(r.to) })
	}
	for _, p := range []Phase{Service, Storage, Address, Stop} {
		if in(p) {
			return p
		}
	}
	switch {
	case s.news.IsZero() || t.Before(s.news):
		return Detection
	case !s.token.IsZero() && (s.fencing.from.IsZero() || t.Before(s.fencing.from)):
		return Membership
	case !s.fencing.from.IsZero() && !t.Before(s.fencing.from) && (s.fencing.to.IsZero() || t.Before(s.fencing.to)):
		return Fencing
	case !s.started.IsZero() && !t.Before(s.started):
		return Answer
	case in(Monitors):
		return Monitors
	}
	return Pacemaker
}
