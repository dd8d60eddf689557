package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openstack-ocf/agents/agents/haproxy"
	"github.com/openstack-ocf/agents/agents/mysql"
	"github.com/openstack-ocf/agents/agents/openstack"
	"github.com/openstack-ocf/agents/agents/qpidd"
	"github.com/openstack-ocf/agents/lib/placement"
)

// Who adds an agent touches nothing of what swaps services: what is particular to one stands with it.
func TestTheSwapNamesNoAgent(t *testing.T) {
	names := []string{"mysql", "maria", "mycnf", "qpid", "haproxy", "oslo", "nova", "neutron", "quantum", "memcached"}
	for _, pkg := range own(t) {
		names = append(names, pkg)
	}
	for name := range openstack.Agents() {
		names = append(names, name)
	}
	for _, dir := range []string{"lib/swap", "lib/takeover"} {
		files, err := filepath.Glob(filepath.Join(top, dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v, %v", dir, files, err)
		}
		for _, path := range files {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, path, text, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				word := ""
				switch n := n.(type) {
				case *ast.BasicLit:
					word = n.Value
				case *ast.Ident:
					word = n.Name
				}
				for _, name := range names {
					if strings.Contains(strings.ToLower(word), name) {
						t.Errorf("%s: %s is for its agent to say: %s", set.Position(n.Pos()), name, word)
					}
				}
				return true
			})
		}
	}
}

// An agent's name in lib is knowledge in the wrong place: what is particular to an agent it says of itself. Services of
// OpenStack have names too, which lib/plan knows with their ports (known.go), and which keystone's agent shares.
func TestNobodyNamesAnAgent(t *testing.T) {
	names := map[string]bool{haproxy.New().Name: true, mysql.New().Name: true, qpidd.New().Name: true}
	places := openstack.Places()
	for name := range openstack.Agents() {
		names[name] = true
		if _, ok := places[name]; !ok {
			t.Errorf("%s does not say where it may stand in a control plane", name)
		}
	}
	for _, p := range append([]placement.Place{haproxy.Place(), mysql.Place(), qpidd.Place()}, places["nova-consoleauth"]) {
		for _, short := range p.Names {
			names[short] = true
		}
	}
	if len(names) < 20 || !names["mysql"] || !names["consoleauth"] {
		t.Fatalf("these are not all agents: %v", names)
	}
	for file, texts := range literals(t, "lib/plan", "lib/placement", "lib/service") {
		for _, text := range texts {
			_, of, _ := strings.Cut(text, "ocf:openstack:")
			if of != "" || names[text] && !strings.HasSuffix(file, "/plan/known.go") {
				t.Errorf("%s names an agent: %q", file, text)
			}
		}
	}
}
