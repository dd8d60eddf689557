// Package oom reads in the kernel's log whom it killed for lack of memory: of a process that is gone, nobody else knows. It
// makes no process, needs root or CAP_SYSLOG, and knows of nothing where the log has been overwritten since.
package oom

import (
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Kill is a process that the kernel killed. It is an error for the cause of what came of it.
type Kill struct {
	At    time.Duration // by the log's own clock, which no other goes with: compare it with a Now
	PID   int           // as the machine counts
	Task  string        // its name, 15 bytes at most
	Group string        // its control group, "" where the kernel does not say (before 4.19)
	Limit string        // the group whose limit it was; "" for the machine's memory, or not known
}

func (k *Kill) Error() string {
	where := ""
	switch {
	case k.Limit != "":
		where = " (limit of " + path.Base(k.Limit) + ")"
	case k.Group != "":
		where = " (of the node)"
	}
	return fmt.Sprintf("the kernel killed %s (pid %d) for lack of memory%s", k.Task, k.PID, where)
}

// In tells whether it ran in the unit's control group, or below it.
func (k *Kill) In(unit string) bool { return strings.Contains(k.Group+"/", "/"+unit+"/") }

// Unit is the unit in whose group it ran, "" if that is not said: a group may be that of a slice, where the controller
// for memory knows no other.
func (k *Kill) Unit() string {
	for group := k.Group; len(group) > 1; group = path.Dir(group) {
		if base := path.Base(group); strings.HasSuffix(base, ".service") || strings.HasSuffix(base, ".scope") {
			return base
		}
	}
	return ""
}

// enough of the log for what a kill writes of a thousand processes.
const enough = 128 << 10

// Now is the time of the log's newest line; 0 if it cannot be read, or keeps no time.
func Now() time.Duration {
	lines := strings.Split(newest(4<<10), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		if at, _, ok := stamp(lines[i]); ok {
			return at
		}
	}
	return 0
}

// Since are those that were killed after a Now, the oldest first.
func Since(now time.Duration) (list []Kill) {
	for _, k := range parse(newest(enough)) {
		if k.At > now {
			list = append(list, k)
		}
	}
	return list
}

// newest is the end of the log, "" if it may not be read.
func newest(size int) string {
	b := make([]byte, size)
	n, err := unix.Klogctl(unix.SYSLOG_ACTION_READ_ALL, b)
	if err != nil {
		return ""
	}
	return string(b[:n])
}

// stamp takes level and time off a line of the kernel's own, "<6>[55169.323640] text"; others have higher numbers.
func stamp(line string) (at time.Duration, text string, ok bool) {
	head, rest, level := strings.Cut(line, ">[")
	seconds, text, timed := strings.Cut(rest, "]")
	s, err := strconv.ParseFloat(strings.TrimSpace(seconds), 64)
	if strings.HasPrefix(text, "[") { // whose line it is, where the kernel is built so
		_, text, _ = strings.Cut(text, "]")
	}
	return time.Duration(s * float64(time.Second)).Round(time.Microsecond), strings.TrimPrefix(text, " "), level && timed && err == nil && len(head) == len("<6")
}

// parse reads the kernel's lines. "oom-kill:" comes before "Killed process", which there may be more of: all of a group.
func parse(log string) (list []Kill) {
	killed := regexp.MustCompile(`\bKilled process (\d+) \((.*)\),? (?:UID|total-vm)`)
	chosen := regexp.MustCompile(`^oom-kill:.*?(?:,oom_memcg=(.*?)|,global_oom),task_memcg=(.*),task=.*,pid=\d+,uid=\d+$`)
	var group, limit string
	for line := range strings.Lines(log) {
		at, text, ok := stamp(strings.TrimSuffix(line, "\n"))
		if !ok {
			continue
		}
		if m := chosen.FindStringSubmatch(text); m != nil {
			limit, group = m[1], m[2]
		} else if m := killed.FindStringSubmatch(text); m != nil {
			pid, _ := strconv.Atoi(m[1])
			list = append(list, Kill{At: at, PID: pid, Task: m[2], Group: group, Limit: limit})
		} else if strings.Contains(text, "invoked oom-killer:") {
			group, limit = "", ""
		}
	}
	return list
}
