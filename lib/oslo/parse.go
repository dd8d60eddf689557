package oslo

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// entry is one assignment as a file wrote it: quotes stripped, continuation
// lines joined by a newline, nothing interpolated.
type entry struct {
	group, name, text string
	line              int
}

// errSyntax is what oslo.config itself refuses to read; a service started on
// such a file dies at once.
var errSyntax = errors.New("oslo.config cannot read this")

// parse reads one file's text as oslo_config/iniparser.py does. Errors name
// file and line but never the line's text, which may hold a password.
func parse(file, text string) ([]entry, error) {
	var (
		entries []entry
		group   string
		open    bool // the last entry may still take continuation lines
	)
	for i, line := range splitLines(text) {
		fail := func(what string) error {
			return fmt.Errorf("%s:%d: %s: %w", file, i+1, what, errSyntax)
		}
		line = strings.TrimRightFunc(line, isSpace)
		if line == "" {
			open = false
			continue
		}
		if line[0] == ' ' || line[0] == '\t' {
			if !open {
				return nil, fail("a continuation line continues nothing")
			}
			entries[len(entries)-1].text += "\n" + strings.TrimLeftFunc(line, isSpace)
			continue
		}
		open = false
		switch line[0] {
		case '[':
			if !strings.HasSuffix(line, "]") {
				return nil, fail("a section must end with ]")
			}
			if len(line) <= 2 {
				return nil, fail("the section has no name")
			}
			group = normalizeGroup(line[1 : len(line)-1])
		case '#', ';':
		default:
			name, value, found := cutAssignment(line)
			switch {
			case !found:
				return nil, fail("no ':' or '=' in the assignment")
			case name == "":
				return nil, fail("the option has no name")
			case group == "":
				return nil, fail("the option stands before the first [section]")
			}
			entries = append(entries, entry{group, name, unquote(value), i + 1})
			open = true
		}
	}
	return entries, nil
}

// splitLines ends lines as Python's universal newlines do: \n, \r\n or \r.
func splitLines(text string) []string {
	return strings.Split(strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n"), "\n")
}

// cutAssignment splits at the first '=' or ':', whichever comes first.
func cutAssignment(line string) (name, value string, found bool) {
	i := strings.IndexAny(line, ":=")
	if i < 0 {
		return "", "", false
	}
	return strings.TrimFunc(line[:i], isSpace), strings.TrimFunc(line[i+1:], isSpace), true
}

// unquote drops one pair of equal quotes around the value's first line.
func unquote(value string) string {
	if value == "" || value[0] != value[len(value)-1] || (value[0] != '"' && value[0] != '\'') {
		return value
	}
	if len(value) == 1 { // Python slices a lone quote to nothing
		return ""
	}
	return value[1 : len(value)-1]
}

// isSpace is Python's str.isspace: Unicode's, and the four separators that
// Go leaves out.
func isSpace(r rune) bool {
	return unicode.IsSpace(r) || (r >= 0x1c && r <= 0x1f)
}

// normalizeGroup: group names match whatever their case, but for [DEFAULT].
func normalizeGroup(name string) string {
	if name == defaultGroup {
		return name
	}
	return strings.ToLower(name)
}
