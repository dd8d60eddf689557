// Package qpidd tests ocf:openstack:qpidd in a box: on a real broker where there
// is one, else on the stand-in of package broker.
package qpidd

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/ocf"
	"github.com/openstack-ocf/agents/ocf/ocftest"
	"github.com/openstack-ocf/agents/test/box"
	"github.com/openstack-ocf/agents/test/broker"
	"github.com/openstack-ocf/agents/test/built"
)

const (
	dataDir = "/run/srv/qpidd"
	logFile = "/run/qpidd.log"
	config  = "/run/qpidd.conf"
	port    = 5699
)

func TestMain(m *testing.M) {
	if os.Getenv("STUBBORN") != "" {
		stubborn()
	}
	box.Main(m)
}

// stubborn holds the data directory, ignores SIGTERM and answers nobody.
func stubborn() {
	signal.Ignore(unix.SIGTERM, unix.SIGINT)
	if err := os.Chdir(dataDir); err != nil {
		panic(err)
	}
	for {
		time.Sleep(time.Hour)
	}
}

type host struct {
	t    testing.TB
	run  ocftest.Runner
	kind broker.Kind
	p    ocftest.Params
}

func newHost(t testing.TB) *host {
	box.Need(t)
	binary, kind := broker.Binary(t)
	t.Logf("broker: %s", kind)
	h := &host{t: t, kind: kind, run: ocftest.Program(built.Agent(t, "qpidd"))}
	h.p = ocftest.Params{"binary": binary, "config": config, "user": "daemon", "data_dir": dataDir, "log": logFile}
	box.Sh(t, "rm -rf %s; mkdir -p %s; chown daemon %s; rm -f %s; for d in $(dirname %s) $(dirname $(dirname %s)); do chmod a+rx $d; done", dataDir, dataDir, dataDir, logFile, binary, binary)
	h.configure("auth=no")
	t.Cleanup(func() {
		if r := h.run(context.Background(), ocftest.Call{Action: ocf.Stop, Params: h.p, Timeout: 30 * time.Second}); r.Code != ocf.OK {
			t.Errorf("clean-up: stop: %s", r)
		}
		if pids := h.brokers(); len(pids) > 0 {
			t.Errorf("clean-up: brokers left: %v", pids)
		}
		if t.Failed() {
			b, _ := os.ReadFile(logFile)
			t.Logf("the broker's log:\n%s", b)
		}
	})
	return h
}

// configure writes the broker's configuration file.
func (h *host) configure(lines ...string) {
	h.t.Helper()
	text := fmt.Sprintf("# of the test\nport=%d\ninterface=127.0.0.1\n%s\n", port, strings.Join(lines, "\n"))
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) want(action string, p ocftest.Params, code ocf.Code, words ...string) ocftest.Result {
	h.t.Helper()
	return h.run.Want(h.t, ocftest.Call{Action: action, Params: p, Timeout: 30 * time.Second}, code, words...)
}

func (h *host) monitor(p ocftest.Params, level int, code ocf.Code, words ...string) {
	h.t.Helper()
	c := ocftest.Call{Action: ocf.Monitor, Params: p, Interval: 10 * time.Second, Level: level, Timeout: 6 * time.Second}
	if code == ocf.RunningPromoted || code == ocf.DegradedPromoted {
		c.Env = []string{"OCF_RESKEY_CRM_meta_role=Promoted"} // Pacemaker watches a promoted instance by such monitors alone
	}
	h.run.Want(h.t, c, code, words...)
}

func (h *host) start() { h.t.Helper(); h.want(ocf.Start, h.p, ocf.OK) }

// brokers are the pids of brokers on the data directory, found without the agent.
func (h *host) brokers() []int {
	var pids []int
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		args, _ := os.ReadFile(d + "/cmdline")
		if !strings.Contains(string(args), "--data-dir\x00"+dataDir+"\x00") || strings.Contains(string(args), "strace") {
			continue
		}
		if st, _ := os.ReadFile(d + "/stat"); strings.Contains(string(st), ") Z ") {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(d))
		pids = append(pids, pid)
	}
	return pids
}

func (h *host) signal(sig syscall.Signal) {
	h.t.Helper()
	pids := h.brokers()
	if len(pids) != 1 {
		h.t.Fatalf("want one broker, there are %v", pids)
	}
	box.Signal(h.t, sig, pids[0])
}

func (h *host) background(name string, args ...string) *exec.Cmd {
	return box.Background(h.t, name, args...)
}
