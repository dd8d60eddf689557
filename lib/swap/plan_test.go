package swap

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/lib/pacemaker"
	"github.com/openstack-ocf/agents/lib/takeover"
	"github.com/openstack-ocf/agents/ocf"
)

func TestRefusesWhatIsNotWrittenOut(t *testing.T) {
	for _, c := range []struct{ name, in, words, other string }{
		{"plain", `<meta_attributes id-ref="m"/><instance_attributes id="i"><nvpair id="n" name="a" value="b"/></instance_attributes><operations><op id="o" name="start" interval="0"/></operations>`, "", ""},
		{"parameters of another", `<instance_attributes id-ref="theirs"/>`, `"theirs"`, ""},
		{"parameters by a rule", `<instance_attributes id="i"><rule id="r" score="1"/></instance_attributes>`, "a rule decides", ""},
		{"operations of another", `<operations id-ref="theirs"/>`, `"theirs"`, ""},
		{"a parameter of another", `<instance_attributes id="i"><nvpair id-ref="n-of-theirs" name="datadir"/></instance_attributes>`, "its parameter n-of-theirs", ""},
		{"parameters for another too", `<instance_attributes id="i"/>`, "of another resource too", `<instance_attributes id-ref="i"/>`},
		{"an operation for another too", `<operations><op id="o" name="start" interval="0"/></operations>`, "its operation o is that of another resource too", `<operations><op id-ref="o"/></operations>`},
		{"an operation of another", `<operations><op id-ref="start-of-theirs"/></operations>`, "start-of-theirs", ""},
	} {
		err := writtenOut(parse(t, `<cib><configuration><primitive id="x">`+c.other+`</primitive></configuration></cib>`), parse(t, `<primitive id="db">`+c.in+`</primitive>`))
		if c.words == "" && err != nil || c.words != "" && (err == nil || !strings.Contains(err.Error(), c.words)) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestRolesAndInstancesThatDiffer(t *testing.T) {
	for _, value := range []string{"true", "yes", "1", "on"} {
		if !isTrue(parse(t, `<clone id="c"><meta_attributes id="m"><nvpair id="n" name="globally-unique" value="`+value+`"/></meta_attributes></clone>`), "globally-unique") {
			t.Errorf("%s is not true", value)
		}
	}
	for role, want := range map[string]bool{"Started": false, "Stopped": false, "Promoted": true, "Slave": true} {
		if hasRoles([]pacemaker.Resource{{Role: role}}) != want {
			t.Errorf("%s: %v", role, !want)
		}
	}
}

func TestWhere(t *testing.T) {
	p := &Plan{cib: parse(t, benchCIB)}
	status := &pacemaker.Status{
		Nodes:     []pacemaker.Node{{Name: "node1"}, {Name: "node2"}}, // node3 was removed
		Resources: []pacemaker.Resource{{ID: "db", Role: "Started", Active: true, Managed: true, Nodes: []string{"node1"}}},
		Failures:  []pacemaker.Failure{{Resource: "db_backup", Operation: "db_backup_monitor_0", Node: "node1"}},
	}
	c := &Change{ID: "db"}
	if err := c.where(p, status); err != nil || !slices.Equal(c.Asked, []string{"node1", "node2"}) || len(c.Runs) != 1 {
		t.Errorf("%+v, %v", c, err)
	}
	status.Failures[0].Resource = "db"
	if err := c.where(p, status); err == nil {
		t.Error("a failure is passed over")
	}
}

// A monitor of the role Stopped looks where the resource does not run.
func TestSettledWithAMonitorOfTheStopped(t *testing.T) {
	c := &Change{ID: "db", To: "ocf:heartbeat:mysql", Runs: map[string]ocf.Code{"node1": ocf.OK}, New: parse(t, `<primitive id="db"/>`)}
	recurring := strings.NewReplacer(`interval="0"`, `interval="7000"`)
	cib := parse(t, recurring.Replace(benchCIB))
	status := &pacemaker.Status{Resources: []pacemaker.Resource{{ID: "db", Active: true, Managed: true, Nodes: []string{"node1"}}}}
	if err := c.settled(status, cib); err != nil {
		t.Error(err)
	}
	c.Runs["node2"] = ocf.OK
	if err := c.settled(status, cib); err == nil {
		t.Error("a monitor that says 7 where it runs is passed over")
	}
}

func TestSettledIsFinal(t *testing.T) {
	c := &Change{ID: "db", To: "ocf:heartbeat:mysql", Runs: map[string]ocf.Code{"node1": ocf.OK}}
	cib := parse(t, strings.Replace(benchCIB, `operation="monitor"`, `operation="stop"`, 1))
	err := c.settled(&pacemaker.Status{}, cib)
	if f, ok := err.(*final); !ok || !strings.Contains(f.Error(), "db: the cluster ran stop on node1") {
		t.Errorf("%T %v", err, err)
	}
}

func TestClock(t *testing.T) {
	now := time.Unix(1000, 0)
	for at, right := range map[int64]bool{0: true, 990: true, 975: true, 1020: true, 900: false, 1100: false} {
		if err := clock(pacemaker.Op{Node: "node2", At: at}, now.Add(-20*time.Second), now); (err == nil) != right {
			t.Errorf("%d: %v", at, err)
		}
	}
}

// What the new agent finds wrong with this node, such as a program that is too old, is refused before anything is changed.
func TestTryOut(t *testing.T) {
	for name, c := range map[string]struct {
		validate, monitor error
		want              string
	}{
		"all is well": {nil, nil, ""},
		"too old":     {ocf.Errorf(ocf.NotInstalled, "HAProxy 1.8 is too old"), nil, "says to validate-all on this node: 5 (not installed): HAProxy 1.8 is too old"},
		"not known":   {nil, ocf.Errorf(ocf.NotRunning, "no HAProxy runs"), "says to monitor on this node: 7 (not running): no HAProxy runs"},
	} {
		agent := func() ocf.Agent {
			nothing := func(context.Context, *ocf.Request) error { return nil }
			return ocf.Agent{Name: "a", Version: "1", Short: "A", Long: "A.", Actions: []ocf.Action{
				{Name: ocf.Start, Timeout: time.Second, Run: nothing},
				{Name: ocf.Stop, Timeout: time.Second, Run: nothing},
				{Name: ocf.Monitor, Timeout: time.Second, Interval: time.Second, Run: func(context.Context, *ocf.Request) error { return c.monitor }},
				{Name: ocf.ValidateAll, Timeout: time.Second, Run: func(_ context.Context, r *ocf.Request) error {
					if r.Level < 10 {
						return nil
					}
					return c.validate
				}},
			}}
		}
		err := new(Swap).tryOut(t.Context(), &Change{ID: "x", To: "ocf:openstack:a", New: pacemaker.El("primitive", "id", "x"), Runs: map[string]ocf.Code{"node1": ocf.OK}}, agent)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

func TestBecomes(t *testing.T) {
	for in, want := range map[string]string{
		`<primitive class="ocf" provider="openstack" type="haproxy"/>`: "claim",
		`<primitive class="systemd" type="haproxy"/>`:                  "hand_over",
		`<primitive class="service" type="no script of that name"/>`:   "hand_over",
		`<primitive class="lsb" type="haproxy"/>`:                      "disclaim",
		`<primitive class="ocf" provider="heartbeat" type="mysql"/>`:   "disclaim",
	} {
		got := becomes(parse(t, in))
		if got != want || unitActions()[got] == nil || !takeover.Has(Scout("1"), got) {
			t.Errorf("%s: %s, want %s, which scouts do too", in, got, want)
		}
	}
}

func TestWay(t *testing.T) {
	for want, c := range map[string]Change{
		"run by its unit a.service, in which its process stays":                   {Unit: "a.service", RunBy: byUnit, To: "ocf:openstack:a"},
		"run by ocf:openstack:a itself, for its process lives in no unit":         {RunBy: byAgent, To: "ocf:openstack:a"},
		"run by lsb:a itself; its process stays in a.service until it first ends": {Unit: "a.service", RunBy: byAgent, To: "lsb:a"},
	} {
		if got := c.Way(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// What the resource says of how its service is run, its unit would have to say.
func TestContradicts(t *testing.T) {
	direct := []string{"binary", "user"}
	for given, want := range map[string]bool{"binary": true, "datadir": false} {
		if contradicts(map[string]string{given: "x"}, direct) != want {
			t.Errorf("%s: %v", given, !want)
		}
	}
}
