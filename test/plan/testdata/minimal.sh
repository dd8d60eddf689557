# A new cluster, once:
pcs host auth -u hacluster node1 addr=192.168.122.3 node2 addr=192.168.122.7
pcs cluster setup openstack node1 addr=192.168.122.3 node2 addr=192.168.122.7
pcs cluster start --all --wait

# The control plane, on one node. Nothing starts before the last line.
pcs cluster cib old.xml
cp old.xml new.xml
pcs -f new.xml stonith create fence-node1 fence_ipmilan ip=192.168.123.3 username=admin password_script=/etc/cluster/bmc-node1 lanplus=1 pcmk_host_list=node1
pcs -f new.xml stonith create fence-node2 fence_ipmilan ip=192.168.123.7 username=admin password_script=/etc/cluster/bmc-node2 lanplus=1 pcmk_host_list=node2
pcs -f new.xml property set stonith-enabled=true
pcs -f new.xml resource defaults update resource-stickiness=1
pcs -f new.xml resource defaults update failure-timeout=2min
pcs -f new.xml resource create ip-192.168.122.203 ocf:openstack:floating-ip ip=192.168.122.203 --group control-plane
pcs -f new.xml resource create fs-mysql ocf:openstack:shared-storage device=/dev/disk/by-id/scsi-mysql directory=/var/lib/mysql fstype=ext4 --group control-plane
pcs -f new.xml resource create mysql ocf:openstack:mysql-shared-storage --group control-plane
pcs cluster cib-push new.xml diff-against=old.xml

# crm_verify finds nothing wrong with what comes of it. By crm_simulate the cluster then does:
#   start of fence-node1 on node1
#   start of fence-node2 on node2
#   start of ip-192.168.122.203 on node1
#   start of fs-mysql on node1
#   start of mysql on node1
