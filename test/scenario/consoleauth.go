package scenario

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/openstack-ocf/agents/lib/oslo"
	"github.com/openstack-ocf/agents/lib/rpcping"
	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/openstack"
)

const (
	consoleauthBinary = "/usr/bin/nova-consoleauth"
	callPause         = 100 * time.Millisecond
	callPatience      = 2 * time.Second
)

// Controller is the host that a service which runs on one node at a time registers as, on whatever node that is.
const Controller = "controller"

// Consoleauth is nova-consoleauth in the group, as an operator has it: its configuration names the group's address, for
// the database and the broker, and the same host on all nodes. kind says what runs: a real one where there is one on this
// machine, else a small manager on Debian's nova. The error says what is missing.
func Consoleauth() (s Service, kind string, err error) {
	python, err := filepath.EvalSymlinks("/usr/bin/python3")
	if err == nil {
		err = exec.Command(python, "-c", "import nova.service, pyngus").Run()
	}
	if err != nil {
		return Service{}, "", fmt.Errorf("needs nova and python3-pyngus: %w", err)
	}
	program := cluster.File{Path: consoleauthBinary, Mode: 0o755}
	if real := openstack.RealConsoleauth(); real != "" {
		kind, program.From = "a real nova-consoleauth", real
	} else {
		kind, program.Content = "a small manager on Debian's nova, which has no nova-consoleauth any more", openstack.ConsoleauthScript()
	}
	return Service{
		ID: "consoleauth", Agent: "ocf:openstack:nova-consoleauth", Daemon: []string{filepath.Base(python)}, Script: filepath.Base(consoleauthBinary),
		Speaks: "RPC", Unit: "calls", Diskless: true, Pause: callPause,
		Files: []cluster.File{program, {Path: "/etc/nova/nova.conf", Owner: "root:nova", Mode: 0o640, Content: `[DEFAULT]
host = ` + Controller + `
transport_url = amqp://` + FloatingIP + `:5672/
[database]
connection = mysql+pymysql://nova:` + SQLPassword + `@` + FloatingIP + `/nova
`}},
		Setup: func(ctx context.Context, s *Stage) error {
			return s.MakeDatabase(ctx, "nova", "nova-manage db sync --local_cell")
		},
		Ledger: func(dial Dialer) (Ledger, error) { return Tokens(dial, callPatience), nil },
	}, kind, nil
}

// Bus is the group's broker, as OpenStack's services use it: exchange is the project's.
func Bus(exchange string) oslo.Transport {
	return oslo.Transport{
		Driver: oslo.AMQP1, Brokers: []oslo.Broker{{Host: FloatingIP, Port: 5672}}, Exchange: exchange,
		Addressing: oslo.Addressing{Mode: "dynamic", LegacyPrefix: "exclusive"},
	}
}

// Tokens is nova-consoleauth as a console proxy uses it: each number is a token that it is asked for, over the broker at
// the group's address, and that there is not. An answer may take as long as patience. It keeps nothing.
func Tokens(dial Dialer, patience time.Duration) Ledger { return tokenLedger{dial, patience} }

type tokenLedger struct {
	dial     Dialer
	patience time.Duration
}

func (l tokenLedger) Put(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, l.patience)
	defer cancel()
	ask := rpcping.Request{Topic: "consoleauth", Host: Controller, Method: "check_token", Version: "2.1", Args: map[string]any{"token": fmt.Sprint(n)}}
	a := rpcping.Call(ctx, Bus("nova"), ask, rpcping.Options{ReplyTo: "proxy", Dial: l.dial})
	if a.State != rpcping.Answered || string(a.Result) != "null" {
		return fmt.Errorf("%s %s", a.Reason(), a.Result)
	}
	return nil
}

func (tokenLedger) Numbers(context.Context) ([]int, error) { return nil, nil }
func (tokenLedger) Close() error                           { return nil }
