package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// own are the agents of the registry that have a package each: their names in the cluster, and their packages'.
func own(t *testing.T) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(top, "agents/openstack-ocf/registry.go"), nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	agents := map[string]string{}
	for _, decl := range file.Decls {
		if f, ok := decl.(*ast.FuncDecl); ok && f.Name.Name == "own" {
			ast.Inspect(f, func(n ast.Node) bool {
				kv, ok := n.(*ast.KeyValueExpr)
				if !ok {
					return true
				}
				name, err := strconv.Unquote(kv.Key.(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				ast.Inspect(kv.Value, func(n ast.Node) bool {
					if sel, ok := n.(*ast.SelectorExpr); ok {
						agents[name] = sel.X.(*ast.Ident).Name
					}
					return true
				})
				return false
			})
		}
	}
	if len(agents) < 4 {
		t.Fatalf("the registry has %v", agents)
	}
	return agents
}

// Who adds an agent finds in CONTRIBUTING.md all places that it touches, and here the one that was forgotten.
func TestEveryAgentIsInAllItsPlaces(t *testing.T) {
	readme, guide := read(t, "README.md"), read(t, "packaging/guide.md")
	for name, pkg := range own(t) {
		for _, dir := range []string{"agents/" + pkg, "test/" + pkg} {
			if !exists(dir) {
				t.Errorf("%s: there is no %s", name, dir)
			}
		}
		if !strings.Contains(readme, "\n| `"+name+"`") {
			t.Errorf("%s: README.md has no row for it", name)
		}
		if !strings.Contains(guide, "\n### "+name+"\n") {
			t.Errorf("%s: the guide has no chapter of its reasons", name)
		}
	}
}
