package status

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/test/needs"
)

// Every panel of the packages' dashboard shows something, and no more than one thing for a service: a real Prometheus scrapes
// the metrics as two nodes write them, and answers the panels' queries.
func TestDashboard(t *testing.T) {
	program := needs.Program(t, "prometheus", "prometheus")
	text, err := os.ReadFile("../../packaging/grafana-dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil || len(board.Panels) == 0 {
		t.Fatalf("%d panels: %v", len(board.Panels), err)
	}
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		r := compose(mon("Started"), cluster(t, "", counted, started+well+limp+broken), "", func(string) string { return "do this" }, time.Now())
		if err := r.WriteMetrics(w); err != nil {
			t.Error(err)
		}
	}))
	defer node.Close()
	other := httptest.NewServer(node.Config.Handler)
	defer other.Close()
	ask := prometheus(t, program, node.Listener.Addr().String(), other.Listener.Addr().String())
	for deadline := time.Now().Add(2 * time.Minute); len(ask("count(openstack_ocf_up) == 2")) == 0; {
		if time.Now().After(deadline) {
			t.Fatal("Prometheus has not scraped both")
		}
		time.Sleep(50 * time.Millisecond)
	}
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			got := ask(strings.ReplaceAll(target.Expr, "$cluster", ".*"))
			if len(got) == 0 {
				t.Errorf("%s shows nothing: %s", p.Title, target.Expr)
			}
			for _, series := range got {
				if _, ok := series.Metric["instance"]; ok {
					t.Errorf("%s shows each node's view: %s gives %v", p.Title, target.Expr, series.Metric)
				}
			}
		}
	}
	if down := ask(`sum(openstack_ocf_resource_down) + 1`); len(down) != 1 || fmt.Sprint(down[0].Value[1]) != "1" {
		t.Errorf("the service is down: %v", down)
	}
}

type series struct {
	Metric map[string]string
	Value  [2]any
}

// prometheus runs one that scrapes the targets, and returns how it is asked.
func prometheus(t *testing.T, program string, targets ...string) func(query string) []series {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	list, err := json.Marshal(targets)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, fmt.Appendf(nil, "global: {scrape_interval: 1s}\nscrape_configs: [{job_name: node, static_configs: [{targets: %s}]}]\n", list), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address)
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(said.String())
		}
	})
	return func(query string) []series {
		resp, err := http.PostForm("http://"+address+"/api/v1/query", url.Values{"query": {query}})
		if err != nil {
			return nil // not up yet
		}
		defer resp.Body.Close()
		if resp.StatusCode == http.StatusServiceUnavailable {
			return nil // not ready yet
		}
		var answer struct {
			Error string
			Data  struct{ Result []series }
		}
		if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Error != "" {
			t.Errorf("%s: %v %s", query, err, answer.Error)
		}
		return answer.Data.Result
	}
}
