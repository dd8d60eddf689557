package scenario

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/openstack-ocf/agents/lib/haproxy"
	"github.com/openstack-ocf/agents/test/cluster"
)

const (
	apiName   = "placement"
	apiPort   = 8778
	apiUnit   = "placement-api.service"
	apiBinary = "/usr/bin/placement-api"
	// apiPatience is longer than HAProxy takes to give a request for a node that is dead to another one.
	apiPatience = 4 * time.Second
)

// API is the document's load balancer in the group, in front of a stateless API on every node, which the cluster knows
// nothing of: OpenStack's Placement as Debian packages it, with its data in the group's database. The error says what is
// missing.
func API() (Service, error) {
	for _, need := range []string{"/usr/sbin/haproxy", apiBinary} {
		if _, err := os.Stat(need); err != nil {
			return Service{}, errors.New("needs " + need)
		}
	}
	const conf = "/etc/placement/placement.conf"
	return Service{
		ID: "haproxy", Agent: "ocf:openstack:haproxy", Daemon: []string{"haproxy"}, Speaks: "API", Unit: "requests",
		Diskless: true, APIs: []string{apiName},
		Files: []cluster.File{
			{Path: conf, Content: "[api]\nauth_strategy = noauth2\n[placement_database]\nconnection = mysql+pymysql://" +
				apiName + ":" + SQLPassword + "@" + FloatingIP + "/" + apiName + "\nmax_retries = -1\nretry_interval = 1\n"},
			{Path: "/etc/systemd/system/" + apiUnit, Content: "[Service]\nExecStart=" + apiBinary + " --host %H --port " + strconv.Itoa(apiPort) +
				"\n[Install]\nWantedBy=multi-user.target\n"},
		},
		Setup: func(ctx context.Context, s *Stage) error {
			return s.MakeDatabase(ctx, apiName, "placement-manage db sync")
		},
		Heal: startAPIs,
		Ledger: func(dial Dialer) (Ledger, error) {
			return Versions(dial, fmt.Sprintf("http://%s:%d/", FloatingIP, apiPort)), nil
		},
	}, nil
}

// APIOnClone is the same with HAProxy on every node, beside the group, and the floating IP where one works.
func APIOnClone() (Service, error) {
	s, err := API()
	s.Clone = true
	// What the plan's notes want on every node; a file in /etc/sysctl.d would be for the whole machine here.
	s.Files = append(s.Files, cluster.File{
		Path:    "/etc/systemd/system/pacemaker.service.d/nonlocal-bind.conf",
		Content: "[Service]\nExecStartPre=/sbin/sysctl -q -w net.ipv4.ip_nonlocal_bind=1\n",
	})
	return s, err
}

// startAPIs starts the API where it does not run, as its operator or a boot does, and returns when
// HAProxy finds it healthy on all nodes.
func startAPIs(ctx context.Context, s *Stage) error {
	states, err := s.Cluster.States(ctx)
	if err != nil {
		return err
	}
	for _, st := range states {
		if !st.On {
			continue
		}
		// A unit that is enabled starts at boot.
		res, err := s.Cluster.Node(st.Name).Shell(ctx, "systemctl is-active -q "+apiUnit+" || { echo stopped; systemctl enable -q --now "+apiUnit+"; }")
		if err != nil {
			return err
		}
		if res.Stdout != "" {
			s.say("on " + st.Name + ": # systemctl enable --now " + apiUnit)
		}
	}
	return s.balancerSays(ctx, func(rows []haproxy.Row) error {
		for _, st := range states {
			for _, row := range rows {
				if st.On && row.Service == st.Name && row.Status != "UP" {
					return fmt.Errorf("the API on %s is %s (%s)", row.Service, row.Status, row.Check)
				}
			}
		}
		return nil
	})
}

// balancerSays returns when HAProxy says of its servers what is wanted, or with why not when ctx ends.
func (s *Stage) balancerSays(ctx context.Context, ok func([]haproxy.Row) error) error {
	for {
		rows, err := s.Servers(ctx)
		if err == nil {
			err = ok(rows)
		}
		if err == nil {
			return nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		}
	}
}

// Servers are what HAProxy says of the APIs behind it, on every node where it runs.
func (s *Stage) Servers(ctx context.Context) (all []haproxy.Row, err error) {
	running := processes(s.Cluster.Processes(0), []string{"haproxy"}, leads)
	if len(running) == 0 {
		return nil, errors.New("no HAProxy runs")
	}
	for _, d := range running {
		// The agent's, or that of Debian's unit.
		run := fmt.Sprintf("/proc/%d/root/run/haproxy-master.sock", d.host)
		rows, err := haproxy.API{Address: run + ".ocf.stats"}.Stat(ctx, haproxy.Servers)
		if errors.Is(err, haproxy.ErrNotAsked) {
			rows, err = haproxy.API{Address: run, Worker: "@1"}.Stat(ctx, haproxy.Servers)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, rows...)
	}
	return all, nil
}

// Versions is an API's document of its versions, which needs no account.
func Versions(dial Dialer, url string) Ledger { return &httpLedger{url: url, client: httpClient(dial)} }

// httpLedger counts requests that are answered as they should be, each over a connection of its own. It keeps nothing.
type httpLedger struct {
	client *http.Client
	url    string
}

func httpClient(dial Dialer) *http.Client {
	return &http.Client{Timeout: apiPatience, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, addr string) (c net.Conn, err error) {
			ctx, cancel := context.WithTimeout(ctx, amqpConnect)
			defer cancel()
			return dial(ctx, network, addr)
		},
	}}
}

func (l *httpLedger) Put(ctx context.Context, _ int) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.url, nil)
	if err != nil {
		return err
	}
	answer, err := l.client.Do(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && (answer.StatusCode != http.StatusOK || !strings.Contains(string(text), "versions")) {
		err = fmt.Errorf("%s: %.80q", answer.Status, text)
	}
	return err
}

func (l *httpLedger) Numbers(context.Context) ([]int, error) { return nil, nil }

func (l *httpLedger) Close() error { return nil }
