# A new cluster, once:
pcs host auth -u hacluster node1 addr=192.168.122.3 node2 addr=192.168.122.7
pcs cluster setup openstack node1 addr=192.168.122.3 node2 addr=192.168.122.7
pcs cluster start --all --wait

# The control plane, on one node:
pcs stonith create fence-node1 fence_ipmilan ip=192.168.123.3 username=admin password_script=/etc/cluster/bmc-node1 lanplus=1 pcmk_host_list=node1
pcs stonith create fence-node2 fence_ipmilan ip=192.168.123.7 username=admin password_script=/etc/cluster/bmc-node2 lanplus=1 pcmk_host_list=node2
pcs property set stonith-enabled=true
pcs resource defaults update resource-stickiness=1
pcs resource create ip-192.168.122.203 ocf:heartbeat:IPaddr2 ip=192.168.122.203 --group control-plane
pcs resource create fs-mysql ocf:heartbeat:Filesystem device=/dev/disk/by-id/scsi-mysql directory=/var/lib/mysql fstype=ext4 --group control-plane
pcs resource create mysql ocf:openstack:mysql-shared-storage --group control-plane

# crm_verify finds nothing wrong with what comes of it. By crm_simulate the cluster then does:
#   start of fence-node1 on node1
#   start of fence-node2 on node2
#   start of ip-192.168.122.203 on node1
#   start of fs-mysql on node1
#   start of mysql on node1
