package pacemaker

import (
	"maps"
	"testing"
)

func TestParseAttributes(t *testing.T) {
	const out = "name=\"state-q\" host=\"node1\" value=\"joining 12.5\"\nname=\"state-q\" host=\"node2\" value=\"\"\nname=\"state-q\" host=\"node3\" value=\"ready\"\n"
	want := map[string]string{"node1": "joining 12.5", "node3": "ready"}
	if got := parseAttributes(out); !maps.Equal(got, want) {
		t.Errorf("%v", got)
	}
	if got := PromotionScore("qpidd:2"); got != "master-qpidd" {
		t.Errorf("%s", got)
	}
}
