package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openstack-ocf/agents/agents/openstack"
)

// Who adds an agent touches nothing of what swaps services: what is particular to one stands with it.
func TestTheSwapNamesNoAgent(t *testing.T) {
	names := []string{"mysql", "maria", "mycnf", "qpid", "haproxy", "oslo", "nova", "neutron", "quantum", "memcached"}
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
