package status

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// BenchmarkRead is all of `openstack-ocf status` but the time that Pacemaker's tools take, for 200 resources on 3 nodes.
func BenchmarkRead(b *testing.B) {
	const resources = 200
	bin := b.TempDir()
	put := func(name, text string) {
		b.Helper()
		if err := os.WriteFile(filepath.Join(bin, name), []byte(text), 0o755); err != nil {
			b.Fatal(err)
		}
	}
	nodes := []string{"node1", "node2", "node3"}
	var mon, conf, status strings.Builder
	for _, n := range nodes {
		fmt.Fprintf(&status, `<node_state uname="%s"><lrm id="%[1]s"><lrm_resources>`, n)
		for r := range resources {
			fmt.Fprintf(&status, `<lrm_resource id="db%d" class="ocf" provider="openstack" type="mysql-shared-storage">%s</lrm_resource>`, r, strings.ReplaceAll(started+well+limp+noStart, `"db_`, fmt.Sprintf(`"db%d_`, r)))
		}
		status.WriteString(`</lrm_resources></lrm></node_state>`)
	}
	for r := range resources {
		fmt.Fprintf(&conf, `<primitive id="db%d" class="ocf" provider="openstack" type="mysql-shared-storage"><operations><op id="db%[1]d-m" name="monitor" interval="2s"/></operations></primitive>`, r)
		fmt.Fprintf(&mon, `<resource id="db%d" resource_agent="ocf:openstack:mysql-shared-storage" role="Started" active="true" orphaned="false" blocked="false" managed="true" failed="false"><node name="%s"/></resource>`, r, nodes[r%3])
	}
	put("mon.xml", `<pacemaker-result><summary><current_dc name="node1" with_quorum="true"/></summary><nodes><node name="node1" online="true"/><node name="node2" online="true"/><node name="node3" online="true"/></nodes><resources>`+mon.String()+`</resources></pacemaker-result>`)
	put("cib.xml", `<cib><configuration><crm_config/><resources>`+conf.String()+`</resources></configuration><status>`+status.String()+`</status></cib>`)
	put("crm_mon", "#!/bin/sh\nexec cat "+bin+"/mon.xml\n")
	put("cibadmin", "#!/bin/sh\nexec cat "+bin+"/cib.xml\n")
	put("crmadmin", "#!/bin/sh\necho S_IDLE\n")
	b.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	guide, err := os.ReadFile("../../packaging/guide.md")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		r, err := Read(b.Context(), Advice(string(guide)))
		if err != nil {
			b.Fatal(err)
		}
		var text strings.Builder
		if err := r.WriteText(&text, false); err != nil || len(r.Resources) != resources {
			b.Fatal(err, len(r.Resources))
		}
	}
}
