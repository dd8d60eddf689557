package mycnf

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/openstack-ocf/agents/lib/daemon"
)

// Answer is what a server says of the options that it would run with.
type Answer struct {
	Values   map[string]string // by name, with dashes, of all options that have a value; see its --verbose --help
	Groups   []string          // that it reads
	Warnings []string          // what it said about its option files, one line each
}

// RefusedError says that the server would not start with these options, in its own words.
type RefusedError struct{ Words string }

func (e *RefusedError) Error() string { return e.Words }

// Ask asks the server, a mariadbd or mysqld, what it would do with these arguments: no reader but its own knows
// the groups of its version, the prefixes of all names, and which of two values counts. c is how it would be run.
// Its storage is asked for no more than whether it is there. The error is a *RefusedError if it would not start.
func Ask(ctx context.Context, c daemon.Command) (Answer, error) {
	// Without the grant tables it does not open the table of plugins, which waits for a server that runs to let go of it.
	c.Args = append(slices.Clone(c.Args), "--skip-grant-tables", "--verbose", "--help")
	out, warned, err := daemon.Ask(ctx, c)
	var exit interface{ ExitCode() int }
	if err != nil && !errors.As(err, &exit) {
		return Answer{}, err
	}
	a := parseHelp(string(out))
	var last []string
	for line := range strings.Lines(string(warned)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.Contains(line, "max_open_files") {
			continue
		}
		if _, said, ok := strings.Cut(line, "] "); ok && strings.Contains(line, " [") {
			line = said // without its date
		}
		a.Warnings = append(a.Warnings, line)
		if !strings.HasPrefix(line, "Fatal error in defaults") { // it follows the cause
			last = append(last, line)
		}
	}
	if len(a.Values) > 0 {
		return a, nil // with an unknown option too, which may be that of a plugin in the table
	}
	switch {
	case len(last) > 0:
		return a, &RefusedError{strings.Join(last[max(0, len(last)-2):], "; ")}
	case err != nil:
		return a, fmt.Errorf("%s --verbose --help: %w", c.Path, err)
	}
	return a, fmt.Errorf("%s --verbose --help says nothing of its options: is it a MySQL or MariaDB server?", c.Path)
}

// parseHelp reads the output of --verbose --help, which ends with a table of all options and their values.
func parseHelp(text string) Answer {
	a := Answer{Values: map[string]string{}}
	table, width := false, 0
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if groups, ok := strings.CutPrefix(line, "The following groups are read: "); ok {
			a.Groups = strings.Fields(groups)
		}
		if rule, _, ok := strings.Cut(line, " "); ok && strings.HasPrefix(line, "-----") {
			table, width = true, len(rule)
			continue
		}
		switch {
		case !table:
		case line == "":
			return a
		default:
			name, _, ok := strings.Cut(line, " ")
			if !ok {
				continue
			}
			// The value stands in its column, unless the name is longer; its own blanks count.
			value := line[min(max(len(name), width)+1, len(line)):]
			if value == "(No default value)" {
				value = ""
			}
			a.Values[name] = value
		}
	}
	return a
}
