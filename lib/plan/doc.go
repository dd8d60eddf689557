// Package plan turns the description of a control plane, a short YAML file, into what makes it: the commands of pcs in
// order, the CIB that they lead to, and HAProxy's configuration for the stateless API services.
//
//	nodes: {node1: 192.168.122.3, node2: 192.168.122.7}
//	floating_ip: 192.168.122.203
//	storage: {device: 192.168.122.1:/srv/mysql, directory: /var/lib/mysql, fstype: nfs}
//	services: [mysql, haproxy]
//	apis: [keystone, nova]
//	fencing:
//	  - {node: node1, agent: fence_ipmilan, parameters: {ip: 10.0.0.1, username: admin, password_script: /etc/cluster/bmc1}}
//	  - {node: node2, agent: fence_ipmilan, parameters: {ip: 10.0.0.2, username: admin, password_script: /etc/cluster/bmc2}}
//
// [Read] reads it and names the line of all that is wrong. [New] makes the plan and has the agents' meta-data, crm_verify,
// crm_simulate and the load balancer check it, without a cluster. [Apply] compares it with a cluster, and changes what
// differs and no more: what was built from the file on an empty CIB is compared with the cluster's, the steps that follow
// are done to a copy, after which nothing may be left to do, and the copy becomes the cluster's CIB in one patch. It never
// deletes a resource.
//
// A step is shown as a command of pcs, and done by an edit of a CIB that says the same (edit.go).
package plan
