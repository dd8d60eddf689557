package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/openstack-ocf/agents/test/chaos/check"
	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/scenario"
)

// where is how things were when a fault was drawn.
type where struct {
	active, dc string
	passive    []string
	promoted   string // where the clone is, if there is one
}

// others are the other nodes.
func (at where) others(node string) []string {
	return slices.DeleteFunc(slices.Concat([]string{at.active}, at.passive), func(other string) bool { return other == node })
}

// act is a fault that was drawn. do has it strike, and takes back what would not go away by itself.
type act struct {
	check.Fault
	do func(ctx context.Context) error
}

// fault is a kind of fault. draw takes all that is random from rng, so that a seed gives the same again.
type fault struct {
	kind   string
	weight int
	draw   func(s *scene, rng *rand.Rand, at where) act
}

// faults are all there are.
var faults = slices.Concat(serviceFaults, platformFaults, operatorFaults, scarceFaults, databaseFaults, storageFaults, networkFaults, commandFaults, mistakes, replicatedFaults)

// Kinds are the names of all faults.
func Kinds() (names []string) {
	for _, f := range faults {
		names = append(names, f.kind)
	}
	return names
}

// between is a random time.
func between(rng *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(rng.Int64N(int64(most-least)))
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// What exit reasons say. A fault that comes while a service starts is told by the start.
const (
	saysKilled = `SIGKILL|killed|has just died|no .* runs|half of it has died|left there by one that died` // a monitor finds it gone, and nobody knows how
	saysFrozen = `frozen|stopped by a signal`
	saysLacks  = `database does not answer|broker|message bus|server|Cannot assign requested address|start the floating IP first` // of who stands behind what was struck, while it is away
	saysBroken = `no-such-option|no ':' or '=' in the assignment|cannot read configuration file`
	saysTerm   = `no .* runs|SIGTERM|ended|exited|shutdown|shut down|stopping|stops|died|broken pipe|connection reset`
)

// striking is a fault that befalls a service, and with it what stands behind it in the group.
func (s *scene) striking(rng *rand.Rand, at where, kind string, bound time.Duration, words ...string) act {
	all := s.everything()
	id := all[rng.IntN(len(all))]
	if id == s.clone {
		return s.strikingInstance(rng, at, kind, bound, words...)
	}
	return act{Fault: check.Fault{Kind: kind, Target: id, Node: at.active, Restart: s.behind(id), Bound: bound, Words: words, Lacks: []string{saysLacks}}}
}

// all is a fault that may stop and move all of the group.
func (s *scene) all(at where, kind string, bound time.Duration, words ...string) act {
	return act{Fault: check.Fault{Kind: kind, Node: at.active, Restart: s.services, Move: true, Bound: bound, Words: words, Lacks: []string{saysLacks}}}
}

// moves says that the group may be somewhere else after the fault, if it is the group's.
func (s *scene) moves(a *act) {
	if a.Target != s.clone {
		a.Restart, a.Move = s.services, true
	}
}

// on is a fault of a node: it may be fenced, and if it is the active one, the group is elsewhere then.
func (s *scene) on(node string, at where, kind string, bound time.Duration, words ...string) act {
	a := act{Fault: check.Fault{Kind: kind, Target: node, Node: node, Fence: []string{node}, Bound: bound, Words: words}}
	if node == at.active {
		a.Restart, a.Move = s.services, true
	}
	return a
}

// someone is the active node, the DC, or one of the others.
func someone(rng *rand.Rand, at where) string {
	which := rng.IntN(4)
	switch {
	case which == 0:
		return at.active
	case which == 1 && at.dc != "":
		return at.dc
	}
	return at.passive[which%len(at.passive)]
}

// daemon is the one that a fault is aimed at.
func (s *scene) daemon(f check.Fault) (scenario.Daemon, error) {
	node := ""
	if f.Target == s.clone {
		node = f.Node
	}
	d, ok := s.actor(f.Target).Watch.NowOn(node)
	if !ok {
		return d, fmt.Errorf("%s does not run", f.Target)
	}
	return d, nil
}

// signal sends a signal to the daemon that the fault is aimed at, if there is one.
func (s *scene) signal(f check.Fault, sig syscall.Signal) error {
	d, err := s.daemon(f)
	if err != nil {
		return err
	}
	return d.Signal(sig)
}

// signals is an act that sends a signal.
func signals(kind string, sig syscall.Signal, bound time.Duration, told bool, words ...string) func(*scene, *rand.Rand, where) act {
	return func(s *scene, rng *rand.Rand, at where) act {
		a := s.striking(rng, at, kind, bound, words...)
		a.Told = told
		a.do = func(context.Context) error { return s.signal(a.Fault, sig) }
		return a
	}
}

// paths are where a service keeps what tells others of it, and its configuration, and what does not parse in that.
type paths struct{ traces, config, nonsense string }

// spoil is a script that breaks the configuration; mend takes it back, from a copy of its own: several faults may break it at once, one
// after the other, and the first that mends it does so for all.
func (f paths) spoil() string {
	return fmt.Sprintf("exec 9</root; flock 9; w=%[1]s; [ -e $w ] || [ -e $w.none ] || cp -p %[2]s $w 2>/dev/null || : >$w.none; printf '%%s' '%[3]s' >>%[2]s", f.copy(), f.config, f.nonsense)
}

func (f paths) mend() string {
	return fmt.Sprintf("exec 9</root; flock 9; w=%[1]s; if [ -e $w ]; then cp -p $w %[2]s && rm $w; elif [ -e $w.none ]; then rm -f %[2]s $w.none; fi", f.copy(), f.config)
}

func (f paths) copy() string { return "/root/chaos.was." + path.Base(f.config) }

var files = map[string]paths{
	"db":          {"/run/mysqld/*", "/etc/mysql/mariadb.conf.d/zz-broken.cnf", "[mysqld]\nno-such-option=1\n"},
	"qpidd":       {scenario.BrokerDir + "/.qpidd/lock " + scenario.BrokerDir + "/.qpidd/*.pid " + scenario.BrokerDir + "/lock /run/qpidd/*", "/etc/qpid/qpidd.conf", "no-such-option=1\n"},
	"consoleauth": {"/run/resource-agents/*consoleauth*.pid /run/nova/*", "/etc/nova/nova.conf", "\nno-such-option\n"},
	"haproxy":     {"/run/haproxy.pid /run/haproxy.ocf/*", "/etc/haproxy/haproxy.cfg", "\nno-such-option\n"},
}

var serviceFaults = []fault{
	{"kill", 8, signals("kill", syscall.SIGKILL, 20*time.Second, true, saysKilled)},
	{"freeze", 5, signals("freeze", syscall.SIGSTOP, 30*time.Second, true, saysFrozen, saysKilled)},
	{"term", 3, signals("term", syscall.SIGTERM, 30*time.Second, true, saysTerm)},
	{"freeze for a moment", 3, func(s *scene, rng *rand.Rand, at where) act {
		a := s.striking(rng, at, "freeze for a moment", 30*time.Second, saysFrozen, saysKilled)
		long := between(rng, 100*time.Millisecond, 3*time.Second)
		a.do = func(ctx context.Context) error {
			d, err := s.daemon(a.Fault)
			if err != nil {
				return err
			}
			err = d.Signal(syscall.SIGSTOP)
			sleep(ctx, long)
			_ = d.Signal(syscall.SIGCONT) // it may have been killed for it
			return err
		}
		return a
	}},
	{"kill a child", 2, func(s *scene, rng *rand.Rand, at where) act {
		a := s.striking(rng, at, "kill a child", 20*time.Second)
		a.do = func(ctx context.Context) error {
			d, err := s.daemon(a.Fault)
			if err != nil {
				return err
			}
			return s.shell(ctx, d.Node, `for f in /proc/`+strconv.Itoa(d.PID)+`/task/*/children; do read -r c _ <$f && kill -9 $c; done; :`)
		}
		return a
	}},
	{"kill during a start", 4, duringStart("kill during a start", signalled(syscall.SIGKILL), saysKilled)},
	{"freeze during a start", 3, duringStart("freeze during a start", signalled(syscall.SIGSTOP), saysFrozen, saysKilled)},
	{"term during a start", 2, duringStart("term during a start", signalled(syscall.SIGTERM), saysTerm)},
	{"kill during a stop", 2, duringStop("kill during a stop", signalled(syscall.SIGKILL), saysKilled)},
	{"freeze during a stop", 3, duringStop("freeze during a stop", signalled(syscall.SIGSTOP), saysFrozen, saysKilled)},
	{"remove traces", 3, func(s *scene, rng *rand.Rand, at where) act {
		a := s.striking(rng, at, "remove traces", 60*time.Second, `socket|pid file`)
		s.whole(&a)
		long := between(rng, 2*time.Second, 8*time.Second)
		a.do = func(ctx context.Context) error {
			err := s.shell(ctx, a.Node, "rm -rf "+files[a.Target].traces)
			sleep(ctx, long)
			// What was told of it is to restart the service when that is convenient.
			return errors.Join(err, s.restart(ctx, a.Target))
		}
		return a
	}},
	{"restart the unit by hand", 2, func(s *scene, rng *rand.Rand, at where) act {
		a := s.striking(rng, at, "restart the unit by hand", 45*time.Second, saysTerm, saysKilled, `systemd is about to run a command`)
		unit := map[string]string{"db": "mariadb", "qpidd": "qpidd", "haproxy": "haproxy"}[a.Target]
		a.do = func(ctx context.Context) error { // as whoever upgrades what the daemon is made of
			if unit == "" || a.Target == s.clone {
				return fmt.Errorf("%s is in no unit", a.Target)
			}
			return s.shell(ctx, a.Node, "systemctl restart "+unit)
		}
		return a
	}},
	{"reload by hand", 2, func(s *scene, rng *rand.Rand, at where) act {
		id := []string{"db", "haproxy"}[rng.IntN(2)]
		a := act{Fault: check.Fault{Kind: "reload by hand", Target: id, Node: at.active, Bound: check.Spared}}
		a.do = func(context.Context) error {
			return s.signal(a.Fault, map[string]syscall.Signal{"db": syscall.SIGHUP, "haproxy": syscall.SIGUSR2}[id])
		}
		return a
	}},
	{"break the configuration", 3, func(s *scene, rng *rand.Rand, at where) act {
		return s.breaking(rng, at, "break the configuration", 60*time.Second, at.active)
	}},
	{"break the configuration everywhere", 1, func(s *scene, rng *rand.Rand, at where) act {
		// Each node is tried, and none again until its failure has timed out.
		return s.breaking(rng, at, "break the configuration everywhere", 240*time.Second, slices.Concat([]string{at.active}, at.passive)...)
	}},
}

// breaking has a service not come up again on some nodes, for a while.
func (s *scene) breaking(rng *rand.Rand, at where, kind string, bound time.Duration, nodes ...string) act {
	a := s.striking(rng, at, kind, bound, saysKilled, saysBroken)
	s.moves(&a)
	if a.Target == s.clone && len(nodes) == 1 {
		nodes = []string{a.Node}
	}
	long := between(rng, 5*time.Second, 25*time.Second)
	f := files[a.Target]
	a.do = func(ctx context.Context) (err error) {
		for _, n := range nodes {
			err = errors.Join(err, s.shell(ctx, n, f.spoil()))
		}
		err = errors.Join(err, s.signal(a.Fault, syscall.SIGKILL))
		sleep(ctx, long)
		for _, n := range nodes {
			err = errors.Join(err, s.insist(ctx, n, f.mend()))
		}
		return err
	}
	return a
}

// strike is what is done to a daemon.
type strike func(ctx context.Context, d scenario.Daemon) error

func signalled(sig syscall.Signal) strike {
	return func(_ context.Context, d scenario.Daemon) error { return d.Signal(sig) }
}

// duringStart is a strike while the service is being started anew. A failure that its monitor finds while that transition still goes on
// Pacemaker passes over: the monitor counts it itself (lib/unheeded).
func duringStart(kind string, hit strike, words ...string) func(*scene, *rand.Rand, where) act {
	return func(s *scene, rng *rand.Rand, at where) act {
		a := s.striking(rng, at, kind, 60*time.Second, words...)
		s.moves(&a)
		late := between(rng, time.Millisecond, time.Second)
		a.do = func(ctx context.Context) error {
			d, err := s.daemon(a.Fault)
			if err != nil {
				return err
			}
			if err := d.Signal(syscall.SIGKILL); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
			defer cancel()
			if d, err = s.actor(a.Target).Watch.WaitOther(ctx, d); err != nil {
				return err
			}
			sleep(ctx, late)
			return hit(ctx, d)
		}
		a.Words = append(a.Words, saysKilled)
		return a
	}
}

// duringStop is a strike while the service is being stopped.
func duringStop(kind string, hit strike, words ...string) func(*scene, *rand.Rand, where) act {
	return func(s *scene, rng *rand.Rand, at where) act {
		a := s.striking(rng, at, kind, 90*time.Second, words...)
		s.whole(&a)
		late := between(rng, time.Millisecond, 500*time.Millisecond)
		a.do = func(ctx context.Context) error {
			d, err := s.daemon(a.Fault)
			if err != nil {
				return err
			}
			restarted := make(chan error, 1)
			go func() { restarted <- s.restart(ctx, a.Target) }()
			err = s.stopping(ctx, a.Target, d)
			if err == nil {
				sleep(ctx, late)
				_ = hit(ctx, d) // it may be gone by now
			}
			return errors.Join(err, <-restarted)
		}
		return a
	}
}

// clusterDaemons are corosync's and Pacemaker's.
var clusterDaemons = []string{
	"corosync", "pacemakerd", "pacemaker-controld", "pacemaker-execd", "pacemaker-based", "pacemaker-attrd", "pacemaker-schedulerd", "pacemaker-fenced",
}

var platformFaults = []fault{
	{"delete the address", 3, func(s *scene, _ *rand.Rand, at where) act {
		a := s.all(at, "delete the address", 60*time.Second, `start the floating IP first`) // whoever starts meanwhile has to say that
		a.Move = false
		a.do = func(ctx context.Context) error {
			return s.shell(ctx, at.active, "ip addr del "+scenario.FloatingIP+"/24 dev eth0")
		}
		return a
	}},
	{"unmount lazily", 4, func(s *scene, rng *rand.Rand, at where) act {
		a := s.all(at, "unmount lazily", 90*time.Second, `mount`)
		a.Target = []string{scenario.DataDir, scenario.BrokerDir}[rng.IntN(2)]
		if s.clone != "" { // each broker keeps what it has on its own node's disk
			a.Target = scenario.DataDir
		}
		a.do = func(ctx context.Context) error { return s.shell(ctx, at.active, "umount -l "+a.Target) }
		return a
	}},
	{"kill a cluster daemon", 4, func(s *scene, rng *rand.Rand, at where) act {
		name, node := clusterDaemons[rng.IntN(len(clusterDaemons))], someone(rng, at)
		a := s.on(node, at, "kill a cluster daemon", 60*time.Second)
		a.Target, a.Mute = name, true
		a.do = func(ctx context.Context) error {
			err := s.shell(ctx, node, "kill -9 $(pidof "+name+")")
			if name == "corosync" {
				err = errors.Join(err, s.corosyncBack(ctx, node))
			}
			return err
		}
		return a
	}},
	{"freeze a cluster daemon", 3, func(s *scene, rng *rand.Rand, at where) act {
		name, node := clusterDaemons[rng.IntN(len(clusterDaemons))], someone(rng, at)
		long := between(rng, 500*time.Millisecond, 20*time.Second)
		a := s.on(node, at, "freeze a cluster daemon", 90*time.Second)
		a.Target, a.Mute = name, true
		a.do = func(ctx context.Context) error {
			defer s.avoid(node)()
			err := s.shell(ctx, node, "kill -STOP $(pidof "+name+")")
			sleep(ctx, long)
			_ = s.shell(ctx, node, "kill -CONT $(pidof "+name+"); :") // it may have been fenced for it
			return err
		}
		return a
	}},
	{"power cut", 4, func(s *scene, rng *rand.Rand, at where) act {
		node := someone(rng, at)
		a := s.on(node, at, "power cut", 60*time.Second)
		a.do = func(ctx context.Context) error { return s.powerOff(ctx, node) }
		return a
	}},
	{"power cut of all", 1, func(s *scene, _ *rand.Rand, at where) act {
		a := s.all(at, "power cut of all", 180*time.Second)
		a.Fence = s.nodes()
		a.do = func(ctx context.Context) (err error) {
			for _, n := range s.nodes() {
				err = errors.Join(err, s.powerOff(ctx, n))
			}
			return err
		}
		return a
	}},
	{"restart Pacemaker", 2, func(s *scene, rng *rand.Rand, at where) act {
		node := someone(rng, at) // as an upgrade does: what runs there goes elsewhere first
		a := act{Fault: check.Fault{Kind: "restart Pacemaker", Target: node, Node: node, Bound: check.Spared}}
		if node == at.active {
			a = s.all(at, "restart Pacemaker", 60*time.Second)
		}
		if s.clone != "" {
			a.Restart, a.Bound = slices.Concat(a.Restart, []string{check.Instance(s.clone, node)}), 60*time.Second
		}
		a.do = func(ctx context.Context) error {
			defer s.avoid(node)()
			_, err := s.cluster.Node(node).Exec(ctx, "systemctl", "restart", "pacemaker")
			return err
		}
		return a
	}},
	{"fence by hand", 2, func(s *scene, rng *rand.Rand, at where) act {
		node := someone(rng, at)
		a := s.on(node, at, "fence by hand", 60*time.Second)
		a.do = func(ctx context.Context) error { return s.tool(ctx, "stonith_admin", "--reboot", node) }
		return a
	}},
	{"interface down", 2, func(s *scene, rng *rand.Rand, at where) act {
		node, long := someone(rng, at), between(rng, 100*time.Millisecond, 5*time.Second)
		a := s.on(node, at, "interface down", 60*time.Second, `eth0|not on this node|start the floating IP first`)
		a.do = func(ctx context.Context) error {
			return s.meanwhile(ctx, node, long, "ip link set eth0 down", "ip link set eth0 up")
		}
		return a
	}},
	{"restart the network", 2, func(s *scene, rng *rand.Rand, at where) act {
		node, long := someone(rng, at), between(rng, 100*time.Millisecond, 4*time.Second)
		a := s.on(node, at, "restart the network", 60*time.Second, `eth0|not on this node|start the floating IP first`)
		a.do = func(ctx context.Context) error {
			// It brings back what is its own.
			own := fmt.Sprintf("ip addr replace %s/24 brd + dev eth0; ip link set eth0 up; ip route replace default via %s", s.cluster.Node(node).Addr, cluster.RackAddr)
			return s.meanwhile(ctx, node, long, "ip addr flush dev eth0; ip link set eth0 down", own)
		}
		return a
	}},
	{"short cable cut", 2, cableCut("short cable cut", 100*time.Millisecond, 1200*time.Millisecond)},
	{"long cable cut", 3, cableCut("long cable cut", 3*time.Second, 15*time.Second)},
	{"kill an agent", 2, func(s *scene, _ *rand.Rand, at where) act {
		a := s.all(at, "kill an agent", 60*time.Second)
		a.Mute = true
		if s.clone != "" {
			a.Restart = slices.Concat(a.Restart, []string{check.Instance(s.clone, at.active)})
		}
		a.do = func(ctx context.Context) error {
			for end := time.Now().Add(15 * time.Second); time.Now().Before(end) && ctx.Err() == nil; sleep(ctx, time.Millisecond) {
				for _, d := range scenario.Processes(s.cluster, "openstack-ocf") {
					if d.Node == at.active && d.Signal(syscall.SIGKILL) == nil {
						return nil
					}
				}
			}
			return errors.New("no agent was caught at work")
		}
		return a
	}},
	{"busy processors", 1, func(s *scene, rng *rand.Rand, at where) act {
		node := someone(rng, at)
		a := act{Fault: check.Fault{Kind: "busy processors", Target: node, Node: node, Bound: check.Spared}}
		a.do = func(ctx context.Context) error {
			return s.shell(ctx, node, "for i in 1 2; do timeout 4 sh -c 'while :; do :; done' & done; wait; :")
		}
		return a
	}},
}

func cableCut(kind string, least, most time.Duration) func(*scene, *rand.Rand, where) act {
	return func(s *scene, rng *rand.Rand, at where) act {
		node, long := someone(rng, at), between(rng, least, most)
		a := s.on(node, at, kind, 60*time.Second)
		a.do = func(ctx context.Context) error {
			n := s.cluster.Node(node)
			err := n.Cut(ctx)
			sleep(ctx, long)
			return errors.Join(err, n.Heal(context.WithoutCancel(ctx)))
		}
		return a
	}
}

var operatorFaults = []fault{
	{"move", 2, func(s *scene, _ *rand.Rand, at where) act {
		a := s.all(at, "move", 60*time.Second)
		a.do = func(ctx context.Context) error {
			err := s.tool(ctx, "pcs", "resource", "move", scenario.GroupID)
			if err != nil { // it bans the group from its node, and takes that back when it has ended
				err = errors.Join(err, s.takeBack(ctx, "pcs", "resource", "clear", scenario.GroupID))
			}
			return err
		}
		return a
	}},
	{"standby", 2, func(s *scene, rng *rand.Rand, at where) act {
		a := s.all(at, "standby", 60*time.Second)
		if s.clone != "" {
			a.Restart = slices.Concat(a.Restart, []string{check.Instance(s.clone, at.active)})
		}
		long := between(rng, 0, 8*time.Second)
		a.do = func(ctx context.Context) error {
			err := s.tool(ctx, "pcs", "node", "standby", at.active)
			sleep(ctx, long)
			return errors.Join(err, s.takeBack(ctx, "pcs", "node", "unstandby", "--all"))
		}
		return a
	}},
	{"restart", 2, func(s *scene, rng *rand.Rand, at where) act {
		a := s.striking(rng, at, "restart", 45*time.Second)
		s.whole(&a)
		a.do = func(ctx context.Context) error { return s.restart(ctx, a.Target) }
		return a
	}},
	{"disable", 2, func(s *scene, rng *rand.Rand, at where) act {
		a := s.striking(rng, at, "disable", 60*time.Second)
		s.whole(&a)
		long := between(rng, 0, 8*time.Second)
		a.do = func(ctx context.Context) error {
			err := s.tool(ctx, "pcs", "resource", "disable", a.Target)
			sleep(ctx, long)
			return errors.Join(err, s.takeBack(ctx, "pcs", "resource", "enable", a.Target))
		}
		return a
	}},
	{"stop the cluster", 1, func(s *scene, rng *rand.Rand, at where) act {
		a := s.all(at, "stop the cluster", 120*time.Second)
		s.cloneToo(&a)
		long := between(rng, 0, 5*time.Second)
		a.do = func(ctx context.Context) error {
			err := s.everywhere(func(node string) error {
				ctx, cancel := context.WithTimeout(ctx, toolTimeout)
				defer cancel()
				_, err := s.cluster.Node(node).Exec(ctx, "systemctl", "stop", "pacemaker")
				return err
			})
			sleep(ctx, long)
			return errors.Join(err, s.everywhere(func(node string) error {
				return s.undo(context.WithoutCancel(ctx), node, "systemctl start pacemaker")
			}))
		}
		return a
	}},
	{"stop by hand", 3, func(s *scene, rng *rand.Rand, at where) act {
		ids := slices.Concat([]string{scenario.AddressID, scenario.StorageID}, s.services)
		a := s.all(at, "stop by hand", 90*time.Second, saysKilled, saysTerm, `mount|not on this node`)
		a.Target = ids[rng.IntN(len(ids))]
		if slices.Contains(s.services, a.Target) {
			a.Restart, a.Move = s.behind(a.Target), false
		}
		a.do = func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, toolTimeout)
			defer cancel()
			_, err := s.cluster.Node(at.active).Exec(ctx, "crm_resource", "--force-stop", "--resource", a.Target)
			return err
		}
		return a
	}},
	{"stop all resources", 1, func(s *scene, rng *rand.Rand, at where) act {
		a := s.all(at, "stop all resources", 60*time.Second)
		s.cloneToo(&a)
		long := between(rng, 0, 8*time.Second)
		a.do = func(ctx context.Context) error {
			err := s.tool(ctx, "pcs", "property", "set", "stop-all-resources=true")
			sleep(ctx, long)
			return errors.Join(err, s.takeBack(ctx, "pcs", "property", "set", "stop-all-resources=false"))
		}
		return a
	}},
	{"cleanup", 2, func(s *scene, _ *rand.Rand, _ where) act {
		return act{
			Fault: check.Fault{Kind: "cleanup", Bound: check.Spared},
			do:    func(ctx context.Context) error { return s.tool(ctx, "pcs", "resource", "cleanup") },
		}
	}},
	{"refresh", 1, func(s *scene, _ *rand.Rand, _ where) act {
		return act{
			Fault: check.Fault{Kind: "refresh", Bound: check.Spared},
			do:    func(ctx context.Context) error { return s.tool(ctx, "pcs", "resource", "refresh") },
		}
	}},
	{"fault under maintenance", 3, func(s *scene, rng *rand.Rand, at where) act {
		sig := []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP, syscall.SIGTERM}[rng.IntN(3)]
		a := s.striking(rng, at, "fault under maintenance", 60*time.Second, saysKilled, saysFrozen, saysTerm)
		long := between(rng, 0, 5*time.Second)
		a.do = func(ctx context.Context) error {
			err := s.tool(ctx, "pcs", "property", "set", "maintenance-mode=true")
			err = errors.Join(err, s.signal(a.Fault, sig))
			sleep(ctx, long)
			return errors.Join(err, s.takeBack(ctx, "pcs", "property", "set", "maintenance-mode=false"))
		}
		return a
	}},
	{"change a parameter", 2, func(s *scene, rng *rand.Rand, at where) act {
		a := s.striking(rng, at, "change a parameter", 45*time.Second)
		s.whole(&a)
		parameter := map[string]string{"db": "preflush=%ds", "haproxy": "soft_stop=%ds", "qpidd": "degraded_queue_percent=8%d", "consoleauth": "log=/var/log/nova/chaos%d.log"}[a.Target]
		value := fmt.Sprintf(parameter, 1+rng.IntN(9))
		a.do = func(ctx context.Context) error {
			return s.tool(ctx, "pcs", "resource", "update", a.Target, value)
		}
		return a
	}},
}

