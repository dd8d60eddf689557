package plan

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/openstack-ocf/agents/lib/pacemaker"
)

// operation is one of a resource, by its options; its name is among them.
type operation map[string]string

// checkLevel is an option of operations that the CIB keeps as an attribute of the instance.
const checkLevel = "OCF_CHECK_LEVEL"

// options are those that pcs knows.
func options() []string {
	return []string{"interval", "timeout", "role", "on-fail", "enabled", "record-pending", "start-delay", "interval-origin", checkLevel}
}

// parseOperation reads one as it is written after `op` on pcs' command line.
func parseOperation(text string) (operation, error) {
	fields := strings.Fields(text)
	if len(fields) == 0 || strings.Trim(fields[0], "abcdefghijklmnopqrstuvwxyz-_") != "" || strings.HasPrefix(fields[0], "-") {
		return nil, fmt.Errorf("want its name first, as in `monitor interval=5s`")
	}
	op := operation{"name": fields[0]}
	for _, f := range fields[1:] {
		name, value, ok := strings.Cut(f, "=")
		switch {
		case !ok || value == "" || !slices.Contains(options(), name):
			return nil, fmt.Errorf("%q: want NAME=VALUE, where NAME is one of %s", f, strings.Join(options(), ", "))
		case op[name] != "":
			return nil, fmt.Errorf("%s is given twice", name)
		case name == "interval" || name == "timeout" || name == "start-delay":
			if _, ok := milliseconds(value); !ok {
				return nil, fmt.Errorf("%s: want a time such as 20s", f)
			}
		case name == "role":
			value = newRole(strings.ToUpper(value[:1]) + strings.ToLower(value[1:]))
		}
		op[name] = value
	}
	if op["interval"] == "" {
		op["interval"] = defaultInterval(op["name"])
	}
	return op, nil
}

func defaultInterval(name string) string {
	if name == "monitor" {
		return "60s"
	}
	return "0s"
}

// newRole is a role by its name since Pacemaker 2.1.
func newRole(role string) string {
	switch role {
	case "Master":
		return "Promoted"
	case "Slave":
		return "Unpromoted"
	}
	return role
}

// oldRole is newRole's counterpart.
func oldRole(role string) string {
	switch role {
	case "Promoted":
		return "Master"
	case "Unpromoted":
		return "Slave"
	}
	return role
}

// milliseconds reads a time as Pacemaker does, but for those of ISO 8601.
func milliseconds(s string) (int, bool) {
	number := strings.TrimRight(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 {
		return 0, false
	}
	switch strings.ToLower(s[len(number):]) {
	case "", "s", "sec":
		return n * 1000, true
	case "ms", "msec":
		return n, true
	case "us", "usec":
		return n / 1000, true
	case "m", "min":
		return n * 60_000, true
	case "h", "hr":
		return n * 3_600_000, true
	}
	return 0, false
}

func sameTime(a, b string) bool {
	m, ok := milliseconds(a)
	n, ok2 := milliseconds(b)
	return a == b || ok && ok2 && m == n
}

// same tells whether two are one to Pacemaker, with other options maybe.
func (op operation) same(other operation) bool {
	return op["name"] == other["name"] && sameTime(op["interval"], other["interval"]) && op["role"] == other["role"]
}

// within tells whether the other has all of its options.
func (op operation) within(other operation) bool {
	for name, value := range op {
		if have := other[name]; have != value && !sameTime(have, value) {
			return false
		}
	}
	return true
}

// args are what pcs is given after `op`.
func (op operation) args() []string {
	args := []string{op["name"]}
	for _, name := range slices.Sorted(maps.Keys(op)) {
		if name != "name" {
			args = append(args, name+"="+op[name])
		}
	}
	return args
}

// String is the same to be read.
func (op operation) String() string {
	args := op.args()
	for i, a := range args {
		args[i] = shown(a)
	}
	return strings.Join(args, " ")
}

// operationsOf are those of a resource in the CIB, with their elements.
func operationsOf(primitive *pacemaker.Element) (list []operation, elements []*pacemaker.Element) {
	for e := range primitive.Child("operations").All("op") {
		op := operation{}
		for _, a := range e.Attrs {
			if a.Name != "id" {
				op[a.Name] = a.Value
			}
		}
		if op["role"] != "" {
			op["role"] = newRole(op["role"])
		}
		for name, value := range nvpairs(e) {
			op[name] = value
		}
		list, elements = append(list, op), append(elements, e)
	}
	return list, elements
}
