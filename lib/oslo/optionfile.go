package oslo

import (
	"errors"
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
	r := optionReader{file: optionFile{}, seen: map[string]bool{}}
	for i, line := range splitLines(string(b)) {
		if err := r.line(line); err != nil {
			return nil, fmt.Errorf("%s:%d: %w, with which PyMySQL reads none of it", path, i+1, err)
		}
	}
	return r.file, nil
}

type optionReader struct {
	file          optionFile
	seen          map[string]bool // "[section]" and "[section]name"
	section, name string
	level         int      // of the option's indentation
	value         []string // its lines; nil: it has none
}

func (r *optionReader) line(line string) error {
	text := strings.TrimFunc(line, isSpace)
	if text == "" || text[0] == '#' || text[0] == ';' {
		if text == "" && r.value != nil {
			r.value = append(r.value, "")
		}
		return nil
	}
	indent := len(line) - len(strings.TrimLeftFunc(line, isSpace))
	if r.name != "" && indent > r.level {
		if r.value == nil {
			return errors.New("a line is indented after an option without a value")
		}
		r.value = append(r.value, text)
		r.file[r.section][r.name] = strings.Join(r.value, "\n")
		return nil
	}
	r.level = indent
	if end := strings.LastIndexByte(text, ']'); text[0] == '[' && end > 1 {
		return r.begin(text[1:end])
	}
	if r.section == "" {
		return errors.New("a line stands before the first [section]")
	}
	return r.option(text)
}

// once is an error for what is there already.
func (r *optionReader) once(key, what string) error {
	if r.seen[key] {
		return errors.New(what + " is there twice")
	}
	r.seen[key] = true
	return nil
}

func (r *optionReader) begin(section string) error {
	r.section, r.name, r.value = section, "", nil
	if r.file[section] == nil {
		r.file[section] = map[string]string{}
	}
	if section == defaultGroup {
		return nil
	}
	return r.once("["+section+"]", "a section")
}

func (r *optionReader) option(text string) error {
	r.name, r.value = text, nil
	if at := strings.IndexAny(text, "=:"); at >= 0 {
		r.name, r.value = strings.TrimRightFunc(text[:at], isSpace), []string{strings.TrimFunc(text[at+1:], isSpace)}
	}
	if r.name = strings.ToLower(r.name); r.name == "" {
		return errors.New("an option has no name")
	}
	r.file[r.section][r.name] = strings.Join(r.value, "")
	return r.once("["+r.section+"]"+r.name, "an option")
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
