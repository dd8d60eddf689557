// Package clusterqpidd tests ocf:openstack:qpidd on a real Pacemaker cluster of three nodes, in both of its deployments:
// replicated, as a promotable clone with a floating IP at its promoted instance, and single, in a group with a floating
// IP and a shared disk. A producer and a consumer use the broker through the floating IP all the while.
//
// It needs a real qpidd (environment variable QPIDD, else PATH) for whatever says that messages survive; with the
// stand-in of package broker the rest of it runs: roles, promotion scores, reasons, time to service.
//
// Its parts are of use elsewhere: [Queue] is a broker as its clients see it, [Watch] looks at the brokers of a replicated
// cluster from outside of it, and [Part] parts two of them; `make chaos` uses the latter two.
package clusterqpidd
