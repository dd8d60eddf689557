# A new cluster, once:
pcs host auth -u hacluster node1 addr=192.168.122.3 node2 addr=192.168.122.7 node3 addr=192.168.122.8
pcs cluster setup openstack_mysql node1 addr=192.168.122.3 node2 addr=192.168.122.7 node3 addr=192.168.122.8
pcs cluster start --all --wait

# On every node, before: the load balancer's configuration, and the right to bind an address that is not there (by a file
# in /etc/sysctl.d), so that it can be checked where the floating IP is not. The API services bind the node's own address, not 0.0.0.0.
openstack-ocf plan --haproxy /etc/haproxy/haproxy.cfg rdo-replicated-qpidd.yaml
sysctl -w net.ipv4.ip_nonlocal_bind=1
# After a later change, where it runs: openstack-ocf run haproxy reload-agent
# A restart of mysql1, consoleauth, l2-agent stops haproxy too, which stands behind in the group, and all APIs with it;
# with `run: clone` it goes on.

# The control plane, on one node. Nothing starts before the last line.
pcs cluster cib old.xml
cp old.xml new.xml
pcs -f new.xml stonith create fence-rack fence_apc_snmp ip=192.168.123.2 'pcmk_host_map=node1:1;node2:2;node3:3' pcmk_host_list=node1,node2,node3
pcs -f new.xml property set stonith-enabled=true
pcs -f new.xml resource defaults update resource-stickiness=1
pcs -f new.xml resource defaults update failure-timeout=2min
pcs -f new.xml resource create ip-192.168.122.203 ocf:openstack:floating-ip ip=192.168.122.203 --group test-group
pcs -f new.xml resource create nfs-mysql ocf:heartbeat:Filesystem device=192.168.122.1:/srv/mysql directory=/var/lib/mysql fstype=nfs --group test-group
pcs -f new.xml resource create qpidd ocf:openstack:qpidd store=linearstore ha_public_url=amqp:192.168.122.204:5672 ha_cluster=true ha_brokers_url=amqp:192.168.122.3:5672,192.168.122.7:5672,192.168.122.8:5672 promotable promoted-max=1 interleave=true
pcs -f new.xml resource create ip-192.168.122.204 ocf:openstack:floating-ip ip=192.168.122.204
pcs -f new.xml constraint colocation add ip-192.168.122.204 with Promoted qpidd-clone
pcs -f new.xml constraint order promote qpidd-clone then start ip-192.168.122.204
pcs -f new.xml resource create mysql1 ocf:openstack:mysql-shared-storage --group test-group
pcs -f new.xml resource create consoleauth ocf:openstack:nova-consoleauth --group test-group
pcs -f new.xml resource create l2-agent ocf:openstack:neutron-l2-agent --group test-group
pcs -f new.xml resource create haproxy ocf:openstack:haproxy --group test-group
pcs cluster cib-push new.xml diff-against=old.xml

# crm_verify finds nothing wrong with what comes of it. By crm_simulate the cluster then does:
#   start of fence-rack on node1
#   start of ip-192.168.122.203 on node2
#   start of nfs-mysql on node2
#   start of qpidd on node1
#   start of qpidd on node2
#   start of qpidd on node3
#   promote of qpidd on node3
#   start of ip-192.168.122.204 on node3
#   start of mysql1 on node2
#   start of consoleauth on node2
#   start of l2-agent on node2
#   start of haproxy on node2
