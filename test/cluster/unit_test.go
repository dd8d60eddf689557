package cluster

import (
	"bytes"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/openstack-ocf/agents/test/needs"
)

func TestParseStatus(t *testing.T) {
	for _, c := range []struct {
		version  string
		nodes    []NodeStatus
		running  map[string][]string
		failures []Failure
	}{
		{
			"2.1.5",
			[]NodeStatus{{Name: "node1", Online: true, DC: true}, {Name: "node2", Unclean: true}},
			map[string][]string{"fence": {"node1"}, "d": {"node1", "node2"}, "g1": {"node2"}, "bad": nil, "nosuch": nil},
			[]Failure{{Operation: "bad_start_0", Node: "node1", Code: 5, Reason: "Couldn't find device [/dev/x]. Expected /dev/??? to exist", Changed: "2026-11-23 07:28:03Z"}},
		},
		{
			"3.0.0",
			[]NodeStatus{{Name: "node1", Online: true, DC: true}, {Name: "node2", Online: true}},
			map[string][]string{"fence": {"node1"}, "d": {"node1", "node2"}, "g1": {"node2"}, "bad": {"node2"}, "nosuch": nil},
			[]Failure{{Operation: "bad_start_0", Node: "node1", Code: 1, Changed: "2026-11-23 07:59:05Z"}},
		},
	} {
		t.Run(c.version, func(t *testing.T) {
			f, err := os.Open("testdata/crm_mon-" + c.version + ".xml")
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			s, err := parseStatus(f)
			if err != nil {
				t.Fatal(err)
			}
			if s.DC != "node1" || !s.Quorum {
				t.Errorf("DC %q, quorum %v", s.DC, s.Quorum)
			}
			if !reflect.DeepEqual(s.Nodes, c.nodes) {
				t.Errorf("nodes %+v, want %+v", s.Nodes, c.nodes)
			}
			if s.Node("node2") != c.nodes[1] || s.Node("node9") != (NodeStatus{}) {
				t.Errorf("by name: %+v, %+v", s.Node("node2"), s.Node("node9"))
			}
			for id, at := range c.running {
				if got := s.Running(id); !reflect.DeepEqual(got, at) {
					t.Errorf("%s runs on %v, want %v", id, got, at)
				}
			}
			if n := len(s.Resource("d")); n != 2 {
				t.Errorf("d has %d instances, want 2", n)
			}
			if !reflect.DeepEqual(s.Failures, c.failures) {
				t.Errorf("failures %+v, want %+v", s.Failures, c.failures)
			}
		})
	}
}

func FuzzParseStatus(f *testing.F) {
	dump, err := os.ReadFile("testdata/crm_mon-2.1.5.xml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(dump)
	f.Add([]byte(`<pacemaker-result><nodes><node online="maybe"/></nodes>`))
	f.Fuzz(func(t *testing.T, in []byte) {
		s, err := parseStatus(bytes.NewReader(in))
		if (s == nil) == (err == nil) {
			t.Errorf("status %v and error %v", s, err)
		}
	})
}

func TestFenceAgent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	addr := l.Addr().String()
	go func() { // a BMC that knows node1, which is on, and node2, which is off
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			buf := make([]byte, 100)
			n, _ := conn.Read(buf)
			answer := map[string]string{
				"list\n": "node1 on\nnode2 off\n", "off node1\n": "ok\n", "on node1\n": "ok\n", "reboot node1\n": "ok\n", "off node9\n": "no node9\n",
			}[string(buf[:n])]
			conn.Write([]byte(answer))
			conn.Close()
		}
	}()
	for _, c := range []struct {
		name, stdin string
		args        []string
		code        int
		stdout      string // a part of it
		stderr      string
	}{
		{name: "off", stdin: "action=off\nplug=node1\n"},
		{name: "reboot is the default", stdin: "plug=node1\n"},
		{name: "old name of plug", stdin: "action=on\nport=node1\nnodename=other\n"},
		{name: "unknown node", stdin: "action=off\nplug=node9\n", code: fenceError, stderr: "no node9"},
		{name: "no answer", stdin: "action=on\nplug=node9\n", code: fenceError, stderr: "did not answer"},
		{name: "no BMC", stdin: "action=off\nplug=node1\nip=127.0.0.1:1\n", code: fenceError, stderr: "refused"},
		{name: "unknown action", stdin: "action=explode\nplug=node1\n", code: fenceError, stderr: "unknown action"},
		{name: "status on", stdin: "action=status\nplug=node1\n"},
		{name: "status off", stdin: "action=status\nplug=node2\n", code: fenceIsOff},
		{name: "status unknown", stdin: "action=status\nplug=node9\n", code: fenceError, stderr: "no such node"},
		{name: "list", stdin: "action=list\n", stdout: "node1,\nnode2,\n"},
		{name: "list-status", stdin: "action=list-status\n", stdout: "node1,,on\nnode2,,off\n"},
		{name: "monitor", stdin: "action=monitor\n"},
		{name: "metadata", stdin: "action=metadata\n", stdout: `<resource-agent name="fence_rack"`},
		{name: "validate-all", stdin: "action=validate-all\nip=127.0.0.1:1\n"},
		{name: "options as arguments", args: []string{"-o", "status", "-n", "node2", "-a", addr}, code: fenceIsOff},
	} {
		t.Run(c.name, func(t *testing.T) {
			stdin := c.stdin
			if !strings.Contains(stdin, "ip=") {
				stdin += "ip=" + addr + "\n"
			}
			var stdout, stderr bytes.Buffer
			if code := fence(c.args, strings.NewReader(stdin), &stdout, &stderr); code != c.code {
				t.Errorf("exit code %d, want %d; %s", code, c.code, &stderr)
			}
			if !strings.Contains(stdout.String(), c.stdout) || !strings.Contains(stderr.String(), c.stderr) || (c.stderr == "") != (stderr.Len() == 0) {
				t.Errorf("stdout %q, stderr %q", &stdout, &stderr)
			}
		})
	}
}

