package pacemaker

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Metadata is what an agent, class:provider:type, says of itself. It has to be installed on this node.
func Metadata(ctx context.Context, agent string) (*Element, error) {
	out, err := tool(ctx, cibTimeout, "", "crm_resource", "--show-metadata", agent)
	var failed *ToolError
	if errors.As(err, &failed) {
		return nil, fmt.Errorf("%s is not installed on this node, or says nothing of itself: %s", agent, failed.Stderr)
	}
	if err != nil {
		return nil, err
	}
	doc, err := ParseXML(strings.NewReader(out))
	if err != nil {
		return nil, fmt.Errorf("the meta-data of %s: %w", agent, err)
	}
	return doc, nil
}

// SchemaAtLeast tells whether a CIB has to be valid by that version of the schema or a later one.
func SchemaAtLeast(cib *Element, major, minor int) bool {
	var a, b int
	if _, err := fmt.Sscanf(cib.Attr("validate-with"), "pacemaker-%d.%d", &a, &b); err != nil {
		return false
	}
	return a > major || a == major && b >= minor
}