// shell runs a script on a node.
func (s *scene) shell(ctx context.Context, node, script string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	_, err := s.cluster.Node(node).Shell(ctx, script)
	return err
}

// insist runs a script on a node until that is on and has done it.
func (s *scene) insist(ctx context.Context, node, script string) error {
	for {
		err := s.shell(ctx, node, script)
		if !errors.Is(err, cluster.ErrOff) || ctx.Err() != nil {
			return err
		}
		sleep(ctx, time.Second)
	}
}

// toolTimeout is how long a command of the cluster's may take; `pcs resource restart` waits for what it does.
const toolTimeout = 60 * time.Second

// tool runs a command of the cluster's on a node that answers.
func (s *scene) tool(ctx context.Context, argv ...string) error {
	ctx, cancel := context.WithTimeout(ctx, toolTimeout)
	defer cancel()
	if _, err := s.cluster.Status(ctx); err != nil {
		return err
	}
	_, err := s.cluster.OnAny(ctx, argv...)
	if err != nil {
		return fmt.Errorf("%s: %w", strings.Join(argv, " "), err)
	}
	return nil
}

// persist does the same until it has succeeded.
func (s *scene) persist(ctx context.Context, argv ...string) error {
	for {
		err := s.tool(ctx, argv...)
		if err == nil || ctx.Err() != nil {
			return err
		}
		sleep(ctx, time.Second)
	}
}

