// Package single has a program that imports it run Go code on one processor at a time. An agent mostly waits for others;
// with more processors Go wakes a thread on another one for every goroutine, which is a tenth of what a monitor costs.
//
// What waits in the kernel still keeps nobody else waiting. A package of its own is initialised before most others, while
// the change costs next to nothing: it gives up memory that was set aside for the other processors.
package single

import (
	"runtime"

	"github.com/openstack-ocf/agents/ocf/stack"
)

func init() {
	runtime.GOMAXPROCS(1)
	stack.Room()
}
