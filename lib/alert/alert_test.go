package alert

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/lib/pacemaker"
)

const epoch = 1795851192

// environment is what Pacemaker 2.1.5 was seen to give.
func environment(changes ...string) func(string) string {
	env := map[string]string{
		"CRM_alert_kind": "resource", "CRM_alert_node": "node2", "CRM_alert_rsc": "db", "CRM_alert_task": "monitor",
		"CRM_alert_interval": "2000", "CRM_alert_rc": "190", "CRM_alert_target_rc": "0", "CRM_alert_status": "0",
		"CRM_alert_desc": "OCF_DEGRADED", "CRM_alert_timestamp_epoch": "1795851192", "CRM_alert_version": "2.1.5",
	}
	for i := 0; i+1 < len(changes); i += 2 {
		env["CRM_alert_"+changes[i]] = changes[i+1]
	}
	return func(name string) string { return env[name] }
}

func TestOf(t *testing.T) {
	limp := pacemaker.Op{Node: "node2", Operation: "monitor", Interval: "2000", Code: 190, Failure: true, Reason: "85% full at http://u:pw@h/ passwd=x", At: epoch}
	dead := pacemaker.Op{Node: "node1", Operation: "monitor", Interval: "2000", Code: 7, Failure: true, Reason: "no server runs", At: epoch - 3}
	for name, c := range map[string]struct {
		env  func(string) string
		ops  []pacemaker.Op
		want string
	}{
		"degraded":                    {environment(), []pacemaker.Op{limp}, "db on node2: monitor degraded (190): 85% full at http://(secret)@h/ passwd=(secret) -> do it"},
		"degraded, and nobody knows":  {environment("kind", "other"), nil, ""},
		"well again":                  {environment("rc", "0", "desc", "ok"), []pacemaker.Op{limp}, "db on node2 is well again; it was: 85% full at http://(secret)@h/ passwd=(secret)"},
		"the first monitor":           {environment("rc", "0", "desc", "ok"), []pacemaker.Op{dead}, ""},
		"back on another node":        {environment("rc", "0", "task", "start", "interval", "0"), []pacemaker.Op{dead}, "db on node2 is well again; it was: no server runs"},
		"an ordinary start":           {environment("rc", "0", "task", "start", "interval", "0"), nil, ""},
		"a start long after":          {environment("rc", "0", "task", "start", "interval", "0", "timestamp_epoch", "1795859999"), []pacemaker.Op{dead}, ""},
		"a stop":                      {environment("rc", "0", "task", "stop", "interval", "0"), []pacemaker.Op{dead}, ""},
		"cancelled":                   {environment("status", "1", "rc", "0", "desc", "Cancelled"), nil, ""},
		"a probe that finds nothing":  {environment("rc", "7", "target_rc", "7", "interval", "0"), nil, ""},
		"a probe that finds it there": {environment("rc", "0", "target_rc", "7", "interval", "0"), nil, ""},
		"a node":                      {environment("kind", "node", "desc", "lost"), nil, "node node2 is lost"},
		"fencing":                     {environment("kind", "fencing", "task", "reboot", "desc", "ok"), nil, "fencing (reboot) of node2: ok"},
	} {
		a := Of(t.Context(), c.env, func(context.Context, string) []pacemaker.Op { return c.ops }, func(string) string { return "do it" })
		got := ""
		if a != nil {
			got = a.Text
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// An instance of a globally-unique clone has a number; the history goes by the clone's name.
func TestInstance(t *testing.T) {
	a := Of(t.Context(), environment("rsc", "db:1"), func(_ context.Context, id string) []pacemaker.Op {
		if id != "db" {
			return nil
		}
		return []pacemaker.Op{{Node: "node2", Operation: "monitor", Interval: "2000", Code: 190, Failure: true, Reason: "85% full", At: epoch}}
	}, func(string) string { return "" })
	if a == nil || a.Reason != "85% full" || a.Resource != "db:1" {
		t.Errorf("%+v", a)
	}
}

// The CIB may have the reason a moment after the alert; a time-out has none.
func TestTheReasonMayBeLate(t *testing.T) {
	asked := 0
	a := Of(t.Context(), environment("rc", "1"), func(context.Context, string) []pacemaker.Op {
		if asked++; asked < 3 {
			return nil
		}
		return []pacemaker.Op{{Node: "node2", Operation: "monitor", Interval: "2000", Code: 1, Failure: true, Reason: "is frozen", At: epoch}}
	}, func(string) string { return "" })
	if a == nil || a.State != "failed" || a.Reason != "is frozen" || !a.Urgent() {
		t.Errorf("%+v", a)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	a = Of(ended, environment("rc", "1", "status", "2", "desc", "Timed Out"), func(context.Context, string) []pacemaker.Op { return nil }, func(string) string { return "" })
	if a == nil || a.Text != "db on node2: monitor failed (1): Timed Out" {
		t.Errorf("%+v", a)
	}
}

func TestPost(t *testing.T) {
	var got Alert
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		if json.Unmarshal(text, &got) != nil || r.Header.Get("Content-Type") != "application/json" {
			w.WriteHeader(http.StatusBadRequest)
		}
		if r.URL.Path == "/broken" {
			w.WriteHeader(http.StatusTeapot)
		}
	}))
	defer server.Close()
	a := &Alert{Kind: "resource", State: "degraded", Resource: "db", Node: "n", Code: 190, Text: "all of it"}
	if err := a.Post(t.Context(), server.URL); err != nil || got.Resource != "db" || got.Code != 190 || got.Text != "all of it" {
		t.Errorf("%v, %+v", err, got)
	}
	if err := a.Post(t.Context(), server.URL+"/broken"); err == nil || !strings.Contains(err.Error(), "418") {
		t.Error(err)
	}
	if err := a.Post(t.Context(), "http://user:hunter2@"); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Error(err)
	}
	hung, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if err := a.Post(hung, "http://"+silent.Addr().String()+"/T0/hunter2"); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("who does not answer was told, or all may read the webhook's token: %v", err)
	}
}

// The journal's own socket takes what is written.
func TestFields(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	out, err := net.Dial("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	a := &Alert{Kind: "resource", State: "failed", Resource: "db", Node: "n", Action: "monitor", Code: 1, Reason: "a\nb", Text: "t"}
	if _, err := out.Write(a.fields()); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1000)
	n, err := conn.Read(b)
	want := "MESSAGE=t\nPRIORITY=3\nSYSLOG_IDENTIFIER=openstack-ocf-alert\nOCF_KIND=resource\nOCF_STATE=failed\nOCF_RESOURCE=db\nOCF_NODE=n\nOCF_ACTION=monitor\nOCF_CODE=1\nOCF_REASON\n\x03\x00\x00\x00\x00\x00\x00\x00a\nb\n"
	if got := string(b[:n]); err != nil || got != want {
		t.Errorf("%q, want %q, %v", got, want, err)
	}
}
