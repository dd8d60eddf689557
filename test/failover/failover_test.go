package failover

import (
	"strings"
	"testing"
	"time"
)

// testdata are lines that a cluster of three nodes has logged of a kill, a power cut and a planned move, as they were.
func logs(t *testing.T) Logs {
	t.Helper()
	logs, err := ReadLogs("testdata", at("Dec 31 12:00:00.000"))
	if err != nil || len(logs) < 50 {
		t.Fatalf("%d lines: %v", len(logs), err)
	}
	return logs
}

func at(clock string) time.Time {
	t, err := time.ParseInLocation("2006 "+stampForm, "2026 "+clock, time.Local)
	if err != nil {
		panic(err)
	}
	return t
}

var group = Resources{Address: "ip-10.76.0.100", Storage: "fs-mysql", Service: "db"}

func TestAccount(t *testing.T) {
	all := logs(t)
	for _, c := range []struct {
		name, began, lost, back string
		want                    map[Phase]time.Duration // milliseconds
	}{
		{"kill", "Nov 28 14:35:07.829", "Nov 28 14:35:07.821", "Nov 28 14:35:10.011", map[Phase]time.Duration{
			Detection: 1786, Stop: 28, Service: 264, Pacemaker: 112,
		}},
		{"power cut", "Nov 28 14:35:14.058", "Nov 28 14:35:14.082", "Nov 28 14:35:25.405", map[Phase]time.Duration{
			Detection: 945, Membership: 2524, Fencing: 6628, Address: 28, Storage: 12, Service: 204, Monitors: 712, Pacemaker: 240, Answer: 30,
		}},
		{"planned move", "Nov 28 14:36:56.925", "Nov 28 14:36:59.491", "Nov 28 14:37:03.870", map[Phase]time.Duration{
			Stop: 1032 + 360 + 232, Address: 260, Storage: 268, Service: 1175, Monitors: 128 + 360,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			lost, back := at(c.lost), at(c.back)
			parts := all.Account(at(c.began), lost, back, group)
			var sum time.Duration
			for p, got := range parts {
				sum += got
				if want, ok := c.want[Phase(p)]; ok && (got-want*time.Millisecond).Abs() > 2*time.Millisecond {
					t.Errorf("%s: %v, want %d ms", Phase(p), got, want)
				}
			}
			if sum != back.Sub(lost) {
				t.Errorf("the parts are %v, and all of it %v", sum, back.Sub(lost))
			}
			t.Log(parts)
		})
	}
}

func TestReport(t *testing.T) {
	run := func(group, fault string, length time.Duration) Run {
		return Run{Group: group, Fault: fault, Lost: at("Nov 28 12:00:00.000"), Back: at("Nov 28 12:00:00.000").Add(length), Parts: Parts{Stop: length / 2, Service: length / 2}}
	}
	rows := Table([]Run{
		run("shell", "kill", 4*time.Second), run("ours", "kill", time.Second), run("shell", "move", 2*time.Second),
		run("shell", "kill", 2*time.Second), run("ours", "kill", 2*time.Second), run("ours", "kill", 3*time.Second),
	})
	if len(rows) != 3 || rows[0].Group != "shell" || rows[1].Group != "ours" || rows[2].Fault != "move" {
		t.Fatalf("%+v", rows)
	}
	if rows[0].Median() != 3*time.Second || rows[1].Median() != 2*time.Second || rows[1].Middle().Length() != 2*time.Second {
		t.Errorf("%+v", rows)
	}
	if x := Ratio(rows, "kill", "ours", "shell"); x < 0.66 || x > 0.67 || Ratio(rows, "move", "ours", "shell") != 0 {
		t.Errorf("ratio %v", x)
	}
	cut := Row{Runs: []Run{
		{Parts: Parts{Membership: 3 * time.Second, Fencing: time.Second, Service: time.Second, Answer: time.Second}},
		{Parts: Parts{Fencing: time.Second, Pacemaker: 4 * time.Second}},
		{Parts: Parts{Detection: 9 * time.Second}}, // nobody was fenced
	}}
	if got := cut.AfterFencing(); got != 3*time.Second || rows[0].AfterFencing() != 0 {
		t.Errorf("after the fencing %v, and %v", got, rows[0].AfterFencing())
	}
	for _, want := range []string{"kill", "ours", "2.00", "0.67", "first answer"} {
		if text := Text(rows, "shell"); !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	// 1 s of the 2 s that are the longest of the middles.
	if svg := SVG(rows, "a < b"); !strings.Contains(svg, "a &lt; b") || strings.Count(svg, "<rect ") != 1+int(phases)+6 || !strings.Contains(svg, `width="450.0"`) {
		t.Error(svg)
	}
}
