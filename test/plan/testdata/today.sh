# A new cluster, once:
pcs host auth -u hacluster control1 addr=192.0.2.11 control2 addr=192.0.2.12 control3 addr=192.0.2.13
pcs cluster setup openstack control1 addr=192.0.2.11 control2 addr=192.0.2.12 control3 addr=192.0.2.13
pcs cluster start --all --wait

# On every node, before: the cluster starts and stops these units, and systemd must not at boot.
systemctl disable --now haproxy.service mariadb.service cinder-volume.service manila-share.service
# On every node, before: the load balancer's configuration, and the right to bind an address that is not there (by a file
# in /etc/sysctl.d), or it starts only where the floating IP is. The API services bind the node's own address, not 0.0.0.0.
openstack-ocf plan --haproxy /etc/haproxy/haproxy.cfg today.yaml
sysctl -w net.ipv4.ip_nonlocal_bind=1
# After a later change, where it runs: OCF_RESKEY_unit=haproxy.service openstack-ocf run haproxy reload-agent

# The control plane, on one node. Nothing starts before the last line.
pcs cluster cib old.xml
cp old.xml new.xml
pcs -f new.xml stonith create fence-control1 fence_redfish ip=198.51.100.11 systems_uri=/redfish/v1/Systems/1 username=fence password_script=/etc/cluster/bmc-control1 pcmk_host_list=control1
pcs -f new.xml stonith create fence-control2 fence_redfish ip=198.51.100.12 systems_uri=/redfish/v1/Systems/1 username=fence password_script=/etc/cluster/bmc-control2 pcmk_host_list=control2
pcs -f new.xml stonith create fence-control3 fence_redfish ip=198.51.100.13 systems_uri=/redfish/v1/Systems/1 username=fence password_script=/etc/cluster/bmc-control3 pcmk_host_list=control3
pcs -f new.xml property set stonith-enabled=true
pcs -f new.xml resource defaults update resource-stickiness=1
pcs -f new.xml resource defaults update failure-timeout=2min
pcs -f new.xml resource create ip-192.0.2.10 ocf:openstack:floating-ip ip=192.0.2.10 cidr_netmask=24 --group control
pcs -f new.xml resource create fs-mysql ocf:openstack:shared-storage device=/dev/disk/by-id/wwn-0x5000c500a0b1c2d3 directory=/var/lib/mysql fstype=xfs options=noatime --group control
pcs -f new.xml resource create rabbitmq ocf:heartbeat:rabbitmq-cluster 'set_policy=ha-all ^(?!amq\.).* {"ha-mode":"all"}' clone interleave=true
pcs -f new.xml resource create haproxy ocf:openstack:haproxy unit=haproxy.service clone interleave=true
pcs -f new.xml constraint colocation add control with haproxy-clone
pcs -f new.xml resource create mariadb ocf:openstack:mysql-shared-storage unit=mariadb.service op monitor interval=2s timeout=30s op monitor OCF_CHECK_LEVEL=10 interval=30s timeout=30s op start interval=0s timeout=600s --group control
pcs -f new.xml resource create cinder-volume ocf:openstack:cinder-volume unit=cinder-volume.service --group control
pcs -f new.xml resource create manila-share ocf:openstack:manila-share unit=manila-share.service --group control
pcs cluster cib-push new.xml diff-against=old.xml

# crm_verify finds nothing wrong with what comes of it. By crm_simulate the cluster then does:
#   start of fence-control1 on control1
#   start of fence-control2 on control2
#   start of fence-control3 on control3
#   start of ip-192.0.2.10 on control1
#   start of fs-mysql on control1
#   start of rabbitmq on control1
#   start of rabbitmq on control2
#   start of rabbitmq on control3
#   start of haproxy on control1
#   start of haproxy on control2
#   start of haproxy on control3
#   start of mariadb on control1
#   start of cinder-volume on control1
#   start of manila-share on control1
