package status

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A controller that hangs takes half of the time, and what is known is told; who reads on has the other half.
func TestControllerHangs(t *testing.T) {
	dir := t.TempDir()
	for tool, says := range map[string]string{
		"crm_mon": `echo '<pacemaker-result><summary><current_dc name="node1" with_quorum="true"/></summary><nodes><node name="node1" online="true"/></nodes>` +
			`<resources><resource id="db" resource_agent="ocf:openstack:mysql" role="Started" active="true" managed="true"><node name="node1"/></resource></resources></pacemaker-result>'`,
		"cibadmin": `echo '<cib><configuration/><status/></cib>'`,
		"crmadmin": "exec sleep 1000",
	} {
		if err := os.WriteFile(filepath.Join(dir, tool), []byte("#!/bin/sh\n"+says+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second)
	defer cancel()
	r, err := Read(ctx, func(string) string { return "" })
	if err != nil || ctx.Err() != nil {
		t.Fatalf("%v, %v", err, ctx.Err())
	}
	if !strings.Contains(r.Cluster.Doing, "crmadmin") || len(r.Resources) != 1 {
		t.Errorf("%+v", r)
	}
}
