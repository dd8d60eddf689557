// Package scenario plays on a cluster what an operator fears: it deploys the document's group (a floating
// address, a shared disk, a service), lets a client use the service through the address all the while, breaks
// things, and tells how long the client went without service and whether anything was lost.
//
// Its parts know nothing of each other:
//
//   - [Service] says how a service is deployed and what its daemon looks like from outside: [MySQL], [Broker], [Consoleauth],
//     [API].
//   - [Ledger] is a service as its client sees it: something that keeps numbers. [SQL] is one.
//   - [Writer] puts numbers into a ledger, and knows which were acknowledged, and when.
//   - [Watch] looks at all nodes from outside: how many daemons work on the disk, and which.
//   - [Stage] is all of that on a cluster, and [Act] one thing that happens there.
//
// A test, the demo and a benchmark differ only in what they do with a [Result]:
//
//	c := cluster.New(t, scenario.Config(...))
//	s, err := scenario.Deploy(ctx, c, say, scenario.MySQL()) // by pcs; Apply: by openstack-ocf apply
//	defer s.Close()
//	for _, act := range scenario.Acts {
//		r, err := s.Play(ctx, act)   // until the client is served again
//		err = s.Restore(ctx)         // all nodes back, nothing pending, and nothing restarted by it
//	}
//	audits, err := s.Audit(ctx)
package scenario
