// Package cluster builds a real Pacemaker cluster out of Linux namespaces on one machine, for tests, the
// demo and benchmarks.
//
// Every node is a host of its own: an overlay of the machine's root (or of Config.Root), its own host name,
// network, processes, /dev and cgroups, with systemd as its init and the packages' own units, so that
// corosync, pacemaker, pcs and journald work as they do on hardware. The nodes' network is a bridge in a
// further namespace, the rack: clients live there, and so does the BMC that powers nodes off and on for the
// fence agent fence_rack.
//
//	func TestFailover(t *testing.T) {
//		c := cluster.New(t, cluster.Config{Nodes: 3}) // quorum, a DC, all online; skips without root or pacemaker
//		ctx := t.Context()
//		n := c.Nodes()[0]
//		n.MustExec(ctx, t, "pcs", "resource", "create", "d", "ocf:pacemaker:Dummy")
//		at, err := c.WaitRunning(ctx, "d")
//		...
//		err = c.Node(at).PowerOff(ctx)     // the mains plug
//		...
//		db, err := c.Dial(ctx, "tcp", "10.76.0.100:3306") // a client in the rack, to a floating IP
//	}
//
// # Addresses
//
// The network is 10.76.0.0/24 in every cluster; none of them sees another or the machine. node1 is
// 10.76.0.11, node2 10.76.0.12 and so on; the rack (gateway, BMC, clients) is 10.76.0.254. Floating addresses
// belong into 10.76.0.100-199. eth0 is the nodes' only NIC.
//
// # What survives what
//
// A power-off (SIGKILL to the node's init) destroys the node's processes, its NIC with all addresses, /run
// and /tmp. Everything else the node wrote is there at the next power-on. A node that reboots itself, or that
// Pacemaker panics, boots again; one that runs poweroff stays off. Nothing survives Close.
//
// # What is not as on hardware
//
// All nodes share the machine's kernel: its clock, its processors, and all of
// /proc/sys but net, which a node can change for the whole machine. A node has no watchdog and no udev; /sys is read-only.
//
// # Nothing is left behind
//
// All of a cluster lives in the PID, mount and network namespaces of one supervisor process, which is this
// program executed again and ends when the program that started it ends, however that happens. There are no
// named network namespaces, no mounts the machine can see and no files outside a tmpfs of the supervisor;
// the loop devices of Cluster.Disk free themselves. Cgroups are removed by the supervisor; if that was killed
// itself, by the next cluster.
//
// This package's init function takes the process over when argv[0] is one of the package's own roles
// (supervisor, node, fence agent); otherwise it does nothing.
package cluster
