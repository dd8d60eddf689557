package status

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/lib/pacemaker"
	"github.com/openstack-ocf/agents/test/needs"
)

// The packages' alert rules, on the metrics of clusters with which something is wrong, and of one that is well: Prometheus'
// own promtool says which alerts fire.
func TestRules(t *testing.T) {
	promtool := needs.Program(t, "promtool", "prometheus")
	rules, err := filepath.Abs("../../packaging/prometheus-rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(rules)
	if err != nil {
		t.Fatal(err)
	}
	fired := map[string]bool{}
	quiet := func(s *pacemaker.Status) { s.Nodes = s.Nodes[:2] } // node3 is gone otherwise
	const minutes = 120
	wellOne := mon("Started")
	quiet(wellOne)
	for name, c := range map[string]struct {
		mon   func(*pacemaker.Status)
		role  string
		attrs string
		ops   string
		fence string
		stale bool
		// daemons of this node
		frozen []string
		want   []string
	}{
		"well":      {mon: quiet, role: "Started", ops: started + well},
		"degraded":  {mon: quiet, role: "Started", ops: started + well + limp, want: []string{"ClusterServiceDegraded"}},
		"failed":    {mon: func(s *pacemaker.Status) { quiet(s); s.Resources[0].Failed = true }, role: "Started", attrs: counted, ops: started + broken, want: []string{"ClusterServiceFailed"}},
		"banned":    {mon: func(s *pacemaker.Status) { quiet(s); s.Resources[0].Nodes = nil; s.Resources[0].Active = false }, role: "Stopped", attrs: banned, ops: noStart, want: []string{"ClusterServiceBannedFromNode", "ClusterServiceDown"}},
		"unmanaged": {mon: func(s *pacemaker.Status) { quiet(s); s.Resources[0].Managed = false }, role: "Started", ops: started + well, want: []string{"ClusterServiceUnmanaged"}},
		"no quorum, no fencing, a node gone": {
			mon: func(s *pacemaker.Status) { s.Quorum = false }, role: "Started", ops: started + well, fence: "false",
			want: []string{"ClusterNodeGone", "ClusterWithoutFencing", "ClusterWithoutQuorum"},
		},
		"frozen":                 {mon: quiet, role: "Started", ops: started + well, frozen: []string{"corosync (pid 7)"}, want: []string{"ClusterDaemonFrozen"}},
		"nobody writes any more": {mon: quiet, role: "Started", ops: started + well, stale: true, want: []string{"ClusterNotSeen"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := mon(c.role)
			c.mon(s)
			cib := cluster(t, "", c.attrs, c.ops)
			if c.fence != "" {
				cib.Find("nvpair", "p1").Set("value", c.fence)
			}
			var metrics strings.Builder
			r := compose(s, cib, "", func(string) string { return "do this" }, time.Unix(0, 0))
			r.Cluster.Frozen = c.frozen
			if err := r.WriteMetrics(&metrics); err != nil {
				t.Fatal(err)
			}
			var beside strings.Builder // another cluster, with which nothing is wrong, must not speak for it
			if err := compose(wellOne, cluster(t, "", "", started+well), "", func(string) string { return "" }, time.Unix(0, 0)).WriteMetrics(&beside); err != nil {
				t.Fatal(err)
			}
			var test strings.Builder
			fmt.Fprintf(&test, "rule_files: [%q]\nevaluation_interval: 1m\ntests:\n  - interval: 1m\n    input_series:\n", rules)
			add := func(metrics, cluster string, stale bool) {
				for line := range strings.Lines(metrics) {
					line = strings.TrimSpace(line)
					if strings.HasPrefix(line, "#") {
						continue
					}
					cut := strings.LastIndexByte(line, ' ')
					values := line[cut+1:] + "x" + strconv.Itoa(minutes)
					if strings.HasPrefix(line, "openstack_ocf_time_seconds") && !stale {
						values = "0+60x" + strconv.Itoa(minutes)
					}
					name, labels, _ := strings.Cut(strings.TrimSuffix(line[:cut], "}"), "{")
					fmt.Fprintf(&test, "      - {series: '%s{cluster=%q,%s}', values: '%s'}\n", name, cluster, strings.ReplaceAll(labels, "'", "''"), values)
				}
			}
			add(metrics.String(), "this", c.stale)
			add(beside.String(), "beside", false)
			fmt.Fprintf(&test, "    promql_expr_test:\n      - expr: count by (alertname) (ALERTS{alertstate=\"firing\"})\n        eval_time: %dm\n        exp_samples:\n", minutes-1)
			for _, alert := range c.want {
				fmt.Fprintf(&test, "          - {labels: '{alertname=%q}', value: 1}\n", alert)
				fired[alert] = true
			}
			file := filepath.Join(t.TempDir(), "test.yaml")
			if err := os.WriteFile(file, []byte(test.String()), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(promtool, "test", "rules", file).CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	for _, alert := range regexp.MustCompile(`(?m)alert: (\S+)`).FindAllStringSubmatch(string(text), -1) {
		if !fired[alert[1]] {
			t.Errorf("no cluster makes %s fire", alert[1])
		}
	}
}