func TestConfig(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Config{Overlay: []string{"testdata"}, PerNode: map[string][]File{"node1": {{Path: "/x", From: "doc.go"}}}}.complete()
	if err != nil {
		t.Fatal(err)
	}
	if got.Nodes != 3 || got.Root != "/" || got.Token == 0 || got.Overlay[0] != filepath.Join(here, "testdata") || got.PerNode["node1"][0].From != filepath.Join(here, "doc.go") {
		t.Errorf("completed: %+v", got)
	}
	for name, bad := range map[string]Config{
		"too many nodes":          {Nodes: 100},
		"relative path in a node": {Files: []File{{Path: "etc/x"}}},
		"file that is not there":  {Files: []File{{Path: "/x", From: "/nonexistent"}}},
		"node's missing file":     {PerNode: map[string][]File{"node1": {{Path: "/x", From: "/nonexistent"}}}},
		"node that is not there":  {PerNode: map[string][]File{"node4": {{Path: "/x"}}}},
		"missing overlay":         {Overlay: []string{"/nonexistent"}},
		"missing root":            {Root: "/nonexistent"},
	} {
		if _, err := bad.complete(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestSeedCIB checks the seeded CIB, with values that need escaping, against the schema of the Pacemaker here.
func TestSeedCIB(t *testing.T) {
	needs.Program(t, "crm_verify", "pacemaker-cli-utils")
	path := filepath.Join(t.TempDir(), "cib.xml")
	cib := seedCIB(Config{Name: "x", Nodes: 3, Properties: map[string]string{"stonith-enabled": "false", "cluster-name": `a<"&`}})
	if err := os.WriteFile(path, []byte(cib), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("crm_verify", "--xml-file", path).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if strings.Count(cib, "stonith-enabled") != 2 || !strings.Contains(cib, `value="false"`) {
		t.Errorf("a property of the configuration did not replace the default: %s", cib)
	}
}

func TestPut(t *testing.T) {
	dir := t.TempDir()
	from := filepath.Join(dir, "from")
	if err := os.WriteFile(from, []byte("copied"), 0o750); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		file File
		mode fs.FileMode
		text string
	}{
		{"content", File{Path: "a/b/c", Content: "text"}, 0o644, "text"},
		{"empty", File{Path: "a/empty"}, 0o644, ""},
		{"mode", File{Path: "a/secret", Content: "s", Mode: 0o600}, 0o600, "s"},
		{"copy keeps the mode", File{Path: "copy", From: from}, 0o750, "copied"},
		{"replaces a link, not its target", File{Path: "link", Content: "new"}, 0o644, "new"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := os.Symlink(from, filepath.Join(dir, "link")); err != nil && !os.IsExist(err) {
				t.Fatal(err)
			}
			c.file.Path = filepath.Join(dir, c.file.Path)
			var src *os.File
			if c.file.From != "" {
				var err error
				if src, err = os.Open(c.file.From); err != nil {
					t.Fatal(err)
				}
			}
			if err := c.file.put(src); err != nil {
				t.Fatal(err)
			}
			info, err := os.Lstat(c.file.Path)
			if err != nil || info.Mode() != c.mode {
				t.Fatalf("mode %v, want %v; %v", info.Mode(), c.mode, err)
			}
			if text, err := os.ReadFile(c.file.Path); err != nil || string(text) != c.text {
				t.Errorf("%q, %v", text, err)
			}
		})
	}
	if text, err := os.ReadFile(from); err != nil || string(text) != "copied" {
		t.Errorf("the link's target now holds %q, %v", text, err)
	}
}

func TestMissing(t *testing.T) {
	if os.Geteuid() != 0 {
		if err := Missing("/"); err == nil || err.Error() != "needs root" {
			t.Errorf("without root: %v", err)
		}
		return
	}
	if err := Missing(t.TempDir()); err == nil || err.Error() != "needs systemd" {
		t.Errorf("an empty root: %v", err)
	}
}

// What moves while one node after the other is asked was never on two.
func TestWhere(t *testing.T) {
	c := &Cluster{nodes: []*Node{{Name: "node1"}, {Name: "node2"}, {Name: "node3"}}}
	for _, row := range []struct {
		name string
		has  func(asked int, node string) (bool, error)
		want []string
	}{
		{"nowhere", func(int, string) (bool, error) { return false, nil }, nil},
		{"on one", func(_ int, node string) (bool, error) { return node == "node2", nil }, []string{"node2"}},
		{"on two at once", func(_ int, node string) (bool, error) { return node != "node2", nil }, []string{"node1", "node3"}},
		{"on all", func(int, string) (bool, error) { return true, nil }, []string{"node1", "node2", "node3"}},
		{"moves while it is looked for", func(asked int, node string) (bool, error) {
			return node == "node1" && asked == 1 || node == "node3", nil
		}, []string{"node3"}},
		{"dies while it is looked for", func(asked int, node string) (bool, error) {
			if node == "node1" && asked > 1 {
				return false, ErrOff
			}
			return node != "node2", nil
		}, []string{"node3"}},
		{"is off", func(_ int, node string) (bool, error) {
			if node == "node1" {
				return false, ErrOff
			}
			return node == "node2", nil
		}, []string{"node2"}},
	} {
		asked := 0
		at, err := c.where(func(n *Node) (bool, error) {
			asked++
			return row.has(asked, n.Name)
		})
		if err != nil || !reflect.DeepEqual(at, row.want) {
			t.Errorf("%s: %v, want %v; %v", row.name, at, row.want, err)
		}
	}
}
