// Package floatingip is the agent ocf:openstack:floating-ip: an address that is on one node at a time. It has no daemon:
// the address is in the kernel, which is asked and told by netlink, without a process.
package floatingip

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openstack-ocf/agents/lib/rtnl"
	"github.com/openstack-ocf/agents/ocf"
)

const long = `Puts an IPv4 or IPv6 address on one node at a time, by the parameters of ocf:heartbeat:IPaddr2, and tells the
other hosts of the network where it is. A resource of that agent becomes one of this by its type alone.

The address is the resource: whoever put it there, and at whichever interface of this node it is, it is known, and a stop
removes it. Only the interface lo has addresses that are not meant, unless nic says lo.

The monitor's level 0 is enough alone: the address is there, at an interface that is switched on and connected, and
no other host has it too, which it asks the network once a minute. Level 10 asks it each time.`

// agent holds the parameters.
type agent struct {
	ip                                       netip.Addr
	prefix                                   int // -1: as the routes say
	nic, label, broadcast, namespace         string
	arpCount, arpInterval, arpRefresh        int
	background, probe, noDAD, noRoute, check bool
	unpreferred                              bool // by an address label
	addrLabel                                int
	preferred                                uint32
	ignored                                  string // of what has no meaning here
	ignoredBool                              bool
}

// New declares the agent.
func New() ocf.Agent { return newAgent().declare() }

func newAgent() *agent { return &agent{prefix: -1, background: true, preferred: rtnl.Forever} }

func (a *agent) declare() ocf.Agent {
	return ocf.Agent{
		Name: "floating-ip", Version: "1.0", Short: "An IPv4 or IPv6 address on one node at a time", Long: long,
		Parameters: append([]ocf.Parameter{
			{Name: "ip", Value: ocf.Parsed(new(string), a.parseIP), Required: true, UniqueGroup: "address", Short: "The address", Long: "IPv4, such as 192.0.2.10, or IPv6, such as 2001:db8::10."},
			{Name: "nic", Value: ocf.String(&a.nic), Short: "Network interface", Long: "Without it, the interface by which the routes say that the address's network is reached. An IPv6 address that begins with fe80 needs it. `eth0:label` is understood as nic and iflabel."},
			{Name: "cidr_netmask", Value: ocf.Parsed(new(string), a.parsePrefix), Short: "Bits of the address that are the network's", Long: "Such as 24. Without it, as many as the route has by which the network is reached. A netmask such as 255.255.255.0 is understood."},
			{Name: "broadcast", Value: ocf.Parsed(&a.broadcast, parseBroadcast), Short: "Broadcast address", Long: "Of IPv4: an address, or `+` or `-` for the network's last or first. Without it, that of the interface's own address in the network."},
			{Name: "iflabel", Value: ocf.String(&a.label), Short: "Label of the address", Long: "Of IPv4: it is shown behind the interface's name and a colon, with them in 15 characters at most."},
			{Name: "network_namespace", Value: ocf.Parsed(&a.namespace, parseNamespace), UniqueGroup: "address", Short: "Network namespace to work in", Long: "By the name that `ip netns` knows it by."},
			{Name: "arp_count", Value: ocf.Int(&a.arpCount, 1, 1000), Default: "5", Reloadable: true, Short: "How often a start tells the network", Long: "By ARP (IPv4) or neighbour advertisements (IPv6)."},
			{Name: "arp_interval", Value: ocf.Int(&a.arpInterval, 1, 60000), Default: "200", Reloadable: true, Short: "Milliseconds between them", Long: "The first is sent at once."},
			{Name: "arp_bg", Value: ocf.Parsed(new(string), a.parseBackground), Reloadable: true, Short: "Whether to send them in the background", Long: "By a process that ends with the last, or when the address is removed. It is the default."},
			{Name: "arp_count_refresh", Value: ocf.Int(&a.arpRefresh, 0, 1000), Default: "0", Reloadable: true, Short: "How often a monitor tells the network", Long: "By itself and not in the background: more than one takes arp_interval each."},
			{Name: "run_arping", Value: ocf.Bool(&a.probe), Default: "false", Reloadable: true, Short: "Whether a start asks first who has the address", Long: "Of IPv4, by ARP, for half a second; of IPv6 the kernel always does, see nodad."},
			{Name: "nodad", Value: ocf.Bool(&a.noDAD), Default: "false", Reloadable: true, Short: "Without duplicate address detection (IPv6)", Long: "The address is usable at once, whoever has it too."},
			{Name: "noprefixroute", Value: ocf.Bool(&a.noRoute), Default: "false", Short: "Without a route to the address's network", Long: "See ip-address(8)."},
			{Name: "preferred_lft", Value: ocf.Parsed(new(string), a.parsePreferred), Default: "forever", Short: "Preferred lifetime (IPv6)", Long: "Seconds, or `forever`. With 0 no new connection is made from the address unless a program asks for it."},
			{Name: "lvs_ipv6_addrlabel", Value: ocf.Bool(&a.unpreferred), Default: "true", Short: "Do not send from the address unasked (IPv6)", Long: "By a label of its own (ip-addrlabel(8)). The kernel prefers the last address that was added: connections\nthat this node itself makes would come from this one, and break when it moves. Newer releases of\nocf:heartbeat:IPaddr2 have this default."},
			{Name: "lvs_ipv6_addrlabel_value", Value: ocf.Int(&a.addrLabel, 0, 1<<31-1), Default: "99", Short: "The label", Long: "Any that no other address or network has."},
			{Name: "check_link_status", Value: ocf.Bool(&a.check), Default: "true", Reloadable: true, Short: "Whether an interface without a carrier is a failure", Long: "As in newer releases of ocf:heartbeat:IPaddr2: a start and a monitor fail then, and the cluster moves the address. With false it is a handicap that is told, and the address stays."},
		}, a.others()...),
		Validate: a.validate,
		Actions: []ocf.Action{
			{Name: ocf.Start, Timeout: 20 * time.Second, Run: a.in(a.start)},
			{Name: ocf.Stop, Timeout: 20 * time.Second, Run: a.in(a.stop)},
			{Name: ocf.Monitor, Timeout: 80 * time.Second, Interval: 2 * time.Second, Run: a.in(a.monitor)},
			{Name: ocf.ReloadAgent, Timeout: 20 * time.Second, Run: func(context.Context, *ocf.Request) error { return nil }},
			{Name: ocf.ValidateAll, Timeout: 20 * time.Second, Run: a.validateAll},
		},
	}
}

