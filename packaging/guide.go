// Package packaging holds what is installed beside the agents.
package packaging

import _ "embed"

// Guide is the operator's guide, whose tables say what a reason means and what to do.
//
//go:embed guide.md
var Guide string
