package plan

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A broker is promoted some monitors after the cluster has come to rest, and its address runs only then.
func TestApplyAwaitsThePromotion(t *testing.T) {
	cp := &ControlPlane{
		floatingIP: word{s: "10.0.0.8"}, group: word{s: "g"}, ipAgent: word{s: "ocf:openstack:floating-ip"},
		services: []service{{id: word{s: "qpidd"}, agent: word{s: "ocf:openstack:qpidd"}, run: word{s: asPromotable}, ip: word{s: "10.0.0.9"}}},
	}
	mon := func(active ...string) string {
		said := `<pacemaker-result><nodes><node name="node1" online="true"/></nodes><resources>`
		for _, id := range active {
			said += `<resource id="` + id + `" active="true"/>`
		}
		return "echo '" + said + "</resources></pacemaker-result>'"
	}
	promoted := mon("ip-10.0.0.8", "qpidd", "ip-10.0.0.9")
	for name, c := range map[string]struct{ mon, want string }{
		"promoted at once":     {promoted, ""},
		"promoted later":       {`[ -e "$0.was" ] && { ` + promoted + `; exit; }; touch "$0.was"; ` + mon("ip-10.0.0.8", "qpidd"), ""},
		"its broker is not":    {mon("ip-10.0.0.8"), "qpidd, ip-10.0.0.9: not running"},
		"something else lacks": {mon("qpidd", "ip-10.0.0.9"), "ip-10.0.0.8: not running"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "crm_mon"), []byte("#!/bin/sh\n"+c.mon+"\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
			a := &Apply{ControlPlane: cp, Say: t.Logf}
			err := a.running(t.Context())
			if got := errText(err); !strings.Contains(got, c.want) || (c.want == "") != (err == nil) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