// others are the parameters of ocf:heartbeat:IPaddr2 that have no meaning here: what would make something else of the
// resource is refused, the rest changes nothing.
func (a *agent) others() []ocf.Parameter {
	refuse := func(name, usual, why string) ocf.Parameter {
		return ocf.Parameter{Name: name, Default: usual, Deprecated: "it is refused", Short: "Only its default is taken", Long: "For another value keep ocf:heartbeat:IPaddr2: " + why + ".", Value: ocf.Parsed(new(string), func(s string) (string, error) {
			given, ok := ocf.ParseBool(s)
			if s != usual && (!ok || given) {
				return "", errors.New(why + ": keep ocf:heartbeat:IPaddr2 for it")
			}
			return s, nil
		})}
	}
	unused := func(name string, v ocf.Value, usual, why string) ocf.Parameter {
		return ocf.Parameter{Name: name, Value: v, Default: usual, Deprecated: "it changes nothing", Short: "Changes nothing", Long: why}
	}
	return []ocf.Parameter{
		refuse("lvs_support", "false", "this agent does not keep the address on lo"),
		refuse("unique_clone_address", "false", "this agent has one address"),
		refuse("clusterip_hash", "sourceip-sourceport", "this agent has no address on several nodes"),
		refuse("mac", "", "this agent has no address on several nodes"),
		unused("proto", ocf.String(&a.ignored), "", "Of the routes by which the network is reached, the one to the smallest network counts."),
		unused("clusterip_firewall", ocf.String(&a.ignored), "auto", "The agent has no address on several nodes."),
		unused("clusterip_hash_seed", ocf.String(&a.ignored), "", "The agent has no address on several nodes."),
		unused("clusterip_table", ocf.String(&a.ignored), "mangle", "The agent has no address on several nodes."),
		unused("clusterip_chain", ocf.String(&a.ignored), "PREROUTING", "The agent has no address on several nodes."),
		unused("clusterip_mac_mangle", ocf.Bool(&a.ignoredBool), "false", "The agent has no address on several nodes."),
		unused("arp_sender", ocf.String(&a.ignored), "", "The agent itself sends, requests and replies."),
		unused("send_arp_opts", ocf.String(&a.ignored), "", "The agent itself sends, requests and replies."),
		unused("flush_routes", ocf.Bool(&a.ignoredBool), "false", "Linux has no cache of routes since 3.6."),
		unused("monitor_retries", ocf.String(&a.ignored), "1", "A monitor finds the address, not the interface."),
	}
}

