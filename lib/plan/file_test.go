// These tests see the package from outside, with all agents.

package plan_test

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"

	"github.com/openstack-ocf/agents/agents/floatingip"
	"github.com/openstack-ocf/agents/agents/haproxy"
	"github.com/openstack-ocf/agents/agents/mysql"
	"github.com/openstack-ocf/agents/agents/openstack"
	"github.com/openstack-ocf/agents/agents/qpidd"
	"github.com/openstack-ocf/agents/agents/sharedstorage"
	"github.com/openstack-ocf/agents/lib/placement"
	"github.com/openstack-ocf/agents/lib/plan"
	"github.com/openstack-ocf/agents/test/needs"
)

func agents() map[string]placement.Agent {
	m := map[string]placement.Agent{
		"floating-ip":          {New: floatingip.New, Place: floatingip.Place()},
		"haproxy":              {New: haproxy.New, Place: haproxy.Place()},
		"mysql-shared-storage": {New: mysql.New, Place: mysql.Place()},
		"qpidd":                {New: qpidd.New, Place: qpidd.Place()},
		"shared-storage":       {New: sharedstorage.New, Place: sharedstorage.Place()},
	}
	places := openstack.Places()
	for name, declare := range openstack.Agents() {
		m[name] = placement.Agent{New: declare, Place: places[name]}
	}
	return m
}

// good is a file that nothing is wrong with; the lines count.
const good = `nodes:
  node1: 192.168.122.3
  node2: 192.168.122.7
floating_ip: 192.168.122.203
group: g
storage:
  device: /dev/sdb1
  directory: /var/lib/mysql
  fstype: ext4
services:
  - name: db
    agent: mysql
  - haproxy
apis:
  - nova
  - {name: own, port: 1234}
fencing:
  - agent: fence_xvm
    nodes: [node1, node2]
`

func TestGoodFile(t *testing.T) {
	if _, err := plan.Read("f", []byte(good), agents()); err != nil {
		t.Fatal(err)
	}
}

// TestStorageAgent is who mounts the storage: shared-storage, if the file names nobody else, but Filesystem for NFS.
func TestStorageAgent(t *testing.T) {
	for named, want := range map[string]string{
		"": "ocf:openstack:shared-storage", "  agent: ocf:heartbeat:Filesystem\n": "ocf:heartbeat:Filesystem", "  agent: shared-storage\n": "ocf:openstack:shared-storage",
		"  agent: ocf:openstack:shared-storage\n": "ocf:openstack:shared-storage", "  agent: ocf:heartbeat:LVM-activate\n": "ocf:heartbeat:LVM-activate",
	} {
		cp, err := plan.Read("f", []byte(strings.Replace(good, "  fstype: ext4\n", "  fstype: ext4\n"+named, 1)), agents())
		if err != nil {
			t.Errorf("%q: %v", named, err)
			continue
		}
		nfs, err := plan.Read("f", []byte(strings.Replace(good, "fstype: ext4\n", "fstype: nfs4\n"+named, 1)), agents())
		if asNFS := cmp.Or(map[string]string{"": "ocf:heartbeat:Filesystem"}[named], want); err != nil || !strings.Contains(fmt.Sprint(nfs.Steps()), asNFS+" device=") {
			t.Errorf("%q: want %s for NFS; %v", named, asNFS, err)
		}
		steps := fmt.Sprint(cp.Steps())
		if !strings.Contains(steps, want+" device=/dev/sdb1 directory=/var/lib/mysql fstype=ext4") {
			t.Errorf("%q: want %s in\n%s", named, want, steps)
		}
	}
}

// TestFloatingIPAgent is who holds floating IPs: floating-ip, if the file names nobody else.
func TestFloatingIPAgent(t *testing.T) {
	for named, want := range map[string]string{"": "ocf:openstack:floating-ip", "floating_ip_agent: ocf:heartbeat:IPaddr2\n": "ocf:heartbeat:IPaddr2", "floating_ip_agent: floating-ip\n": "ocf:openstack:floating-ip", "floating_ip_agent: ocf:heartbeat:IPaddr\n": "ocf:heartbeat:IPaddr"} {
		cp, err := plan.Read("f", []byte(named+good), agents())
		if err != nil {
			t.Errorf("%q: %v", named, err)
		} else if steps := fmt.Sprint(cp.Steps()); !strings.Contains(steps, "ip-192.168.122.203 "+want+" ip=192.168.122.203") {
			t.Errorf("%q: want %s in\n%s", named, want, steps)
		}
	}
}

