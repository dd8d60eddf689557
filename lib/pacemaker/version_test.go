package pacemaker

import (
	"strings"
	"testing"
)

func TestSupported(t *testing.T) {
	for said, want := range map[string]bool{
		"Pacemaker 2.1.5\nWritten by Andrew Beekhof": true, "Pacemaker 2.1.0": true, "Pacemaker 3.0.2-1.fc43": true, "Pacemaker 2.10": true,
		"Pacemaker 2.0.5-9.el8_4": false, "Pacemaker 1.1.24-3.el7\nWritten": false, "Pacemaker 2.0": false,
		"": true, "something else": true, // not known to be older
	} {
		err := supported(said)
		if (err == nil) != want || err != nil && (!strings.Contains(err.Error(), "2.1.0") || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%q: %v", said, err)
		}
	}
	if err := Supported(t.Context()); err != nil {
		t.Errorf("the one of this node: %v", err)
	}
}
