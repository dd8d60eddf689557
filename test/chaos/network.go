package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"time"

	"github.com/openstack-ocf/agents/test/chaos/check"
	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/scenario"
)

// What a network does that is neither well nor cut, and a virtual machine that is stopped.
var networkFaults = []fault{
	{"lose a few packets", 2, func(s *scene, rng *rand.Rand, at where) act {
		node, percent, long := someone(rng, at), 2+rng.IntN(7), between(rng, 3*time.Second, 15*time.Second)
		// corosync and TCP send again.
		a := act{Fault: check.Fault{Kind: "lose a few packets", Target: node, Node: node, Bound: check.Spared}}
		a.do = func(ctx context.Context) error { return s.lossy(ctx, node, percent, long) }
		return a
	}},
	{"lose many packets", 2, func(s *scene, rng *rand.Rand, at where) act {
		node, percent, long := someone(rng, at), 30+rng.IntN(40), between(rng, 3*time.Second, 12*time.Second)
		a := s.parted(node, at, "lose many packets")
		a.do = func(ctx context.Context) error { return s.lossy(ctx, node, percent, long) }
		return a
	}},
	{"two nodes do not hear each other", 2, func(s *scene, rng *rand.Rand, at where) act {
		node, long := someone(rng, at), between(rng, 3*time.Second, 15*time.Second)
		others := at.others(node)
		other := others[rng.IntN(len(others))]
		a := s.parted(node, at, "two nodes do not hear each other")
		a.do = func(ctx context.Context) error {
			return s.drops(ctx, node, long, "INPUT -s "+other, "OUTPUT -d "+other)
		}
		return a
	}},
	{"one-way network", 2, func(s *scene, rng *rand.Rand, at where) act {
		node, deaf, long := someone(rng, at), rng.IntN(2) == 0, between(rng, 3*time.Second, 15*time.Second)
		a := s.parted(node, at, "one-way network")
		a.do = func(ctx context.Context) error {
			var rules []string
			for _, other := range at.others(node) {
				if deaf {
					rules = append(rules, "INPUT -s "+other)
				} else {
					rules = append(rules, "OUTPUT -d "+other)
				}
			}
			return s.drops(ctx, node, long, rules...)
		}
		return a
	}},
	{"restart the switch", 2, func(s *scene, rng *rand.Rand, at where) act {
		a := s.parted("", at, "restart the switch")
		s.cloneToo(&a)
		a.Bound = 120 * time.Second // no node hears another one, and each stops what it has
		long := between(rng, 3*time.Second, 15*time.Second)
		a.do = func(ctx context.Context) error {
			err := s.everywhere(func(node string) error { return s.cluster.Node(node).Cut(ctx) })
			sleep(ctx, long)
			return errors.Join(err, s.everywhere(func(node string) error { return s.cluster.Node(node).Heal(context.WithoutCancel(ctx)) }))
		}
		return a
	}},
	{"lose big packets", 2, func(s *scene, rng *rand.Rand, at where) act {
		node, long := someone(rng, at), between(rng, 3*time.Second, 15*time.Second)
		// As where an MTU is wrong: what is small comes through, as a ping does.
		a := s.parted(node, at, "lose big packets")
		a.do = func(ctx context.Context) error {
			return s.drops(ctx, node, long, "INPUT -i eth0 -m length --length 1000:", "OUTPUT -o eth0 -m length --length 1000:")
		}
		return a
	}},
	{"slow network", 2, func(s *scene, rng *rand.Rand, at where) act {
		node, long := someone(rng, at), between(rng, 3*time.Second, 15*time.Second)
		a := act{Fault: check.Fault{Kind: "slow network", Target: node, Node: node, Bound: check.Spared}}
		a.do = func(ctx context.Context) error {
			// Two Mbit a second, and packets wait up to 300 ms for their turn.
			return s.meanwhile(ctx, node, long, "tc qdisc replace dev eth0 root tbf rate 2mbit burst 4kb latency 300ms", "tc qdisc del dev eth0 root 2>/dev/null; :")
		}
		return a
	}},
	{"another host with the address", 2, func(s *scene, rng *rand.Rand, at where) act {
		long, times := between(rng, 2*time.Second, 20*time.Second), rng.IntN(6)
		// Clients go to whom they heard last, until that answers no longer and they ask again. A restart would not help.
		a := act{Fault: check.Fault{Kind: "another host with the address", Target: "the address", Handicapped: s.services, Bound: long + 60*time.Second}}
		a.do = func(ctx context.Context) error {
			_, err := s.cluster.Client(ctx, cluster.Cmd{Argv: []string{"sh", "-c", fmt.Sprintf(stranger, scenario.FloatingIP, long/time.Second, times)}})
			return err
		}
		return a
	}},
	{"power cut without a BMC", 1, func(s *scene, rng *rand.Rand, at where) act {
		node, long := someone(rng, at), between(rng, 2*time.Second, 15*time.Second)
		// Nothing may start elsewhere until the node is known to be off.
		a := s.on(node, at, "power cut without a BMC", long+90*time.Second)
		a.do = func(ctx context.Context) error {
			back, err := s.loseBMC(ctx)
			if err != nil {
				return err
			}
			err = s.powerOff(ctx, node)
			sleep(ctx, long)
			return errors.Join(err, back())
		}
		return a
	}},
	{"no BMC for a while", 2, func(s *scene, rng *rand.Rand, _ where) act {
		long := between(rng, 2*time.Second, 20*time.Second)
		// It strikes only where another fault has somebody fenced meanwhile, who is waited for.
		a := act{Fault: check.Fault{Kind: "no BMC for a while", Target: "the BMC", Bound: long + 30*time.Second}}
		a.do = func(ctx context.Context) error {
			back, err := s.loseBMC(ctx)
			if err != nil {
				return err
			}
			sleep(ctx, long)
			return back()
		}
		return a
	}},
	{"power cut with its BMC", 1, func(s *scene, rng *rand.Rand, at where) act {
		node, long := someone(rng, at), between(rng, 5*time.Second, 40*time.Second)
		// Whom nobody can fence, somebody has to look at, and vouch for.
		a := s.on(node, at, "power cut with its BMC", long+60*time.Second)
		a.do = func(ctx context.Context) error {
			back, err := s.loseBMC(ctx)
			if err != nil {
				return err
			}
			defer s.overseer.keeps(node)()
			err = s.powerOff(ctx, node)
			sleep(ctx, long)
			told := s.advised(ctx, "pcs stonith confirm "+node)
			s.history.Add(check.Event{Kind: check.Vouched, Node: node})
			return errors.Join(err, told, s.persist(ctx, "pcs", "stonith", "confirm", node, "--force"), back())
		}
		return a
	}},
	{"names that hang", 2, func(s *scene, rng *rand.Rand, at where) act {
		node, long := someone(rng, at), between(rng, 5*time.Second, 20*time.Second)
		// Who looks a name up that is not in /etc/hosts waits for an answer that does not come.
		a := act{Fault: check.Fault{Kind: "names that hang", Target: node, Node: node, Bound: check.Spared}}
		a.do = func(ctx context.Context) error {
			err := s.shell(ctx, node, "echo nameserver "+cluster.RackAddr+" >/etc/resolv.conf && iptables -w -I OUTPUT -p udp --dport 53 -j DROP")
			sleep(ctx, long)
			return errors.Join(err, s.insist(ctx, node, ": >/etc/resolv.conf; iptables -w -D OUTPUT -p udp --dport 53 -j DROP 2>/dev/null; :"))
		}
		return a
	}},
	{"pause a node", 3, func(s *scene, rng *rand.Rand, at where) act {
		node, long := someone(rng, at), between(rng, 200*time.Millisecond, 15*time.Second)
		a := s.on(node, at, "pause a node", 60*time.Second)
		a.Mute = true // an action that was under way has timed out
		a.do = func(ctx context.Context) error {
			defer s.avoid(node)()
			n := s.cluster.Node(node)
			err := n.Pause()
			sleep(ctx, long)
			return errors.Join(err, n.Resume())
		}
		return a
	}},
	{"a node that stutters", 2, func(s *scene, rng *rand.Rand, at where) act {
		// As a virtual machine on a host that has given away more than it has: it works a third to a fourteenth of the time.
		node, long := someone(rng, at), between(rng, 3*time.Second, 15*time.Second)
		off, on := between(rng, 100*time.Millisecond, 400*time.Millisecond), between(rng, 30*time.Millisecond, 50*time.Millisecond)
		a := s.on(node, at, "a node that stutters", long+90*time.Second)
		a.Mute = true // as of one that pauses
		a.do = func(ctx context.Context) (err error) {
			defer s.avoid(node)()
			n := s.cluster.Node(node)
			for end := time.Now().Add(long); time.Now().Before(end) && err == nil && ctx.Err() == nil; {
				err = n.Pause()
				sleep(ctx, off)
				err = errors.Join(err, n.Resume())
				sleep(ctx, on)
			}
			return err
		}
		return a
	}},
}