// Every mistake is told with its line and with what is expected there.
func TestBadFiles(t *testing.T) {
	for _, c := range []struct {
		name, old, new string // what is replaced in good
		line           int
		want           string // expression that one of the errors matches
	}{
		{"no YAML", "group: g", "group: [g", 6, "no YAML"},
		{"a tab", "  device: /dev/sdb1", "\tdevice: /dev/sdb1", 7, "no YAML"},
		{"empty", good, "", 1, "one YAML document"},
		{"a list", good, "- nodes\n", 1, "want a control plane"},
		{"two documents", "group: g", "---\ngroup: g", 1, "one YAML document"},
		{"unknown key", "group: g", "gruop: g", 5, `"gruop" is not known.*group`},
		{"key twice", "group: g", "group: g\ngroup: h", 6, "already defined"},
		{"no nodes", "nodes:\n  node1: 192.168.122.3\n  node2: 192.168.122.7\n", "", 1, "nodes is missing, such as `nodes:"},
		{"one node", "  node2: 192.168.122.7\n", "", 2, "one node cannot take over"},
		{"no address of a node", "192.168.122.7", "here", 3, `"here" of node2`},
		{"same address", "192.168.122.7", "192.168.122.3", 3, "is that of node1"},
		{"name of a node", "  node2:", "  no de2:", 3, "want a name of letters"},
		{"node without address", "  node2: 192.168.122.7", "  node2:", 3, "want the node's address"},
		{"no floating IP", "floating_ip: 192.168.122.203\n", "", 1, "floating_ip is missing"},
		{"a bad floating IP", "192.168.122.203", "192.168.122.203/64", 4, "192.168.122.203/24"},
		{"floating IP is a node's", "192.168.122.203", "192.168.122.7", 4, "no node has by itself"},
		{"an agent that holds no address", "floating_ip:", "floating_ip_agent: qpidd\nfloating_ip:", 4, "qpidd holds no floating IP: it has no parameter ip"},
		{"no device", "  device: /dev/sdb1\n", "", 7, "storage needs a device"},
		{"an agent that mounts nothing", "  device: /dev/sdb1\n", "  device: /dev/sdb1\n  agent: qpidd\n", 8, "qpidd mounts no storage: it has no parameter directory"},
		{"an unknown agent of storage", "  device: /dev/sdb1\n", "  device: /dev/sdb1\n  agent: Filesystm\n", 8, `no agent "Filesystm".*ocf:heartbeat:Filesystem`},
		{"storage's password", "  device: /dev/sdb1\n", "  device: //nas/db\n  options: username=db,password=x\n", 8, "options does not belong here.*"},
		{"a unit of another agent", "  - haproxy", "  - haproxy\n  - {name: x, agent: ocf:heartbeat:nginx, unit: nginx}", 14, "a unit is for agents of this suite, which ocf:heartbeat:nginx is not.*systemd:nginx"},
		{"a socket for a unit", "agent: mysql", "agent: mysql\n    unit: mariadb.socket", 13, "mariadb.socket is a socket, and no service"},
		{"a template for a unit", "agent: mysql", "agent: mysql\n    unit: mariadb@", 13, "name an instance of it"},
		{"a unit twice", "agent: mysql", "agent: mysql\n    unit: mariadb\n    parameters: {unit: mysql}", 14, "the unit is said in line 13 already"},
		{"a parameter beside a unit", "agent: mysql", "agent: mysql\n    unit: mariadb\n    parameters:\n      datadir: /x\n      additional_parameters: --port=1", 16, "additional_parameters says how the service is run, and so does unit=mariadb.service.*systemctl edit"},
		{"a parameter beside a unit among them", "agent: mysql", "agent: mysql\n    parameters:\n      log: /x\n      unit: mariadb", 14, "log says how the service is run"},
		{"relative directory", "/var/lib/mysql", "mysql", 8, "absolute path"},
		{"no services", "services:\n  - name: db\n    agent: mysql\n  - haproxy\n", "", 1, "services is missing"},
		{"services are no list", "  - name: db\n    agent: mysql\n  - haproxy\n", "  mysql: {}\n", 11, "as a list"},
		{"unknown agent", "agent: mysql", "agent: msyql", 12, `no agent "msyql": want one of .*mysql-shared-storage`},
		{"unknown parameter", "agent: mysql", "agent: mysql\n    parameters: {datdir: /x}", 13, `no parameter "datdir".*openstack-ocf describe mysql-shared-storage`},
		{"parameter's value", "agent: mysql", "agent: mysql\n    parameters:\n      datadir: x", 14, `datadir "x": want an absolute path`},
		{"password", "agent: mysql", "agent: mysql\n    parameters: {test_passwd: x}", 13, "test_passwd does not belong here.*test_defaults_file"},
		{"fencing's password", "    nodes: [node1", "    parameters: {password: x}\n    nodes: [node1", 19, "password does not belong here.*password_script"},
		{"name twice", "  - haproxy", "  - haproxy\n  - {name: db, agent: qpidd}", 14, "db is taken in line 11"},
		{"name of XML", "name: db", "name: 1db", 11, "a letter first"},
		{"run", "agent: mysql", "agent: mysql\n    run: everywhere", 13, "want group .* clone .* promotable"},
		{"ip of a clone", "agent: mysql", "agent: mysql\n    run: clone\n    ip: 1.2.3.4", 14, "run: promotable"},
		{"nodes in the group", "agent: mysql", "agent: mysql\n    nodes: [node1]", 13, "runs where the group runs"},
		{"no such node", "agent: mysql", "agent: nova-scheduler\n    run: clone\n    nodes: [node3]", 14, `"node3" is not one of the nodes`},
		{"unknown API", "- nova", "- novva", 15, "say its port"},
		{"port", "1234", "70000", 16, "1 to 65535"},
		{"port twice", "1234", "8774", 16, "8774 of own is that of nova"},
		{"check", "port: 1234", "port: 1234, check: health", 16, "want a path"},
		{"haproxy's configuration breaks out", "port: 1234", `port: 1234, check: "/\n    server evil 1.2.3.4:80"`, 16, "want a path"},
		{"no haproxy", "  - haproxy\n", "", 14, "nobody balances"},
		{"no apis", "apis:\n  - nova\n  - {name: own, port: 1234}\n", "", 13, "nothing to balance"},
		{"no fencing", "fencing:\n  - agent: fence_xvm\n    nodes: [node1, node2]\n", "", 1, "two servers on one disk destroy the data.*fencing: none-i-accept-the-risk"},
		{"fencing: none", "fencing:\n  - agent: fence_xvm\n    nodes: [node1, node2]\n", "fencing: none\n", 17, "fencing: want .*none-i-accept-the-risk"},
		{"a node unfenced", "[node1, node2]", "[node1]", 18, "no device fences node2"},
		{"no fence agent", "agent: fence_xvm", "name: x", 18, "needs an agent"},
		{"a clone of a singleton", "agent: mysql", "agent: mysql\n    run: clone", 13, "mysql-shared-storage cannot be a clone: two servers on one data directory destroy it"},
		{"a clone of a declared singleton", "agent: mysql", "agent: cinder-volume\n    run: clone", 13, "cinder-volume cannot be a clone"},
		{"a clone of brokers", "agent: mysql", "agent: qpidd\n    run: clone", 13, "qpidd cannot be a clone: .*run: promotable"},
		{"promotable", "agent: mysql", "agent: mysql\n    run: promotable", 13, "mysql-shared-storage cannot be promotable"},
		{"promotable balancer", "  - haproxy", "  - {name: haproxy, run: promotable}", 13, "haproxy cannot be promotable"},
		{"the swap's own agent", "agent: mysql", "agent: swap-scout", 12, "no agent"},
		{"a newline in a parameter", "  - haproxy", "  - {name: haproxy, parameters: {binary: \"/x\\nrm -rf /\"}}", 13, "without control characters"},
		{"a block in a parameter", "  - haproxy", "  - name: haproxy\n    parameters:\n      binary: |\n        /x\n        rm -rf /\n", 15, "without control characters"},
		{"an escape of a terminal", "group: g", `group: "g\e[2J"`, 5, "without control characters"},
		{"text that runs the other way", "group: g", `group: "g\u202e"`, 5, "without control characters"},
		{"not UTF-8", "group: g", "group: \xff", 5, "no UTF-8"},
		{"a newline in a fencing parameter", "    nodes: [node1", "    parameters: {plug: \"a\\nb\"}\n    nodes: [node1", 19, "without control characters"},
		{"name of a node like an option", "  node2:", "  --force:", 3, "does not begin with -"},
		{"id like an option", "name: db", "name: --force", 11, "a letter first"},
		{"cluster like an option", "group: g", "group: g\ncluster: -x", 6, "cluster \"-x\""},
		{"agent like an option", "agent: mysql", "agent: --x:y", 12, "no agent"},
		{"fence agent like an option", "agent: fence_xvm", "agent: --force", 18, "name of a fence agent"},
		{"parameter like an option", "agent: fence_xvm", "agent: fence_xvm\n    parameters: {--force: 1}", 19, "does not begin with -"},
		{"an address with a zone", "192.168.122.7", "fe80::1%eth0", 3, "without a zone"},
		{"a zone with anything in it", "192.168.122.7", "\"fe80::1%x server evil\"", 3, "without a zone"},
		{"a floating IP with a zone", "192.168.122.203", "fe80::1%eth0/64", 4, "without a zone"},
		{"same address, spelled otherwise", "node1: 192.168.122.3\n  node2: 192.168.122.7", "node1: 2001:db8::1\n  node2: 2001:DB8:0::1", 3, "is that of node1"},
		{"same address, as IPv6", "192.168.122.7", "\"::ffff:192.168.122.3\"", 3, "is that of node1"},
		{"ip of a broker is a node's", "    agent: mysql", "    agent: qpidd\n    run: promotable\n    ip: 192.168.122.3", 14, "192.168.122.3 of db is that of node1"},
		{"no nodes at all", "nodes:\n  node1: 192.168.122.3\n  node2: 192.168.122.7\n", "nodes: {}\n", 1, "nodes is empty"},
		{"an empty floating IP", "floating_ip: 192.168.122.203", `floating_ip: ""`, 4, "want an address.*not an empty value"},
		{"an empty parameter", "agent: mysql", "agent: mysql\n    parameters: {config: ''}", 13, "want a value, and not an empty value"},
		{"an anchor", "node2: 192.168.122.7", "node2: &a 192.168.122.7", 3, "anchors, aliases and merge keys are not read here"},
		{"an alias", "node2: 192.168.122.7", "node2: *a", 3, "anchors, aliases and merge keys are not read here"},
		{"a merge key", "  node2: 192.168.122.7", "  <<: {node2: 192.168.122.7}", 3, "merge keys"},
		{"a tag", "group: g", "group: !!str g", 5, "tags"},
		{"key twice, once quoted", "group: g", "group: g\n\"group\": h", 6, "already defined"},
		{"an option of pcs for an operation", "agent: mysql", "agent: mysql\n    operations: [monitor interval=5s --disabled]", 13, `"--disabled": want NAME=VALUE`},
		{"an operation without a name", "agent: mysql", "agent: mysql\n    operations: [interval=5s]", 13, "want its name first"},
		{"an operation's option", "agent: mysql", "agent: mysql\n    operations: [monitor intervall=5s]", 13, "where NAME is one of"},
		{"an operation's time", "agent: mysql", "agent: mysql\n    operations: [monitor interval=soon]", 13, "want a time"},
		{"operations of one interval", "agent: mysql", "agent: mysql\n    operations: [monitor interval=5s, monitor interval=5000ms OCF_CHECK_LEVEL=10]", 13, "another one has it too"},
		{"an API on the database's port", "port: 1234", "port: 3306", 16, "3306 of own is that of db"},
		{"API twice", "- nova\n", "- nova\n  - {name: nova, port: 99}\n", 16, "nova is there already, in line 15"},
		{"brackets", "group: g", "group: " + strings.Repeat("[", 20000), 5, "nest deeper"},
		{"entries", "group: g", "group:\n  " + strings.Repeat("- ", 20000) + "a", 6, "nest deeper"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Replace(good, c.old, c.new, 1)
			if text == good {
				t.Fatal("nothing was replaced")
			}
			_, err := plan.Read("dir/file.yaml", []byte(text), agents())
			if err == nil {
				t.Fatal("no error")
			}
			want := regexp.MustCompile(fmt.Sprintf(`(?m)^dir/file\.yaml:%d: .*%s`, c.line, c.want))
			if !want.MatchString(err.Error()) {
				t.Errorf("want %s, got\n%v", want, err)
			}
		})
	}
}

