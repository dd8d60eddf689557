// These tests see the package from outside, with all agents.

package plan_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/openstack-ocf/agents/agents/haproxy"
	"github.com/openstack-ocf/agents/agents/mysql"
	"github.com/openstack-ocf/agents/agents/openstack"
	"github.com/openstack-ocf/agents/agents/qpidd"
	"github.com/openstack-ocf/agents/lib/plan"
	"github.com/openstack-ocf/agents/ocf"
)

func agents() map[string]func() ocf.Agent {
	m := map[string]func() ocf.Agent{"haproxy": haproxy.New, "mysql-shared-storage": mysql.New, "qpidd": qpidd.New}
	maps.Copy(m, openstack.Agents())
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
		{"name of a node", "  node2:", "  no de2:", 3, "name that the node has"},
		{"node without address", "  node2: 192.168.122.7", "  node2:", 3, "want the node's address"},
		{"no floating IP", "floating_ip: 192.168.122.203\n", "", 1, "floating_ip is missing"},
		{"a bad floating IP", "192.168.122.203", "192.168.122.203/64", 4, "192.168.122.203/24"},
		{"floating IP is a node's", "192.168.122.203", "192.168.122.7", 4, "no node has by itself"},
		{"no device", "  device: /dev/sdb1\n", "", 7, "storage needs a device"},
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
		{"no such node", "agent: mysql", "agent: mysql\n    run: clone\n    nodes: [node3]", 14, `"node3" is not one of the nodes`},
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
	if _, err := exec.LookPath("haproxy"); err != nil {
		t.Skip("SKIP: needs haproxy")
	}
	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	write := func(text string) error {
		cp, err := plan.Read("f", []byte(text), agents())
		if err != nil {
			t.Fatal(err)
		}
		return cp.WriteHAProxy(t.Context(), file)
	}
	without := strings.Replace(good, "  - haproxy\napis:\n  - nova\n  - {name: own, port: 1234}\n", "", 1)
	if err := write(without); err == nil || !strings.Contains(err.Error(), "no HAProxy") {
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
	server := regexp.MustCompile(`^    server [-.\w]+ [][.:0-9a-fA-F%\w]+:\d+ check\n$`)
	f.Fuzz(func(t *testing.T, data []byte) {
		cp, err := plan.Read("f", data, known)
		if err != nil {
			return
		}
		for _, s := range cp.Steps() {
			if strings.Contains(strings.Join(s.Args, ""), "\x00") {
				t.Errorf("%q cannot be run", s.Args)
			}
		}
		for line := range strings.Lines(cp.HAProxy()) {
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
			if got := cp.HAProxy(); got != golden(name+".cfg") {
				t.Errorf("%s.cfg is not what the golden file says:\n%s", name, got)
			}
		})
	}
}
