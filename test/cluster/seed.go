package cluster

import (
	"encoding/xml"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// haclusterHash is crypt(3) SHA-512 of HaclusterPassword.
const haclusterHash = "$6$cluster$HWgF1hMpgyZwbLOpgXoYLlBkWO70IFLO2r82oe9hlemULkQvzE5ktszH/L/dIQ8popbhc3KAj6JCiW99HFqJi/"

func hosts(nodes int) string {
	var b strings.Builder
	b.WriteString("127.0.0.1 localhost\n" + RackAddr + " rack\n")
	for i := 1; i <= nodes; i++ {
		fmt.Fprintf(&b, "%s %s\n", nodeAddr(i), nodeName(i))
	}
	return b.String()
}

// corosyncConf is what `pcs cluster setup` would write, without encryption (corosync.conf(5)).
func corosyncConf(cfg Config) string {
	var b strings.Builder
	fmt.Fprintf(&b, `totem {
    version: 2
    cluster_name: %s
    transport: knet
    crypto_cipher: none
    crypto_hash: none
    token: %d
}
quorum {
    provider: corosync_votequorum
    two_node: %d
}
logging {
    to_stderr: no
    to_syslog: yes
    to_logfile: yes
    logfile: /var/log/corosync/corosync.log
    timestamp: hires
}
nodelist {
`, cfg.Name, cfg.Token.Milliseconds(), map[bool]int{true: 1}[cfg.Nodes == 2])
	for i := 1; i <= cfg.Nodes; i++ {
		fmt.Fprintf(&b, "    node {\n        name: %s\n        nodeid: %d\n        ring0_addr: %s\n    }\n", nodeName(i), i, nodeAddr(i))
	}
	b.WriteString("}\n")
	return b.String()
}

// seedCIB is the CIB of a cluster's first boot. The schema is one that Pacemaker 2.1.5 to 3.0 know.
func seedCIB(cfg Config) string {
	properties := map[string]string{"stonith-enabled": "true", "dc-deadtime": "2s", "cluster-name": cfg.Name}
	maps.Copy(properties, cfg.Properties)
	var nv strings.Builder
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		var value strings.Builder
		xml.EscapeText(&value, []byte(properties[name]))
		fmt.Fprintf(&nv, `<nvpair id="cib-bootstrap-options-%s" name="%s" value="%s"/>`, name, name, value.String())
	}
	var nodes strings.Builder
	for i := 1; i <= cfg.Nodes; i++ {
		fmt.Fprintf(&nodes, `<node id="%d" uname="%s"/>`, i, nodeName(i))
	}
	return `<cib crm_feature_set="3.16.1" validate-with="pacemaker-3.9" epoch="1" num_updates="0" admin_epoch="0"><configuration>` +
		`<crm_config><cluster_property_set id="cib-bootstrap-options">` + nv.String() + `</cluster_property_set></crm_config>` +
		`<nodes>` + nodes.String() + `</nodes>` +
		`<resources><primitive id="fence" class="stonith" type="` + roleFence + `">` +
		`<operations><op id="fence-monitor-60s" name="monitor" interval="60s" timeout="20s"/></operations></primitive></resources>` +
		`<constraints/></configuration><status/></cib>` + "\n"
}