// stranger is a script that has a host of its own in the clients' network say that it has an address, for so many seconds; so many
// times more, as IPaddr2 does.
const stranger = `set -e
	unshare --net sleep $((%[2]d + 60)) & p=$!
	trap 'kill $p; wait $p || :' EXIT
	until [ "$(readlink /proc/$p/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.02; done
	ip link add host$p type veth peer name eth0 netns $p
	ip link set host$p master br0 up
	nsenter -t $p --net sh -ec 'echo 1 >/proc/sys/net/ipv4/conf/all/arp_notify; ip addr add %[1]s/24 dev eth0; ip link set eth0 up; sleep 0.2
		# The kernel tells the network of a new one.
		ip link set eth0 address $(printf 02:00:0a:4d:%%02x:%%02x $(('$p' / 256 %% 256)) $(('$p' %% 256)))
		[ %[3]d = 0 ] || /usr/libexec/heartbeat/send_arp -i 200 -r %[3]d -p /tmp/host'$p'.pid eth0 %[1]s auto not_used not_used'
	sleep %[2]d`

// advised notes it if the doctor does not say these words.
func (s *scene) advised(ctx context.Context, words string) error {
	ctx, cancel := context.WithTimeout(ctx, toolTimeout)
	defer cancel()
	if _, err := s.cluster.Status(ctx); err != nil { // finds a node that answers
		return err
	}
	res, err := s.cluster.OnAny(ctx, "openstack-ocf", "doctor")
	if exit := new(cluster.ExitError); !strings.Contains(res.Stdout, words) && (err == nil || errors.As(err, &exit)) {
		s.history.Add(check.Event{Kind: check.Balked, Who: "doctor", Code: res.Code, Text: fmt.Sprintf("it does not say %q: %.300s", words, res.Stdout)})
	}
	return nil
}

