package plan

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/openstack-ocf/agents/lib/placement"
)

// planned is what comes of the steps below it.
const planned = `<cib><configuration><crm_config/>
<resources>
 <primitive id="fence" class="stonith" type="fence_xvm"><instance_attributes id="fence-i"><nvpair id="fence-d" name="delay" value="5"/></instance_attributes></primitive>
 <group id="g">
  <primitive id="ip" class="ocf" provider="openstack" type="floating-ip"><instance_attributes id="ip-i"><nvpair id="ip-ip" name="ip" value="192.168.122.203"/></instance_attributes></primitive>
  <primitive id="db" class="ocf" provider="openstack" type="mysql-shared-storage"><instance_attributes id="db-i"><nvpair id="db-d" name="datadir" value="/var/lib/mysql"/></instance_attributes>
   <operations><op id="db-monitor-5s" name="monitor" interval="5s" timeout="20s"/></operations></primitive>
  <primitive id="last" class="ocf" provider="openstack" type="nova-consoleauth"/>
 </group>
 <clone id="lb-clone"><primitive id="lb" class="ocf" provider="openstack" type="haproxy"/><meta_attributes id="lb-m"><nvpair id="lb-m-i" name="interleave" value="true"/></meta_attributes></clone>
</resources>
<constraints><rsc_colocation id="c" rsc="g" with-rsc="lb-clone" score="INFINITY"/></constraints>
<rsc_defaults><meta_attributes id="d"><nvpair id="d-s" name="resource-stickiness" value="1"/><nvpair id="d-f" name="failure-timeout" value="2min"/></meta_attributes></rsc_defaults>
</configuration></cib>`

// hush is what nobody may read of a cluster.
const hush = "hUsH7"

