// Package qpidd tests ocf:openstack:qpidd in a box: on a real broker where there
// is one, else on the stand-in of package broker.
package qpidd

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/ocf/ocftest"
	"github.com/openstack-ocf/agents/test/box"
	"github.com/openstack-ocf/agents/test/broker"
)

const (
	dataDir = "/run/srv/qpidd"
	logFile = "/run/qpidd.log"
	config  = "/run/qpidd.conf"
	port    = 5699
)

func TestMain(m *testing.M) { box.Main(m) }

type host struct {
	*box.Agent
	kind broker.Kind
}

func newHost(t testing.TB) *host {
	box.Need(t)
	binary, kind := broker.Binary(t)
	t.Logf("broker: %s", kind)
	h := &host{kind: kind, Agent: box.NewAgent(t, box.Agent{
		Name: "qpidd", Params: ocftest.Params{"binary": binary, "config": config, "user": "daemon", "data_dir": dataDir, "log": logFile}, Log: logFile,
		Pids: brokers, Processes: 1, Limit: 30 * time.Second, Watch: 6 * time.Second,
		Unit: &box.Unit{Direct: []string{"binary", "user", "group", "interface", "pid_dir", "pid", "module_dir", "log", "additional_parameters", "ha_public_url", "ha_replicate"}, Service: unit},
	})}
	box.Sh(t, "rm -rf %s; mkdir -p %s; chown daemon %s; rm -f %s; for d in $(dirname %s) $(dirname $(dirname %s)); do chmod a+rx $d; done", dataDir, dataDir, dataDir, logFile, binary, binary)
	h.configure("auth=no")
	return h
}

// unit is as upstream's, and says what only the broker's own options can say there.
func unit(p ocftest.Params) string {
	line := fmt.Sprintf("%s --config %s --data-dir %s", p["binary"], p["config"], p["data_dir"])
	if dir := p["module_dir"]; dir != "" {
		line += " --module-dir " + dir
	}
	if p["ha_cluster"] == "true" {
		line += " --ha-cluster yes --ha-replicate all --ha-brokers-url " + p["ha_brokers_url"]
	}
	return fmt.Sprintf("User=%s\nExecStart=%s %s\n", p["user"], line, p["additional_parameters"])
}

// brokers are the pids of brokers on the data directory.
func brokers() []int {
	return box.Pids(func(p box.Process) bool {
		i := slices.Index(p.Args, "--data-dir") + 1
		return i > 0 && i < len(p.Args) && p.Args[i] == dataDir && filepath.Base(p.Exe) != "strace"
	})
}

// configure writes the broker's configuration file.
func (h *host) configure(lines ...string) {
	h.T.Helper()
	text := fmt.Sprintf("# of the test\nport=%d\ninterface=127.0.0.1\n%s\n", port, strings.Join(lines, "\n"))
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		h.T.Fatal(err)
	}
}
