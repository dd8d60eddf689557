package oslo

import (
	"fmt"
	"os"
	"strings"
)

// optionFile is an option file of MySQL's as PyMySQL reads it, which is with Python's configparser and not as
// MySQL's own programs do: no !include, one prefix of a line for a comment, a line that is indented goes on.
type optionFile map[string]map[string]string // by section, then by name

// readOptionFile reads a file; one that cannot be read is an empty one. Errors hold no line's text: it may be a password.
func readOptionFile(path string) (optionFile, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, nil // as PyMySQL does
	}
	f := optionFile{}
	seen := map[string]bool{} // "[section]" and "[section]name"
	var section, name string
	var level int // of the option's indentation
	var value []string
	for i, line := range splitLines(string(b)) {
		fail := func(what string) error {
			return fmt.Errorf("%s:%d: %s, with which PyMySQL reads none of it", path, i+1, what)
		}
		text := strings.TrimFunc(line, isSpace)
		if text == "" || text[0] == '#' || text[0] == ';' {
			if text == "" && name != "" && value != nil {
				value = append(value, "")
			}
			continue
		}
		indent := len(line) - len(strings.TrimLeftFunc(line, isSpace))
		if section != "" && name != "" && indent > level {
			if value == nil {
				return nil, fail("a line is indented after an option without a value")
			}
			value = append(value, text)
			f[section][name] = strings.Join(value, "\n")
			continue
		}
		level = indent
		if end := strings.LastIndexByte(text, ']'); text[0] == '[' && end > 1 {
			section, name, value = text[1:end], "", nil
			if seen["["+section+"]"] && section != defaultGroup {
				return nil, fail("a section is there twice")
			}
			seen["["+section+"]"] = true
			if f[section] == nil {
				f[section] = map[string]string{}
			}
			continue
		}
		if section == "" {
			return nil, fail("a line stands before the first [section]")
		}
		name, value = text, nil
		if at := strings.IndexAny(text, "=:"); at >= 0 {
			name, value = strings.TrimRightFunc(text[:at], isSpace), []string{strings.TrimFunc(text[at+1:], isSpace)}
		}
		name = strings.ToLower(name)
		if name == "" {
			return nil, fail("an option has no name")
		}
		if seen["["+section+"]"+name] {
			return nil, fail("an option is there twice")
		}
		seen["["+section+"]"+name] = true
		f[section][name] = strings.Join(value, "")
	}
	return f, nil
}

// get is an option's value without the quotes around it, "" if it has none.
func (f optionFile) get(section, name string) string {
	options, found := f[section]
	if !found {
		return ""
	}
	value, found := options[name]
	if !found {
		value = f[defaultGroup][name]
	}
	value = strings.TrimRightFunc(value, isSpace)
	if n := len(value); n >= 2 && value[0] == value[n-1] && (value[0] == '\'' || value[0] == '"') {
		value = value[1 : n-1]
	}
	return value
}
