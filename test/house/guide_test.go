package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/openstack-ocf/agents/ocf"
)

const top = "../.."

// literals are the strings in the code below some directories, by file.
func literals(t *testing.T, dirs ...string) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for _, dir := range dirs {
		err := filepath.WalkDir(filepath.Join(top, dir), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					if s, err := strconv.Unquote(lit.Value); err == nil {
						all[path] = append(all[path], s)
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// The reasons that the guide explains are those that the agents give, word by word.
func TestGuideHasTheReasonsOfTheCode(t *testing.T) {
	guide, err := os.ReadFile(filepath.Join(top, "packaging/guide.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, reasons, ok := strings.Cut(string(guide), "\n## Reasons\n")
	if !ok {
		t.Fatal("the guide has no chapter of reasons")
	}
	reasons, _, _ = strings.Cut(reasons, "\n## ")
	var code string
	for _, texts := range literals(t, "agents", "lib") {
		code += strings.ReplaceAll(strings.Join(texts, "\n"), "%%", "%") + "\n"
	}
	rows := 0
	for line := range strings.Lines(reasons) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 4 || strings.Contains(line, "---") || strings.Contains(line, "| reason |") {
			continue
		}
		rows++
		for _, fragment := range strings.FieldsFunc(cells[0], func(c rune) bool { return c == '…' || c == ';' }) {
			if fragment = strings.Trim(fragment, " :"); len(fragment) > 3 && !strings.Contains(code, fragment) {
				t.Errorf("no agent says %q:\n%s", fragment, line)
			}
		}
		for exit := range strings.SplitSeq(cells[1], ",") {
			n, err := strconv.Atoi(strings.TrimSpace(exit))
			if err != nil || strings.HasPrefix(ocf.Code(n).String(), "exit code") {
				t.Errorf("%q is no exit code: %s", exit, line)
			}
		}
	}
	if rows < 40 {
		t.Errorf("only %d rows", rows)
	}
}
