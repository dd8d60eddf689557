// Package house tests that the house stands: imports point one way, agents to
// lib to ocf, and nothing that runs every few seconds for years forks.
package house

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/openstack-ocf/agents/"

// runsPrograms are the packages that may import os/exec: the one that starts
// daemons, those that call the cluster's and systemd's commands, and those for tests.
var runsPrograms = []string{"lib/daemon", "lib/pacemaker", "lib/systemd", "ocf/ocftest", "test/", "agents/openstack-ocf"}

type pkg struct {
	ImportPath string
	Imports    []string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", module+"...")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v: %s", err, stderr.String())
	}
	var all []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if len(all) < 10 {
		t.Fatalf("go list found %d packages", len(all))
	}
	return all
}

func TestImportsPointOneWay(t *testing.T) {
	may := map[string][]string{
		"ocf":       {"ocf"},
		"lib":       {"lib", "ocf"},
		"agents":    {"lib", "ocf"},
		"packaging": {}, // the guide, as text
		"test":      {"agents", "lib", "ocf", "test", "packaging"},
	}
	for _, p := range packages(t) {
		from := strings.TrimPrefix(p.ImportPath, module)
		room, _, _ := strings.Cut(from, "/")
		for _, imp := range p.Imports {
			to, ours := strings.CutPrefix(imp, module)
			if !ours {
				continue
			}
			toRoom, _, _ := strings.Cut(to, "/")
			allowed := may[room]
			if from == "agents/openstack-ocf" { // the binary that all agents are, and the operator's command
				allowed = append(allowed, "agents", "packaging")
			}
			ok := false
			for _, a := range allowed {
				ok = ok || a == toRoom
			}
			if !ok {
				t.Errorf("%s must not import %s", from, to)
			}
		}
	}
}

func TestWhatMonitorsRunForksNothing(t *testing.T) {
	for _, p := range packages(t) {
		from := strings.TrimPrefix(p.ImportPath, module)
		allowed := false
		for _, prefix := range runsPrograms {
			allowed = allowed || strings.HasPrefix(from, prefix)
		}
		for _, imp := range p.Imports {
			if imp == "os/exec" && !allowed {
				t.Errorf("%s imports os/exec", from)
			}
		}
	}
}
