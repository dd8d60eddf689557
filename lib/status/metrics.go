package status

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// states are all there are, so that each is a series: 1 for the one that holds.
var states = []string{Blocked, Failed, Degraded, Changing, Stopped, Serving}

// WriteMetrics writes the report for node_exporter's textfile collector, in the text format of Prometheus
// (https://prometheus.io/docs/instrumenting/exposition_formats/), which its OpenMetrics readers take as well.
func (r *Report) WriteMetrics(w io.Writer) error {
	m := &metrics{written: map[string]bool{}}
	m.family("openstack_ocf_up", "1 if Pacemaker answered.")
	m.sample("openstack_ocf_up", 1)
	m.here(r.At, r.Cluster.Frozen)
	m.family("openstack_ocf_cluster", "1 if the cluster has what the label says.")
	for _, c := range []struct {
		is   bool
		what string
	}{
		{r.Cluster.DC != "", "dc"},
		{r.Cluster.Quorum, "quorum"},
		{r.Cluster.Fencing, "fencing"},
		{r.Cluster.Maintenance, "maintenance"},
		{r.Cluster.Doing == "", "rest"},
	} {
		m.sample("openstack_ocf_cluster", number(c.is), "has", c.what)
	}
	m.family("openstack_ocf_node", "1 if the node is in the state that the label says.")
	for _, n := range r.Nodes {
		m.sample("openstack_ocf_node", 1, "node", n.Name, "state", n.State)
	}
	m.family("openstack_ocf_resource_state", "1 if the resource is in the state that the label says; its worst instance counts.")
	for _, res := range r.Resources {
		for _, s := range states {
			m.sample("openstack_ocf_resource_state", number(res.State == s), "resource", res.ID, "agent", res.Agent, "state", s)
		}
	}
	m.family("openstack_ocf_resource_managed", "0 if the cluster leaves the resource alone.")
	for _, res := range r.Resources {
		m.sample("openstack_ocf_resource_managed", number(res.Managed), "resource", res.ID)
	}
	m.family("openstack_ocf_resource_down", "1 if the resource runs nowhere, although nobody stopped it.")
	for _, res := range r.Resources {
		m.sample("openstack_ocf_resource_down", number(res.Down()), "resource", res.ID)
	}
	r.instances(m)
	r.failures(m)
	_, err := io.WriteString(w, m.String())
	return err
}

func (r *Report) instances(m *metrics) {
	each := func(name, help string, value func(i Instance) (float64, bool), labels ...func(i Instance) (name, value string)) {
		m.family(name, help)
		for _, res := range r.Resources {
			for _, i := range res.Instances {
				v, ok := value(i)
				if !ok {
					continue
				}
				pairs := []string{"resource", res.ID, "node", i.Node}
				for _, l := range labels {
					n, v := l(i)
					pairs = append(pairs, n, v)
				}
				m.sample(name, v, pairs...)
			}
		}
	}
	each("openstack_ocf_instance_code", "Exit code of the resource's agent on the node: 0, 190 and 191 (degraded), or a failure.",
		func(i Instance) (float64, bool) { return float64(i.Code), i.Node != "" })
	each("openstack_ocf_instance_since_seconds", "Since when the instance is as it is, since 1970.",
		func(i Instance) (float64, bool) { return float64(i.Since.Unix()), !i.Since.IsZero() })
	each("openstack_ocf_instance_info", "Always 1; the labels say how the instance is, and why.",
		func(Instance) (float64, bool) { return 1, true },
		func(i Instance) (string, string) { return "state", i.State },
		func(i Instance) (string, string) { return "role", i.Role },
		func(i Instance) (string, string) { return "reason", i.Reason },
		func(i Instance) (string, string) { return "advice", i.Advice })
	m.family("openstack_ocf_monitor_seconds", "How long the monitor took when it first had the result that it has.")
	for _, res := range r.Resources {
		for _, i := range res.Instances {
			for _, mon := range i.Monitors {
				m.sample("openstack_ocf_monitor_seconds", mon.Took.Seconds(), "resource", res.ID, "node", i.Node, "interval", mon.Interval.String())
			}
		}
	}
}

func (r *Report) failures(m *metrics) {
	m.family("openstack_ocf_failures", "Pacemaker's fail count of an operation that failed and was not cleaned up; 1000000 is INFINITY.")
	for _, res := range r.Resources {
		for _, f := range res.Failures {
			m.sample("openstack_ocf_failures", float64(f.Count), "resource", res.ID, "node", f.Node, "operation", f.Operation, "reason", f.Reason)
		}
	}
}

// WriteDown writes the metrics of a cluster that does not answer.
func WriteDown(w io.Writer, now time.Time, frozen []string) error {
	m := &metrics{written: map[string]bool{}}
	m.family("openstack_ocf_up", "1 if Pacemaker answered.")
	m.sample("openstack_ocf_up", 0)
	m.here(now, frozen)
	_, err := io.WriteString(w, m.String())
	return err
}

// here is what holds for this node alone.
func (m *metrics) here(now time.Time, frozen []string) {
	m.family("openstack_ocf_time_seconds", "When this was written, since 1970.")
	m.sample("openstack_ocf_time_seconds", float64(now.Unix()))
	m.family("openstack_ocf_frozen", "1: a signal has stopped this daemon of the cluster on this node.")
	for _, f := range frozen {
		daemon, _, _ := strings.Cut(f, " ")
		m.sample("openstack_ocf_frozen", 1, "daemon", daemon)
	}
}

// metrics is text of Prometheus' format. All of ours are gauges.
type metrics struct {
	strings.Builder
	written map[string]bool
}

func (m *metrics) family(name, help string) {
	fmt.Fprintf(m, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name)
}

// sample is one line; labels are names and values in turn, and empty ones are left out. Of two with the same labels, such as
// of two instances on one node, the first is written: node_exporter drops the
// other, with an error in its log at each scrape.
func (m *metrics) sample(name string, value float64, labels ...string) {
	escape := strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
	var pairs []string
	for i := 0; i+1 < len(labels); i += 2 {
		if labels[i+1] != "" {
			pairs = append(pairs, labels[i]+`="`+escape.Replace(strings.ToValidUTF8(labels[i+1], "?"))+`"`)
		}
	}
	set := ""
	if len(pairs) > 0 {
		set = "{" + strings.Join(pairs, ",") + "}"
	}
	if m.written[name+set] {
		return
	}
	m.written[name+set] = true
	fmt.Fprintf(m, "%s%s %v\n", name, set, value)
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
