package scenario_test

import (
	"github.com/openstack-ocf/agents/test/cluster"
	"github.com/openstack-ocf/agents/test/scenario"
)

// theLeast holds an address and mounts a storage by as little as can do it: a shell that calls ip, arping, mount and umount once,
// and whose monitors look at a file of its own. What a fail-over takes with these agents it takes with any, so this is not
// something to run, but what others are measured by.
func theLeast() scenario.Foundation {
	return scenario.Foundation{Address: "ocf:least:address", Storage: "ocf:least:storage"}
}

// leastFiles are its agents.
func leastFiles() []cluster.File {
	agent := func(name, parameters, start, stop string) cluster.File {
		return cluster.File{Path: "/usr/lib/ocf/resource.d/least/" + name, Mode: 0o755, Content: `#!/bin/sh
well=/run/least-` + name + `
case $1 in
start) [ -e $well ] || { ` + start + ` && : >$well; } ;;
stop) [ ! -e $well ] || { ` + stop + ` && rm $well; } ;;
monitor) [ -e $well ] || exit 7 ;;
meta-data) cat <<'EOF' ;;
<?xml version="1.0"?>
<resource-agent name="` + name + `"><version>1.1</version><longdesc lang="en">-</longdesc><shortdesc lang="en">-</shortdesc>
<parameters>` + parameters + `</parameters>
<actions><action name="start" timeout="60s"/><action name="stop" timeout="60s"/>
<action name="monitor" timeout="20s" interval="10s"/><action name="meta-data" timeout="5s"/></actions></resource-agent>
EOF
*) exit 3 ;;
esac
`}
	}
	parameter := func(name string) string {
		return `<parameter name="` + name + `"><longdesc lang="en">-</longdesc><shortdesc lang="en">-</shortdesc><content type="string"/></parameter>`
	}
	return []cluster.File{
		agent("address", parameter("ip"),
			"ip addr add $OCF_RESKEY_ip/24 dev eth0 && { arping -q -U -c 1 -I eth0 $OCF_RESKEY_ip >/dev/null 2>&1 & }",
			"ip addr del $OCF_RESKEY_ip/24 dev eth0"),
		agent("storage", parameter("device")+parameter("directory")+parameter("fstype"),
			"mount -t $OCF_RESKEY_fstype $OCF_RESKEY_device $OCF_RESKEY_directory",
			"umount $OCF_RESKEY_directory"),
	}
}
