// Package clusternova tests nova-consoleauth in the document's group: with the database and the broker that it
// needs, on three nodes.
package clusternova

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/lib/oslo"
	"github.com/openstack-ocf/agents/lib/rpcping"
	"github.com/openstack-ocf/agents/test/built"
	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/openstack"
	"github.com/openstack-ocf/agents/test/scenario"
)

const (
	host = "controller" // under which the service registers, on whatever node it runs
	// stepTimeout is for one thing to happen, on a machine that is busy with other tests: Python starts more than once.
	stepTimeout = 4 * time.Minute
)

// step is a context for one thing to happen.
func step(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), stepTimeout)
	t.Cleanup(cancel)
	return ctx
}

// consoleauth is the service as an operator has it in the group: its configuration names the group's address, and
// the same host on all nodes.
func consoleauth(t *testing.T) scenario.Service {
	t.Helper()
	python, err := filepath.EvalSymlinks("/usr/bin/python3")
	if err != nil {
		t.Skip("SKIP: needs python3")
	}
	s := scenario.Service{
		ID: "consoleauth", Agent: "ocf:openstack:nova-consoleauth", Daemon: []string{filepath.Base(python)}, Script: "nova-consoleauth",
		Speaks: "RPC", Unit: "tokens", Forgets: true,
		Options: []string{"op", "monitor", "interval=3s", "timeout=40s", "op", "monitor", "interval=10s", "timeout=60s", "OCF_CHECK_LEVEL=20"},
		Files: []cluster.File{{Path: "/etc/nova/nova.conf", Owner: "root:nova", Mode: 0o640, Content: `[DEFAULT]
host = ` + host + `
transport_url = amqp://` + scenario.FloatingIP + `:5672/
[database]
connection = mysql+pymysql://nova:secret@` + scenario.FloatingIP + `/nova
`}},
		Ledger: func(dial scenario.Dialer) (scenario.Ledger, error) { return tokens{dial}, nil },
	}
	if real := openstack.RealConsoleauth(); real != "" {
		t.Logf("nova-consoleauth: %s", real)
		s.Options = append([]string{"binary=" + real}, s.Options...)
		return s
	}
	t.Log("nova-consoleauth: our small manager")
	s.Files = append(s.Files, cluster.File{Path: "/usr/bin/nova-consoleauth", Content: openstack.ConsoleauthScript(), Mode: 0o755})
	return s
}

// tokens is nova-consoleauth as a console proxy sees it: it is asked for a token, over the broker at the group's address.
type tokens struct{ dial scenario.Dialer }

// Put asks for a token that there is not: the answer is null.
func (k tokens) Put(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	bus := oslo.Transport{
		Driver: oslo.AMQP1, Brokers: []oslo.Broker{{Host: scenario.FloatingIP, Port: 5672}}, Exchange: "nova",
		Addressing: oslo.Addressing{Mode: "dynamic", LegacyPrefix: "exclusive"},
	}
	req := rpcping.Request{Topic: "consoleauth", Host: host, Method: "check_token", Version: "2.1", Args: map[string]any{"token": fmt.Sprint(n)}}
	a := rpcping.Call(ctx, bus, req, rpcping.Options{
		ReplyTo: "proxy",
		Dial:    func(ctx context.Context, network, addr string) (net.Conn, error) { return k.dial(ctx, network, addr) },
	})
	if a.State != rpcping.Answered || !slices.Equal(a.Result, json.RawMessage("null")) {
		return fmt.Errorf("%s %s", a.Reason(), a.Result)
	}
	select { // a proxy does not ask without a pause
	case <-time.After(100 * time.Millisecond):
	case <-ctx.Done():
	}
	return nil
}

func (tokens) Numbers(context.Context) ([]int, error) { return nil, nil }
func (tokens) Close() error                           { return nil }

// makeDatabase makes nova's database on the group's database server.
func makeDatabase(t *testing.T, s *scenario.Stage) {
	t.Helper()
	at, err := s.Cluster.Running(step(t), "db")
	if err != nil {
		t.Fatal(err)
	}
	s.Cluster.Node(at).MustExec(step(t), t, "/bin/sh", "-ec", `
		mariadb -e "CREATE DATABASE nova; CREATE USER nova@'%' IDENTIFIED BY 'secret'; GRANT ALL ON nova.* TO nova@'%'"
		nova-manage db sync --local_cell`)
}

// TestGroup moves the group, and breaks what is in it: the service is back on the node of its database and its broker,
// never on two at once, and answers there.
func TestGroup(t *testing.T) {
	openstack.NeedNova(t)
	bus, kind, err := scenario.Broker()
	if err != nil {
		t.Skipf("SKIP: needs %v", err)
	}
	t.Logf("broker: %s", kind)
	// oslo.messaging's amqp driver subscribes to addresses that the broker has to make.
	bus.Files[0].Content += "queue-patterns=exclusive\nqueue-patterns=unicast\ntopic-patterns=broadcast\n"
	nova := consoleauth(t)
	cfg, err := scenario.Config(built.Binary(t), scenario.MySQL(), bus, nova)
	if err != nil {
		t.Fatal(err)
	}
	c := cluster.New(t, cfg)
	s, err := scenario.Deploy(step(t), c, func(line string) { t.Log(line) }, scenario.MySQL(), bus)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	makeDatabase(t, s)
	if err := s.Create(step(t), nova); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Enter(step(t), nova); err != nil {
		t.Fatalf("%v\n%s", err, c.CrmMon(t.Context()))
	}
	slices.Reverse(s.Actors) // the acts are the service's

	for _, act := range []scenario.Act{scenario.Kill, scenario.Freeze, scenario.Move, scenario.PowerCut} {
		if !t.Run(act.Name, func(t *testing.T) {
			var started []int
			for _, a := range s.Actors {
				started = append(started, a.Started())
			}
			r, err := s.Play(step(t), act)
			if err != nil {
				t.Fatalf("%v\n%s", err, c.CrmMon(t.Context()))
			}
			for i, a := range s.Actors {
				now, ok := a.Now()
				if !ok || now.Node != r.To.Node {
					t.Errorf("%s: %v, and not on %s", a.ID, now, r.To.Node)
				}
				if again := a.Started() - started[i]; again != 0 && !act.Moves && i > 0 {
					t.Errorf("%s was restarted for a %s of %s", a.ID, act.Name, nova.ID)
				}
				t.Logf("%s: %s -> %s, %s not served for %s", a.ID, r.From.Node, now, a.Speaks, r.Outages[i])
			}
			status, err := c.Status(step(t))
			if err != nil {
				t.Fatal(err)
			}
			found := 0
			for _, f := range status.Failures {
				t.Logf("crm_mon: %s on %s: %d: %s", f.Operation, f.Node, f.Code, f.Reason)
				if act.Moves || !strings.HasPrefix(f.Operation, nova.ID+"_monitor") {
					t.Errorf("nothing was wrong with %s on %s", f.Operation, f.Node)
				}
				found++
			}
			if found == 0 && !act.Moves {
				t.Errorf("crm_mon does not show what befell %s", nova.ID)
			}
			if err := s.Restore(step(t)); err != nil {
				t.Fatal(err)
			}
		}) {
			return // what follows would fail for that
		}
	}
	for _, a := range s.Actors {
		if err := a.Watch.Err(); err != nil {
			t.Errorf("%s: %v", a.ID, err)
		}
	}
}
