package plan

import (
	"regexp"
	"strings"
	"testing"

	"github.com/openstack-ocf/agents/lib/pacemaker"
)

// planned is what pcs makes of the commands below it.
const planned = `<cib><configuration><crm_config/>
<resources>
 <primitive id="fence" class="stonith" type="fence_xvm"><instance_attributes id="fence-i"><nvpair id="fence-d" name="delay" value="5"/></instance_attributes></primitive>
 <group id="g">
  <primitive id="ip" class="ocf" provider="heartbeat" type="IPaddr2"><instance_attributes id="ip-i"><nvpair id="ip-ip" name="ip" value="192.168.122.203"/></instance_attributes></primitive>
  <primitive id="db" class="ocf" provider="openstack" type="mysql-shared-storage"><instance_attributes id="db-i"><nvpair id="db-d" name="datadir" value="/var/lib/mysql"/></instance_attributes>
   <operations><op id="db-monitor-5s" name="monitor" interval="5s" timeout="20s"/></operations></primitive>
  <primitive id="last" class="ocf" provider="openstack" type="nova-consoleauth"/>
 </group>
 <clone id="lb-clone"><primitive id="lb" class="ocf" provider="openstack" type="haproxy"/><meta_attributes id="lb-m"><nvpair id="lb-m-i" name="interleave" value="true"/></meta_attributes></clone>
</resources>
<constraints><rsc_colocation id="c" rsc="g" with-rsc="lb-clone" score="INFINITY"/></constraints>
<rsc_defaults><meta_attributes id="d"><nvpair id="d-s" name="resource-stickiness" value="1"/></meta_attributes></rsc_defaults>
</configuration></cib>`

// A cluster's configuration differs in one thing, and what is said of it is what an operator gets to read before he agrees.
func TestCompare(t *testing.T) {
	step := func(k kind, makes, command string) Step {
		return Step{Args: strings.Fields(command), Makes: makes, kind: k}
	}
	want := parse(t, planned)
	b := &Built{
		CIB: want,
		Steps: []Step{
			step(resource, "fence", "stonith create fence fence_xvm delay=5"),
			step(defaults, "resource-stickiness", "resource defaults update resource-stickiness=1"),
			step(resource, "ip", "resource create ip IPaddr2 ip=192.168.122.203 --group g"),
			step(resource, "db", "resource create db ocf:openstack:mysql-shared-storage datadir=/var/lib/mysql --group g"),
			step(resource, "last", "resource create last ocf:openstack:nova-consoleauth --group g"),
			step(resource, "lb", "resource create lb ocf:openstack:haproxy clone interleave=true"),
			step(constraint, "", "constraint colocation add g with lb-clone"),
		},
	}
	b.made = make([][]*pacemaker.Element, len(b.Steps))
	b.made[6] = want.Child("configuration", "constraints").Children
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
		{"a parameter", `value="/var/lib/mysql"`, `value="/srv"`, "pcs resource update db datadir=/var/lib/mysql", "", ""},
		{"a parameter too many", `(name="ip" value="192.168.122.203"/>)`, `$1<nvpair id="x" name="nic" value="eth0"/>`, "pcs resource update ip nic=", "", ""},
		{"a password of somebody else's", `(value="/var/lib/mysql"/>)`, `$1<nvpair id="x" name="test_passwd" value="secret"/>`, "", "", ""},
		{"a device's parameter", `name="delay" value="5"`, `name="delay" value="9"`, "pcs stonith update fence delay=5", "", ""},
		{"an operation", `interval="5s" timeout="20s"`, `interval="9s" timeout="20s"`, "pcs resource op remove db-monitor-5s\npcs resource op add db monitor interval=5s timeout=20s", "", ""},
		{"a clone's option", `name="interleave" value="true"`, `name="interleave" value="false"`, "pcs resource meta lb-clone interleave=true", "", ""},
		{"no constraint", `<rsc_colocation [^/]*/>`, ``, "pcs constraint colocation add g with lb-clone", "", ""},
		{"the last of the group is missing", `<primitive id="last"[^/]*/>`, ``, "pcs resource create last ocf:openstack:nova-consoleauth --group g", "", ""},
		{"one in the middle is missing", `(?s)  <primitive id="db".*?</primitive>`, ``, "pcs resource create db ocf:openstack:mysql-shared-storage datadir=/var/lib/mysql --group g --before last", "", ""},
		{"the first is missing", `(?s)  <primitive id="ip".*?</primitive>`, ``, "pcs resource create ip IPaddr2 ip=192.168.122.203 --group g --before db", "", ""},
		{"no group", `(?s) <group id="g">.*</group>`, ``, "pcs resource create ip IPaddr2 ip=192.168.122.203 --group g\n" +
			"pcs resource create db ocf:openstack:mysql-shared-storage datadir=/var/lib/mysql --group g\npcs resource create last ocf:openstack:nova-consoleauth --group g", "", ""},
		{"another agent", db, strings.Replace(db, "openstack", "heartbeat", 1), "", "db is ocf:heartbeat:mysql-shared-storage in the cluster.*openstack-ocf swap --to ocf:openstack:mysql-shared-storage db", ""},
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