// takeBack takes back what an operator did. Where that was done on a node that others had lost, it comes back with that node: of two
// configurations the one with more changes wins, and to take back what the others have not heard of is none. So it is done again when
// all nodes are there, those too that are off by now.
func (s *scene) takeBack(ctx context.Context, argv ...string) error {
	if err := s.persist(ctx, argv...); err != nil {
		return err
	}
	err := s.cluster.WaitFor(ctx, func(st *cluster.Status) error {
		for _, name := range s.nodes() {
			if n := st.Node(name); st.DC == "" || !n.Online || n.Pending {
				return fmt.Errorf("%s has not joined yet", name)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.persist(ctx, argv...)
}

// restart restarts a resource. The command disables it first, and if its node dies then, it is the operator who enables it again.
func (s *scene) restart(ctx context.Context, id string) error {
	if id == s.clone {
		id += "-clone"
	}
	err := s.tool(ctx, "crm_resource", "--restart", "--resource", id)
	if err != nil {
		err = errors.Join(err, s.takeBack(ctx, "pcs", "resource", "enable", id))
	}
	return err
}

// everywhere does something on all nodes at once.
func (s *scene) everywhere(do func(node string) error) error {
	var all sync.WaitGroup
	nodes := s.nodes()
	errs := make([]error, len(nodes))
	for i, node := range nodes {
		all.Go(func() { errs[i] = do(node) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// corosyncBack waits until a node has a corosync again, after its power cycle. Where the majority has lost theirs, nobody may fence, and
// systemd does not start one that was killed: then it is the operator who does.
func (s *scene) corosyncBack(ctx context.Context, node string) error {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end) && ctx.Err() == nil; sleep(ctx, time.Second) {
		if s.shell(ctx, node, "pidof corosync") == nil {
			return nil
		}
	}
	return s.undo(ctx, node, "pidof corosync || systemctl start corosync")
}

// powerOff cuts a node's power.
func (s *scene) powerOff(ctx context.Context, node string) error {
	s.history.Add(check.Event{Kind: check.Off, Node: node})
	return s.cluster.Node(node).PowerOff(ctx)
}

// avoid has nobody ask this node until the function that it returns is called.
func (s *scene) avoid(node string) func() {
	set := func(n int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.avoided[node] += n
		var names []string
		for name, n := range s.avoided {
			if n > 0 {
				names = append(names, name)
			}
		}
		s.cluster.Avoid(names...)
	}
	set(1)
	return func() { set(-1) }
}

// stopping returns when Pacemaker is about to stop the service, whose daemon is d; it is an error if that was too quick to be seen.
func (s *scene) stopping(ctx context.Context, id string, d scenario.Daemon) error {
	agent := "/" + path.Base(strings.ReplaceAll(s.actor(id).Agent, ":", "/"))
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end) && ctx.Err() == nil; sleep(ctx, 10*time.Millisecond) {
		if now, ok := s.actor(id).Watch.NowOn(d.Node); !ok || now != d {
			return fmt.Errorf("%s was stopped before anybody saw it", id)
		}
		for _, p := range scenario.Processes(s.cluster, "openstack-ocf") {
			if args := p.Args(); len(args) == 2 && args[1] == "stop" && strings.HasSuffix(args[0], agent) {
				return nil
			}
		}
	}
	return fmt.Errorf("%s is not being stopped", id)
}
