package clusterqpidd

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/lib/qmf"
)

// Two brokers are primary at once only where both said so of the same moment: one that was asked before the other was promoted, and
// has not answered since, may be none any more.
func TestTell(t *testing.T) {
	began := time.Now()
	type said struct {
		node            string
		asked, answered int // ms; answered 0: it does not answer any more
		status          qmf.HAStatus
	}
	for name, c := range map[string]struct {
		said []said
		told string
	}{
		"one":                      {[]said{{"node1", 1, 2, qmf.Active}, {"node2", 1, 2, qmf.Ready}}, "[[] [node1]]"},
		"one after the other":      {[]said{{"node1", 1, 2, qmf.Active}, {"node1", 3, 0, ""}, {"node2", 5, 6, qmf.Active}}, "[[] [node1] [] [node2]]"},
		"a backup again":           {[]said{{"node1", 1, 2, qmf.Active}, {"node1", 3, 4, qmf.Joining}}, "[[] [node1] []]"},
		"the first has gone quiet": {[]said{{"node1", 1, 2, qmf.Active}, {"node1", 3, 4, qmf.Active}, {"node2", 5, 6, qmf.Active}, {"node2", 7, 8, qmf.Active}}, "[[] [node1] [node2]]"},
		"both": {
			[]said{{"node1", 1, 2, qmf.Active}, {"node2", 3, 4, qmf.Active}, {"node1", 5, 6, qmf.Active}, {"node2", 7, 8, qmf.Active}},
			"[[] [node1] [node2] [node1 node2]]",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := &Watch{began: began, now: map[string]qmf.HAStatus{}, primary: map[string]reign{}, changed: make(chan struct{})}
			var told [][]string
			w.Tell(func(nodes []string) { told = append(told, nodes) })
			at := func(ms int) time.Time { return began.Add(time.Duration(ms) * time.Millisecond) }
			for _, s := range c.said {
				if s.answered == 0 {
					w.forget(s.node, errors.New("no answer"))
					continue
				}
				w.heard(s.node, qmf.HA{Status: s.status, SystemID: s.node}, at(s.asked), at(s.answered))
			}
			if got := fmt.Sprint(told); got != c.told {
				t.Errorf("told %s, want %s", got, c.told)
			}
			if (w.Err() != nil) != (name == "both") {
				t.Error("the watch itself finds something else")
			}
		})
	}
}
