package pacemaker

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/test/needs"
)

// A tool that gets on is not ended, however long it takes; one that hangs is.
func TestToolsAreBoundedByProgress(t *testing.T) {
	needs.Installed(t, "seconds of a processor")
	if _, err := tool(t.Context(), 500*time.Millisecond, "", "bash", "-c", "while [ $SECONDS -lt 3 ]; do :; done"); err != nil {
		t.Error(err)
	}
	began := time.Now()
	_, err := tool(t.Context(), 500*time.Millisecond, "", "sleep", "60")
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "sleep has not got on for 500ms") || time.Since(began) > 30*time.Second {
		t.Error(err, time.Since(began))
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := tool(ctx, time.Minute, "", "sleep", "60"); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "did not end in time") {
		t.Error(err)
	}
}

// A change of the configuration alone, and one of the status too.
func TestPatch(t *testing.T) {
	needs.Program(t, "cibadmin", "pacemaker-cli-utils")
	file := filepath.Join(t.TempDir(), "cib.xml")
	t.Setenv("CIB_file", file)
	if err := os.WriteFile(file, []byte(`<cib crm_feature_set="3.16.1" validate-with="pacemaker-3.7" epoch="7" num_updates="2" admin_epoch="0">
<configuration><crm_config/><nodes/><resources><primitive id="a" class="lsb" type="x"/><primitive id="b" class="lsb" type="x"/></resources><constraints/></configuration>
<status><node_state id="1" uname="node1"><lrm id="1"><lrm_resources/></lrm></node_state></status></cib>`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, edit := range []func(*Element){
		func(cib *Element) { cib.Find("primitive", "b").Set("type", "y") },
		func(cib *Element) {
			cib.Find("primitive", "a").Set("type", "z")
			cib.Child("status").Find("node_state", "1").Set("crmd", "online")
		},
	} {
		from, err := CIB(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		to := from.Clone()
		edit(to)
		if err := Patch(t.Context(), from, to); err != nil {
			t.Fatal(err)
		}
		now, err := CIB(t.Context())
		if err != nil || !now.Child("configuration").Equal(to.Child("configuration")) || !now.Child("status").Equal(to.Child("status")) {
			t.Errorf("%v: %s", err, now)
		}
	}
}