// A cluster's configuration differs in one thing, and what is said of it is what an operator gets to read before he agrees.
func TestCompare(t *testing.T) {
	set := func(name, value string) []placement.Setting { return []placement.Setting{{Name: name, Value: value}} }
	b := &Built{
		CIB: parse(t, planned),
		Steps: []Step{
			create(&primitive{id: "fence", agent: "stonith:fence_xvm", parameters: set("delay", "5")}),
			setDefault("resource-stickiness", "1"),
			fallback("failure-timeout", "2min"),
			create(&primitive{id: "ip", agent: "ocf:openstack:floating-ip", usual: "ocf:heartbeat:IPaddr2", parameters: set("ip", "192.168.122.203"), group: "g"}),
			create(&primitive{
				id: "db", agent: "ocf:openstack:mysql-shared-storage", parameters: set("datadir", "/var/lib/mysql"), group: "g",
				operations: []operation{{"name": "monitor", "interval": "5s", "timeout": "20s"}},
			}),
			create(&primitive{id: "last", agent: "ocf:openstack:nova-consoleauth", group: "g"}),
			create(&primitive{id: "lb", agent: "ocf:openstack:haproxy", clone: set("interleave", "true")}),
			colocate("g", "lb-clone", ""),
		},
	}
	const db = `  <primitive id="db" class="ocf" provider="openstack" type="mysql-shared-storage">`
	for _, c := range []struct {
		name, was, is string // what of planned is otherwise in the cluster: an expression, and what stands in its place
		commands      string // one a line
		refused, left string // expressions
	}{
		{"nothing", "", "", "", "", ""},
		{"the ids of nvpairs", `"ip-ip"`, `"another"`, "", "", ""},
		{"the id of a constraint", `id="c"`, `id="another"`, "", "", ""},
		{"a default", `name="resource-stickiness" value="1"`, `name="resource-stickiness" value="0"`, "pcs resource defaults update resource-stickiness=1", "", ""},
		{"a default that is not there", `<nvpair id="d-f" name="failure-timeout" value="2min"/>`, "", "pcs resource defaults update failure-timeout=2min", "", ""},
		{"a default of the operator's own", `value="2min"`, `value="1h"`, "", "", ""},
		{"a parameter", `value="/var/lib/mysql"`, `value="/srv"`, "pcs resource update db datadir=/var/lib/mysql", "", ""},
		{"a parameter too many", `(name="ip" value="192.168.122.203"/>)`, `$1<nvpair id="x" name="nic" value="eth0"/>`, "", "", "^ip nic$"},
		{"a password of somebody else's", `(value="/var/lib/mysql"/>)`, `$1<nvpair id="x" name="test_passwd" value="secret"/>`, "", "", "^db test_passwd$"},
		{
			"a password in an operation", `interval="5s" timeout="20s"/>`, `interval="5s" timeout="9s"><instance_attributes id="x"><nvpair id="y" name="PASSWORD" value="` + hush + `"/></instance_attributes></op>`,
			"pcs resource op remove db-monitor-5s\npcs resource op add db monitor PASSWORD=(secret) interval=5s timeout=20s", "", "",
		},
		{"a password where the file has none", `value="/var/lib/mysql"`, `value="nfs://user:` + hush + `@host/"`, "pcs resource update db datadir=/var/lib/mysql", "", ""},
		{"a secret default", `name="resource-stickiness" value="1"`, `name="resource-stickiness" value="token=` + hush + `"`, "pcs resource defaults update resource-stickiness=1", "", ""},
		{"a device's parameter", `name="delay" value="5"`, `name="delay" value="9"`, "pcs stonith update fence delay=5", "", ""},
		{"an operation", `interval="5s" timeout="20s"`, `interval="9s" timeout="20s"`, "pcs resource op remove db-monitor-5s\npcs resource op add db monitor interval=5s timeout=20s", "", ""},
		{"what the file does not say of an operation", `interval="5s" timeout="20s"`, `interval="5000ms" timeout="20" on-fail="standby"`, "", "", ""},
		{"an operation with more to it", `interval="5s" timeout="20s"`, `interval="5s" timeout="9s" on-fail="standby"`, "pcs resource op remove db-monitor-5s\npcs resource op add db monitor interval=5s on-fail=standby timeout=20s", "", ""},
		{"another operation", `(timeout="20s"/>)`, `$1<op id="x" name="stop" interval="0s" timeout="900s"/>`, "", "", ""},
		{"two sets of attributes", `(?s)(<instance_attributes id="db-i">.*?)value="/var/lib/mysql"(/></instance_attributes>)`, `<instance_attributes id="first"><nvpair id="y" name="datadir" value="/srv"/></instance_attributes>${1}value="/x"${2}`, "", "db has more than one set of instance attributes.*datadir=/var/lib/mysql", ""},
		{"roles of before Pacemaker 2.1", `<rsc_colocation id="c" `, `<rsc_colocation id="c" rsc-role="Started" `, "", "", ""},
		{"a clone's option", `name="interleave" value="true"`, `name="interleave" value="false"`, "pcs resource meta lb-clone interleave=true", "", ""},
		{"no constraint", `<rsc_colocation [^/]*/>`, ``, "pcs constraint colocation add g with lb-clone", "", ""},
		{"the last of the group is missing", `<primitive id="last"[^/]*/>`, ``, "pcs resource create last ocf:openstack:nova-consoleauth --group g", "", ""},
		{"one in the middle is missing", `(?s)  <primitive id="db".*?</primitive>`, ``, "pcs resource create db ocf:openstack:mysql-shared-storage datadir=/var/lib/mysql op monitor interval=5s timeout=20s --group g --before last", "", ""},
		{"the first is missing", `(?s)  <primitive id="ip".*?</primitive>`, ``, "pcs resource create ip ocf:openstack:floating-ip ip=192.168.122.203 --group g --before db", "", ""},
		{"no group", `(?s) <group id="g">.*</group>`, ``, "pcs resource create ip ocf:openstack:floating-ip ip=192.168.122.203 --group g\n" +
			"pcs resource create db ocf:openstack:mysql-shared-storage datadir=/var/lib/mysql op monitor interval=5s timeout=20s --group g\npcs resource create last ocf:openstack:nova-consoleauth --group g", "", ""},
		{"another agent", db, strings.Replace(db, "openstack", "heartbeat", 1), "", "db is ocf:heartbeat:mysql-shared-storage in the cluster.*openstack-ocf swap --to ocf:openstack:mysql-shared-storage db", ""},
		{"the agent that was usual before", `provider="openstack" type="floating-ip"`, `provider="heartbeat" type="IPaddr2"`, "", "", "^ip ocf:heartbeat:IPaddr2$"},
		{"neither the usual agent nor that", `provider="openstack" type="floating-ip"`, `provider="heartbeat" type="IPaddr"`, "", "ip is ocf:heartbeat:IPaddr in the cluster.*openstack-ocf swap --to ocf:openstack:floating-ip ip", ""},
		{"in another group", `id="g"`, `id="h"`, "", "ip is in the group h in the cluster, and is to be in the group g.*stops it", ""},
		{"no clone", `(?s)<clone id="lb-clone">(<primitive id="lb"[^/]*/>).*</clone>`, `$1`, "", "lb is by itself in the cluster, and is to be in the clone lb-clone", ""},
		{"another order", `(?s)(  <primitive id="ip".*?</primitive>)(.*)(</group>)`, `$2$1$3`, "", "the group g has the order db, last, ip, and is to have ip, db, last", ""},
		{"what the file does not know", `</resources>`, `<primitive id="web" class="ocf" provider="heartbeat" type="apache"/></resources>`, "", "", "^web$"},
	} {
		t.Run(c.name, func(t *testing.T) {
			live := planned
			if c.was != "" {
				if live = regexp.MustCompile(c.was).ReplaceAllString(planned, c.is); live == planned {
					t.Fatal("nothing was replaced")
				}
			}
			d := b.Compare(parse(t, live))
			if all := (&Pending{Difference: d}).String(); strings.Contains(all, hush) {
				t.Errorf("a password is shown:\n%s", all)
			}
			var steps []Step
			for _, change := range d.Changes {
				steps = append(steps, change.Steps...)
			}
			if got := join(steps, "\n"); got != c.commands {
				t.Errorf("commands:\n%s\nwant\n%s", got, c.commands)
			}
			for _, list := range []struct {
				what string
				got  []string
				want string
			}{{"refused", d.Refused, c.refused}, {"left", d.Left, c.left}} {
				if got := strings.Join(list.got, "\n"); list.want == "" && got != "" || !regexp.MustCompile(list.want).MatchString(got) {
					t.Errorf("%s: %s, want %s", list.what, got, list.want)
				}
			}
		})
	}
}