func (a *agent) parseIP(s string) (string, error) {
	ip, err := netip.ParseAddr(s)
	switch {
	case err != nil || ip.Zone() != "" || ip.Is4In6():
		return "", errors.New("want an address, such as 192.0.2.10 or 2001:db8::10, and no prefix or interface with it")
	case ip.IsUnspecified() || ip.IsMulticast() || ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "", errors.New("no host has such an address")
	}
	a.ip = ip
	return s, nil
}

func (a *agent) parsePrefix(s string) (string, error) {
	if n, err := strconv.Atoi(s); err == nil && n >= 1 && n <= 128 {
		a.prefix = n
		return s, nil
	}
	if mask, err := netip.ParseAddr(s); err == nil && mask.Is4() {
		bits := mask.As4()
		for n := 1; n <= 32; n++ {
			if p, _ := netip.AddrFrom4([4]byte{255, 255, 255, 255}).Prefix(n); p.Addr().As4() == bits {
				a.prefix = n
				return s, nil
			}
		}
	}
	return "", errors.New("want the number of bits, such as 24 or 64")
}

func parseBroadcast(s string) (string, error) {
	if ip, err := netip.ParseAddr(s); s != "" && s != "+" && s != "-" && (err != nil || !ip.Is4()) {
		return "", errors.New("want an IPv4 address, + or -")
	}
	return s, nil
}

func parseNamespace(s string) (string, error) {
	if strings.Contains(s, "/") || s == "." || s == ".." {
		return "", errors.New("want a name of ip netns, no path")
	}
	return s, nil
}

func (a *agent) parseBackground(s string) (string, error) {
	v, ok := ocf.ParseBool(s)
	if !ok {
		return "", errors.New("want a boolean: true or false")
	}
	a.background = v
	return s, nil
}

func (a *agent) parsePreferred(s string) (string, error) {
	if s == "forever" {
		return s, nil
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return "", errors.New("want seconds, or forever")
	}
	a.preferred = uint32(n)
	return s, nil
}

// validate looks at the parameters beside each other.
func (a *agent) validate(*ocf.Request) error {
	nic, label := a.where()
	switch {
	case a.ip.Is4() && a.prefix > 32:
		return ocf.Errorf(ocf.NotConfigured, "cidr_netmask is %d: an IPv4 address has 32 bits", a.prefix)
	case a.ip.Is6() && a.broadcast != "":
		return ocf.Errorf(ocf.NotConfigured, "broadcast is set, and IPv6 has none")
	case a.ip.IsLinkLocalUnicast() && a.ip.Is6() && nic == "":
		return ocf.Errorf(ocf.NotConfigured, "nic is needed: every interface has the network of %s", a.ip)
	case label != "" && nic != "" && len(nic)+1+len(label) > 15:
		return ocf.Errorf(ocf.NotConfigured, "the label %s:%s has more than 15 characters: shorten iflabel", nic, label)
	}
	return nil
}

// where is the interface's name and the address's label.
func (a *agent) where() (nic, label string) {
	if nic, label, ok := strings.Cut(a.nic, ":"); ok {
		return nic, label
	}
	return a.nic, a.label
}

// family is that of the address.
func (a *agent) family() byte {
	if a.ip.Is6() {
		return inet6
	}
	return inet
}

// at is an address as it is shown, such as "192.0.2.10/24 at eth0".
func at(k *rtnl.Conn, address rtnl.Address) string {
	link, err := k.LinkByIndex(address.Index)
	if err != nil {
		return fmt.Sprintf("%s at interface %d", address.Prefix, address.Index)
	}
	return fmt.Sprintf("%s at %s", address.Prefix, link.Name)
}

func list(k *rtnl.Conn, addresses []rtnl.Address) string {
	var words []string
	for _, address := range addresses {
		words = append(words, at(k, address))
	}
	slices.Sort(words)
	return strings.Join(words, " and ")
}