// loseBMC has nobody reach the BMC until the function that it returns is called.
func (s *scene) loseBMC(ctx context.Context) (back func() error, err error) {
	rule := func(ctx context.Context, command string) error {
		argv := strings.Fields("iptables -w " + command + " INPUT -p tcp --dport " + cluster.BMCPort + " -j DROP")
		_, err := s.cluster.Client(ctx, cluster.Cmd{Argv: argv})
		return err
	}
	return func() error { return rule(context.WithoutCancel(ctx), "-D") }, rule(ctx, "-I")
}

// parted is a fault of a node's network that leaves it to corosync whom the others lose.
func (s *scene) parted(node string, at where, kind string) act {
	a := s.all(at, kind, 90*time.Second)
	a.Target, a.Fence, a.Mute = node, s.nodes(), true
	return a
}

// lossy has a node lose so many of the packets that come and go, for a while.
func (s *scene) lossy(ctx context.Context, node string, percent int, long time.Duration) error {
	some := fmt.Sprintf(" -m statistic --mode random --probability 0.%02d", percent)
	return s.drops(ctx, node, long, "INPUT -i eth0"+some, "OUTPUT -o eth0"+some)
}

// drops has a node lose, for a while, the packets that match one of these rules of iptables, each with its chain.
func (s *scene) drops(ctx context.Context, node string, long time.Duration, rules ...string) error {
	begin, end := "set -e", ":"
	for _, r := range rules {
		begin += "; iptables -w -I " + r + " -j DROP"
		end = "iptables -w -D " + r + " -j DROP; " + end
	}
	return s.meanwhile(ctx, node, long, begin, end)
}

// meanwhile runs a script on a node, and after a while another one that takes back what that did, even where the campaign ends first.
func (s *scene) meanwhile(ctx context.Context, node string, long time.Duration, begin, end string) error {
	err := s.shell(ctx, node, begin)
	sleep(ctx, long)
	return errors.Join(err, s.undo(context.WithoutCancel(ctx), node, end))
}

// undo runs a script on a node, if that is on: what it takes back does not outlive a power cut.
func (s *scene) undo(ctx context.Context, node, script string) error {
	on, err := s.cluster.Node(node).Alive(ctx)
	if err != nil || !on {
		return err
	}
	if err = s.shell(ctx, node, script); err != nil {
		if on, _ := s.cluster.Node(node).Alive(ctx); !on {
			return nil
		}
	}
	return err
}

// canLose says whether this machine's kernel can have packets lost, and slowed down.
func canLose() bool {
	const script = `ip link add name va type veth peer name vb && ip link set va up &&
		iptables -A INPUT -m statistic --mode random --probability 0.1 -j DROP &&
		iptables -A INPUT -m length --length 1000: -j DROP && tc qdisc add dev va root tbf rate 1mbit burst 4kb latency 50ms`
	return exec.Command("unshare", "--net", "sh", "-c", script).Run() == nil
}
