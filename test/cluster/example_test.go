package cluster_test

import (
	"context"
	"fmt"
	"log"

	"github.com/openstack-ocf/agents/test/cluster"
)

func Example() {
	ctx := context.Background()
	c, err := cluster.Start(ctx, cluster.Config{
		Nodes: 3,
		Files: []cluster.File{
			{Path: "/usr/sbin/openstack-ocf", From: "bin/openstack-ocf", Mode: 0o755},
			{Path: "/usr/lib/ocf/resource.d/openstack/mysql-shared-storage", Link: "/usr/sbin/openstack-ocf"},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	if _, err := c.OnAny(ctx, "pcs", "resource", "create", "db", "ocf:openstack:mysql-shared-storage"); err != nil {
		log.Fatal(err)
	}
	at, err := c.WaitRunning(ctx, "db")
	if err != nil {
		log.Fatal(err)
	}
	if err := c.Node(at).PowerOff(ctx); err != nil { // the survivors fence it
		log.Fatal(err)
	}
	if err := c.WaitStable(ctx); err != nil {
		log.Fatal(err)
	}
	now, err := c.WaitRunning(ctx, "db")
	fmt.Println("moved from", at, "to", now, err)
}