// Quoted keys, a byte order mark and line ends of Windows are as YAML has them.
func TestSpellings(t *testing.T) {
	quoted := regexp.MustCompile(`(?m)^(\s*(?:- )?)([a-z0-9_]+):`).ReplaceAllString(good, `$1"$2":`)
	for name, text := range map[string]string{"quoted": quoted, "BOM": "\ufeff" + good, "CRLF": strings.ReplaceAll(good, "\n", "\r\n")} {
		if _, err := plan.Read("f", []byte(text), agents()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	bad := "\ufeff" + strings.ReplaceAll(quoted, "192.168.122.7", "here")
	if _, err := plan.Read("f", []byte(bad), agents()); err == nil || !strings.HasPrefix(err.Error(), "f:3: ") {
		t.Errorf("the line is lost: %v", err)
	}
}

// 20,000 brackets took 21 s.
func TestNestingTakesNoTime(t *testing.T) {
	began := time.Now()
	if _, err := plan.Read("f", []byte(strings.Repeat("[", 200_000)), agents()); err == nil || time.Since(began) > 5*time.Second {
		t.Errorf("%v, after %s", err, time.Since(began))
	}
}

func TestIPv6(t *testing.T) {
	text := strings.NewReplacer("192.168.122.3\n", "2001:DB8::1\n", "192.168.122.7", "2001:db8::2", "192.168.122.203", "2001:DB8:0::3/64",
		"  - haproxy\n", "  - haproxy\n  - {name: qpidd, run: promotable, parameters: {port: 5673}}\n").Replace(good)
	cp, err := plan.Read("f", []byte(text), agents())
	if err != nil {
		t.Fatal(err)
	}
	var commands []string
	for _, s := range cp.Steps() {
		commands = append(commands, s.String())
	}
	all := strings.Join(commands, "\n") + cp.BalancerConfig()
	for _, want := range []string{
		"create ip-2001-db8--3 ocf:openstack:floating-ip ip=2001:db8::3 cidr_netmask=64 ",
		"ha_brokers_url=amqp:[2001:db8::1]:5673,[2001:db8::2]:5673",
		"bind [2001:db8::3]:8774\n", "server node2 [2001:db8::2]:8774 check\n",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in\n%s", want, all)
		}
	}
	if notes := strings.Join(cp.Notes(), "\n"); !strings.Contains(notes, "net.ipv6.ip_nonlocal_bind") {
		t.Error(notes)
	}
}

func TestNoFencingOnPurpose(t *testing.T) {
	text := strings.Replace(good, "fencing:\n  - agent: fence_xvm\n    nodes: [node1, node2]\n", "fencing: "+plan.Unfenced+"\n", 1)
	cp, err := plan.Read("f", []byte(text), agents())
	if err != nil {
		t.Fatal(err)
	}
	var commands []string
	for _, s := range cp.Steps() {
		commands = append(commands, s.String())
	}
	if all := strings.Join(commands, "\n"); !strings.Contains(all, "pcs property set stonith-enabled=false") || strings.Contains(all, "stonith create") {
		t.Error(all)
	}
	if notes := strings.Join(cp.Notes(), "\n"); !strings.Contains(notes, "No fencing") {
		t.Errorf("the plan does not say what is missing: %s", notes)
	}
}

func TestWriteHAProxy(t *testing.T) {
	needs.Program(t, "haproxy", "haproxy")
	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	write := func(text string) error {
		cp, err := plan.Read("f", []byte(text), agents())
		if err != nil {
			t.Fatal(err)
		}
		_, err = cp.WriteBalancer(t.Context(), file)
		return err
	}
	without := strings.Replace(good, "  - haproxy\napis:\n  - nova\n  - {name: own, port: 1234}\n", "", 1)
	if err := write(without); err == nil || !strings.Contains(err.Error(), "no load balancer") {
		t.Errorf("without HAProxy: %v", err)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("it was written all the same")
	}
	if err := write(good); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if fi, serr := os.Stat(file); err != nil || serr != nil || fi.Mode() != 0o644 || !strings.Contains(string(text), "listen own\n    bind 192.168.122.203:1234\n") {
		t.Errorf("%v %v %s", err, serr, text)
	}
}

// The operator's file stays beside the new one, which has its place behind a link, its owner and its mode.
func TestWriteOverTheOperatorsFile(t *testing.T) {
	needs.Program(t, "haproxy", "haproxy")
	cp, err := plan.Read("f", []byte(good), agents())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	real, link := filepath.Join(dir, "real.cfg"), filepath.Join(dir, "haproxy.cfg")
	if err := errors.Join(os.WriteFile(real, []byte("mine\n"), 0o640), os.Symlink("real.cfg", link)); err != nil {
		t.Fatal(err)
	}
	uid := os.Getuid()
	if uid == 0 { // only root gives files away
		uid = 12345
		if err := os.Chown(real, uid, 0); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := cp.WriteBalancer(t.Context(), link)
	if err != nil {
		t.Fatal(err)
	}
	if target, err := os.Readlink(link); err != nil || target != "real.cfg" {
		t.Errorf("the link is gone: %q %v", target, err)
	}
	for file, want := range map[string]string{kept: "mine\n", real: cp.BalancerConfig()} {
		text, err := os.ReadFile(file)
		fi, serr := os.Stat(file)
		if err != nil || serr != nil || string(text) != want {
			t.Fatalf("%s: %v %v %q", file, err, serr, text)
		}
		if fi.Mode() != 0o640 || int(fi.Sys().(*syscall.Stat_t).Uid) != uid {
			t.Errorf("%s: mode %v, owner %d", file, fi.Mode(), fi.Sys().(*syscall.Stat_t).Uid)
		}
	}
	if kept, err := cp.WriteBalancer(t.Context(), link); err != nil || kept != "" {
		t.Errorf("what is as it should be was written again: %q %v", kept, err)
	}
	if err := errors.Join(os.Remove(link), os.Symlink("nowhere.cfg", link)); err != nil {
		t.Fatal(err)
	}
	if _, err := cp.WriteBalancer(t.Context(), link); err == nil || !strings.Contains(err.Error(), "link to a file that cannot be found") {
		t.Errorf("a link that leads nowhere: %v", err)
	}
}

// What a shell makes of a command has to be what pcs is given by apply.
func TestQuoting(t *testing.T) {
	s := plan.Step{Args: []string{"resource", "create", `a=it's {"x": $y}`, "b="}}
	if got, want := s.String(), `pcs resource create 'a=it'\''s {"x": $y}' b=`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(good))
	files, err := filepath.Glob("../../packaging/examples/*.yaml")
	if err != nil || len(files) == 0 {
		f.Fatal("no examples", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	known := agents()
	server := regexp.MustCompile(`^    server [-.\w]+ [][.:0-9a-f]+:\d+ check\n$`)
	f.Fuzz(func(t *testing.T, data []byte) {
		cp, err := plan.Read("f", data, known)
		if err != nil {
			return
		}
		for _, s := range cp.Steps() {
			if text := strings.Join(s.Args, ""); strings.ContainsFunc(text, unicode.IsControl) {
				t.Errorf("%q cannot be run, or pasted", s.Args)
			}
		}
		for line := range strings.Lines(cp.BalancerConfig()) {
			if strings.HasPrefix(strings.TrimSpace(line), "server ") && !server.MatchString(line) {
				t.Errorf("a line that nobody planned: %q", line)
			}
		}
	})
}

// What the examples become, as far as it is ours to say: the commands and remarks before what crm_simulate says, and
// haproxy.cfg, are those of the golden files, which test/plan has the tools themselves make.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../../packaging/examples/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no examples", err)
	}
	golden := func(name string) string {
		text, err := os.ReadFile(filepath.Join("../../test/plan/testdata", name))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return string(text)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			cp, err := plan.Read(name+".yaml", text, agents())
			if err != nil {
				t.Fatal(err)
			}
			const tools = "\n# crm_verify finds"
			p := plan.Plan{Setup: cp.Setup(), Steps: cp.Steps(), Notes: cp.Notes()}
			got, _, _ := strings.Cut(p.Script(), tools)
			want, _, ok := strings.Cut(golden(name+".sh"), tools)
			if got != want || !ok {
				t.Errorf("%s.sh is not what the golden file says:\n%s", name, got)
			}
			if got := cp.BalancerConfig(); got != golden(name+".cfg") {
				t.Errorf("%s.cfg is not what the golden file says:\n%s", name, got)
			}
		})
	}
}
