package ocf_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/openstack-ocf/agents/ocf"
)

// A reason says what was found, where, and what to do; the code is what Pacemaker acts on. An error that is
// wrapped into another text keeps its code.
func ExampleErrorf() {
	refused := errors.New("connection refused")
	err := ocf.Errorf(ocf.Generic, "does not listen on %s: %w: see its log", "/run/marker.sock", refused)
	fmt.Println(int(ocf.CodeOf(err)), err)
	fmt.Println(int(ocf.CodeOf(fmt.Errorf("marker (pid 7): %w", err))), errors.Is(err, refused))
	// Output:
	// 1 does not listen on /run/marker.sock: connection refused: see its log
	// 1 true
}

// A parameter of the type Duration takes what Pacemaker takes for a time.
func ExampleDuration() {
	var d time.Duration
	for _, text := range []string{"10", "500ms", "2min", "soon"} {
		if err := ocf.Duration(&d).Set(text); err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(text, d)
	}
	// Output:
	// 10 10s
	// 500ms 500ms
	// 2min 2m0s
	// want a time such as 10, 10s, 500ms or 2min
}

// A function that takes a Request is tested with one that a cluster might have made.
func ExampleNewRequest() {
	r := ocf.NewRequest("marker", ocf.Monitor, "OCF_RESOURCE_INSTANCE=mark:1", "OCF_RESKEY_CRM_meta_interval=10000", "OCF_CHECK_LEVEL=10")
	fmt.Println(r.Resource(), r.Interval, r.Level, r.Probe())
	// Output: mark 10s 10 false
}