// TestConfined: apply and plan tell what this node's policies would refuse, once.
func TestConfined(t *testing.T) {
	place := &placement.Place{Confined: func(root string, parameter func(string) string) string {
		return root + " refuses " + parameter("datadir")
	}}
	datadir := []pair{{name: word{s: "datadir"}, value: word{s: "/srv/db"}}}
	cp := &ControlPlane{services: []service{{place: place, parameters: datadir}, {place: place, parameters: datadir}, {place: &placement.Place{}}, {}}}
	p := &Pending{Difference: &Difference{}, Confined: cp.confined(t.Context(), "/root")}
	if got, want := p.String(), "nothing is left to do\non this node: /root refuses /srv/db\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := (&Plan{Confined: p.Confined}).Script(), "# On this node: /root refuses /srv/db\n\n# A new cluster"; !strings.HasPrefix(got, want) {
		t.Errorf("%q, not %q at first", got, want)
	}
}

// TestDisputed: and who else would mount the storage, here a unit that is enabled.
func TestDisputed(t *testing.T) {
	root := t.TempDir()
	for path, text := range map[string]string{
		"srv-db.mount": "[Mount]\nWhat=/dev/of-nobody\nWhere=/srv/db\n", "multi-user.target.wants/srv-db.mount": "",
	} {
		path = filepath.Join(root, "etc/systemd/system", path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cp := &ControlPlane{storage: []storage{{device: word{s: "/dev/of-nobody"}, directory: word{s: "/srv/other"}}, {device: word{s: "/dev/of-nobody-else"}, directory: word{s: "/srv/another"}}}}
	p := &Pending{Difference: &Difference{}, Storage: cp.disputed(t.Context(), root)}
	const want = "systemd mounts /dev/of-nobody on /srv/db at boot, behind the cluster's back ("
	if got := p.String(); !strings.HasPrefix(got, "nothing is left to do\non this node: "+want) || len(p.Storage) != 1 {
		t.Errorf("%q", got)
	}
	if got := (&Plan{Storage: p.Storage}).Script(); !strings.HasPrefix(got, "# On this node: "+want) {
		t.Errorf("%q", got)
	}
}

// TestMislabelled: and of a unit's program that it would not run in its own domain.
func TestMislabelled(t *testing.T) {
	root := t.TempDir()
	program := filepath.Join(root, "usr/sbin/haproxy")
	for path, text := range map[string]string{
		"sys/fs/selinux/enforce": "1", "usr/sbin/haproxy": "", "usr/lib/systemd/system/haproxy.service": "[Service]\nExecStart=" + program + " -Ws\n",
		"usr/sbin/restorecon": "#!/bin/sh\necho Would relabel $3 from system_u:object_r:bin_t:s0 to system_u:object_r:haproxy_exec_t:s0\n",
	} {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	balancer := service{place: &placement.Place{}, unit: word{s: "haproxy.service"}}
	cp := &ControlPlane{services: []service{balancer, balancer, {place: &placement.Place{}}}}
	if got := cp.confined(t.Context(), root); len(got) != 1 || !strings.Contains(got[0], program+" is labelled bin_t, not haproxy_exec_t") {
		t.Errorf("it tells %q", got)
	}
}

// TestEnabledAtBoot: apply tells of units that systemd starts at boot, also where it has nothing to do.
func TestEnabledAtBoot(t *testing.T) {
	root := t.TempDir()
	wants := filepath.Join(root, "etc/systemd/system/multi-user.target.wants")
	if err := os.MkdirAll(wants, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/usr/lib/systemd/system/haproxy.service", filepath.Join(wants, "haproxy.service")); err != nil {
		t.Fatal(err)
	}
	cp := &ControlPlane{services: []service{{unit: word{s: "haproxy.service"}}, {unit: word{s: "mariadb.service"}}, {}}}
	p := &Pending{Difference: &Difference{}, Enabled: cp.enabled(root)}
	const want = "nothing is left to do\non this node systemd starts haproxy.service at boot, behind the cluster's back: systemctl disable haproxy.service\n"
	if got := p.String(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
