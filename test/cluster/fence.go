package cluster

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// Exit codes of a fence agent (FenceAgentAPI.md, "Fence agent exit codes").
const (
	fenceOK    = 0
	fenceError = 1
	fenceIsOff = 2 // status: the node is off
)

const fenceMetadata = `<?xml version="1.0" ?>
<resource-agent name="fence_rack" shortdesc="Power of the nodes of a test cluster">
<longdesc>fence_rack switches a node of a cluster out of namespaces off and on through the BMC in its rack.</longdesc>
<parameters>
<parameter name="action" unique="0" required="1"><getopt mixed="-o, --action=[action]"/><content type="string" default="reboot"/><shortdesc lang="en">Fencing action</shortdesc></parameter>
<parameter name="plug" unique="0" required="1" obsoletes="port"><getopt mixed="-n, --plug=[id]"/><content type="string"/><shortdesc lang="en">Name of the node</shortdesc></parameter>
<parameter name="ip" unique="0" required="0"><getopt mixed="-a, --ip=[ip]"/><content type="string" default="` + bmcAddr + `"/><shortdesc lang="en">Address and port of the BMC</shortdesc></parameter>
</parameters>
<actions>
<action name="on" automatic="0"/><action name="off"/><action name="reboot"/><action name="status"/><action name="list"/>
<action name="list-status"/><action name="monitor"/><action name="metadata"/><action name="validate-all"/>
</actions>
</resource-agent>
`

// fence is the fence agent fence_rack. Options come as name=value lines on stdin, as Pacemaker gives them, or as -o ACTION -n NODE -a ADDRESS.
func fence(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	opt := map[string]string{"action": "reboot", "ip": bmcAddr}
	short := map[string]string{"-o": "action", "-n": "plug", "-a": "ip"}
	for i := 0; i+1 < len(args); i += 2 {
		if name, ok := short[args[i]]; ok {
			opt[name] = args[i+1]
		}
	}
	if len(args) == 0 {
		lines := bufio.NewScanner(stdin)
		for lines.Scan() {
			if name, value, ok := strings.Cut(strings.TrimSpace(lines.Text()), "="); ok {
				opt[name] = value
			}
		}
	}
	code, err := fenceAction(opt, stdout)
	if err != nil {
		fmt.Fprintf(stderr, "fence_rack: %s %s: %v\n", opt["action"], opt["plug"], err)
	}
	return code
}

func fenceAction(opt map[string]string, stdout io.Writer) (int, error) {
	action, node := opt["action"], opt["plug"]
	if node == "" {
		node = opt["port"]
	}
	switch action {
	case "metadata":
		fmt.Fprint(stdout, fenceMetadata)
		return fenceOK, nil
	case "validate-all":
		return fenceOK, nil
	case "on", "off", "reboot":
		answer, err := ask(opt["ip"], action+" "+node)
		if err == nil && answer != "ok\n" {
			err = fmt.Errorf("BMC: %s", strings.TrimSpace(answer))
		}
		if err != nil {
			return fenceError, err
		}
		return fenceOK, nil
	case "status", "list", "list-status", "monitor":
	default:
		return fenceError, fmt.Errorf("unknown action")
	}
	list, err := ask(opt["ip"], "list")
	if err != nil {
		return fenceError, err
	}
	for line := range strings.Lines(list) {
		name, power, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case action == "list":
			fmt.Fprintf(stdout, "%s,\n", name)
		case action == "list-status":
			fmt.Fprintf(stdout, "%s,,%s\n", name, power)
		case action == "status" && name == node && power == "off":
			return fenceIsOff, nil
		case action == "status" && name == node:
			return fenceOK, nil
		}
	}
	if action == "status" {
		return fenceError, fmt.Errorf("the BMC knows no such node")
	}
	return fenceOK, nil
}
