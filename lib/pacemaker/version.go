package pacemaker

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Supported is nil unless this node's Pacemaker is known to be older than the commands need: `crm_resource --force-check
// --output-as=xml`, which asks an agent as the cluster would, is of 2.1.0. Agents work with older ones.
func Supported(ctx context.Context) error {
	said, err := tool(ctx, 10*time.Second, "", "crm_resource", "--version")
	if err != nil {
		return nil // whoever needs it says that it is missing
	}
	return supported(said)
}

// supported reads "Pacemaker 2.1.5" and "Pacemaker 2.0.4-6.el8".
func supported(said string) error {
	version, ok := strings.CutPrefix(said, "Pacemaker ")
	var major, minor, patch int
	if n, _ := fmt.Sscanf(version, "%d.%d.%d", &major, &minor, &patch); !ok || n < 2 || slices.Compare([]int{major, minor}, []int{2, 1}) >= 0 {
		return nil
	}
	version, _, _ = strings.Cut(version, "\n")
	return fmt.Errorf("pacemaker on this node is %s, and this command needs 2.1.0 or later: upgrade the cluster, or change its configuration by pcs or crmsh (the agents themselves work with it)", version)
}
