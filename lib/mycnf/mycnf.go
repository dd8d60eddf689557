// Package mycnf reads the option files of MySQL and MariaDB (my.cnf) as the server itself reads them.
//
// The grammar is the one documented in "Using Option Files" (MySQL Reference Manual) and "Configuring MariaDB with
// Option Files" (MariaDB documentation); where they are silent, my_print_defaults of MariaDB 10.11 was the reference:
// the tests compare this package with it.
//
// What the server does later, when it interprets the options, is not done here: unambiguous prefixes of a name
// (max_conn for max_connections) are not expanded, and skip-, disable- and enable- stay part of the name. Ask asks
// the server itself.
package mycnf

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

const (
	maxDepth = 10      // the server's limit of nested includes
	maxLine  = 4094    // the server reads lines through a buffer of this many bytes and takes the rest for a new line
	maxFile  = 4 << 20 // nobody's option file is larger: a wrong path, not a configuration
	maxFiles = 1000    // a directory that includes itself and others grows with the power of maxDepth; the server would go on
)

// Option is one line of an option file. A line without '=' has no value: HasValue is false.
type Option struct {
	Name, Value string
	HasValue    bool
	Group       string
	File        string
	Line        int
}

// Options is what a server reading those groups would be given, in the order of the files.
type Options struct {
	List []Option
	// Warnings name what was passed over, as the server passes it over: world-writable files, missing includes,
	// errors in included files, include loops. Each is one line and starts with file:line or the file.
	Warnings []string
	// Files are what this depends on: the files that were read, or are missing, and the directories of !includedir.
	Files []string
}

// First returns the first value: of the option user the server takes that one.
func (o Options) First(name string) (string, bool) {
	i := slices.IndexFunc(o.List, func(opt Option) bool { return canonical(opt.Name) == canonical(name) })
	if i < 0 {
		return "", false
	}
	return o.List[i].Value, true
}

// Get returns the value that counts, the last one. '-' and '_' are the same, and so is a name with the prefix
// loose_. The value of an option written without '=' is empty.
func (o Options) Get(name string) (string, bool) {
	opt, ok := o.Find(name)
	return opt.Value, ok
}

// Find is Get with the place where the option was found.
func (o Options) Find(name string) (Option, bool) {
	name = canonical(name)
	for _, opt := range slices.Backward(o.List) {
		if canonical(opt.Name) == name {
			return opt, true
		}
	}
	return Option{}, false
}

func canonical(name string) string {
	return strings.TrimPrefix(strings.ReplaceAll(name, "_", "-"), "loose-")
}

// Read reads the file at path and what it includes, and keeps the options of the groups, whose case does not matter and which
// may have a suffix (mariadb-10.11). A relative path in an include is one below /, where units start the server.
//
// What would keep the server from starting is an error: a missing or unreadable file (it wraps fs.ErrNotExist,
// fs.ErrPermission), an option before the first group, a broken group header or include, a missing directory of
// !includedir. Errors of syntax start with file:line.
func Read(path string, groups ...string) (Options, error) {
	r := reader{groups: groups}
	err := r.file(path, 0)
	return r.Options, err
}

type reader struct {
	Options
	groups []string
	read   int                                       // files included so far
	check  func(path string, info fs.FileInfo) error // nil: any file will do
}

// errRefused marks an error of check, which an include does not soften to a warning.
var errRefused = errors.New("refused")

func (r *reader) warnf(format string, args ...any) {
	r.Warnings = append(r.Warnings, fmt.Sprintf(format, args...))
}

func (r *reader) file(path string, depth int) error {
	r.Files = append(r.Files, path)
	text, err := r.slurp(path)
	if err != nil {
		return err
	}
	group, grouped := "", false
	for n, line := range lines(text) {
		at := fmt.Sprintf("%s:%d", path, n)
		line = trimRight(trimLeft(line))
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
		case line[0] == '!':
			if err := r.include(at, trimLeft(line[1:]), depth); err != nil {
				return err
			}
		case line[0] == '[':
			name, _, ok := strings.Cut(line[1:], "]")
			if !ok {
				return fmt.Errorf("%s: group header without ']': %.40q", at, line)
			}
			group, grouped = trimRight(name), true // blanks before the name belong to it: such a group is nobody's
		case !grouped:
			return fmt.Errorf("%s: option before the first [group]", at)
		case slices.ContainsFunc(r.groups, func(g string) bool { return strings.EqualFold(g, group) }):
			opt := parseOption(line)
			opt.Group, opt.File, opt.Line = group, path, n
			r.List = append(r.List, opt)
		}
	}
	return nil
}

// slurp returns nothing for a file the server ignores.
func (r *reader) slurp(path string) (string, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO in the way must not block us
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if r.check != nil {
		if err := r.check(path, info); err != nil {
			return "", fmt.Errorf("%w: %w", errRefused, err)
		}
	}
	if !info.Mode().IsRegular() {
		r.warnf("%s: not a regular file, read as empty", path)
		return "", nil
	}
	if info.Mode()&0o002 != 0 {
		r.warnf("%s: world-writable: the server ignores it", path)
		return "", nil
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return "", err
	}
	if len(text) > maxFile {
		return "", fmt.Errorf("%s: larger than %d bytes: not an option file", path, maxFile)
	}
	return string(text), nil
}

// lines yields the lines as the server sees them, with the numbers an editor shows: a line too long for its buffer is
// several lines to it, and a NUL ends one.
func lines(text string) func(func(int, string) bool) {
	return func(yield func(int, string) bool) {
		n := 0
		for line := range strings.Lines(text) {
			n++
			for len(line) > 0 {
				part := line[:min(len(line), maxLine)]
				line = line[len(part):]
				part, _, _ = strings.Cut(part, "\x00")
				if !yield(n, part) {
					return
				}
			}
		}
	}
}

// include follows !include FILE and !includedir DIR; a directive of another name is ignored, as the server ignores it.
func (r *reader) include(at, directive string, depth int) error {
	end := 0
	for end < len(directive) && !isSpace(directive[end]) {
		end++
	}
	word, arg := directive[:end], trimLeft(directive[end:])
	if word != "include" && word != "includedir" {
		return nil
	}
	if arg == "" {
		return fmt.Errorf("%s: !%s names no file", at, word)
	}
	if depth >= maxDepth {
		r.warnf("%s: !%s %s skipped: includes nested deeper than %d, probably a loop", at, word, arg, maxDepth)
		return nil
	}
	if !filepath.IsAbs(arg) {
		arg = "/" + arg
	}
	files := []string{arg}
	if word == "includedir" {
		r.Files = append(r.Files, arg)
		entries, err := os.ReadDir(arg) // in the order of the bytes of the names, as the server sorts them
		if err != nil {
			return fmt.Errorf("%s: !includedir: %w", at, err)
		}
		files = files[:0]
		for _, e := range entries {
			if filepath.Ext(e.Name()) == ".cnf" {
				files = append(files, filepath.Join(arg, e.Name()))
			}
		}
	}
	for _, file := range files {
		if r.read++; r.read > maxFiles {
			return fmt.Errorf("%s: more than %d files included: a loop", at, maxFiles)
		}
		err := r.file(file, depth+1)
		if errors.Is(err, errRefused) {
			return err
		}
		if err != nil {
			r.warnf("%s: !%s: the rest of this file is ignored: %v", at, word, err)
		}
	}
	return nil
}

func parseOption(line string) Option {
	name, value, has := strings.Cut(cutComment(line), "=")
	opt := Option{Name: trimRight(name), HasValue: has}
	value = trimRight(trimLeft(value))
	if n := len(value); n >= 2 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0] {
		value = value[1 : n-1]
	}
	opt.Value = unescape(value)
	return opt
}

// cutComment cuts at a '#' outside quotes; a quote counts wherever it stands, and only inside one does a backslash.
func cutComment(line string) string {
	var quote byte
	escaped := false
	for i := range len(line) {
		c := line[i]
		switch {
		case (c == '\'' || c == '"') && !escaped && quote == 0:
			quote = c
		case c == quote && !escaped:
			quote = 0
		case c == '#' && quote == 0:
			return line[:i]
		}
		escaped = quote != 0 && c == '\\' && !escaped
	}
	return line
}

// unescape leaves the backslash of an unknown escape, and one at the end, in place.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s // nearly always
	}
	return strings.NewReplacer(
		`\n`, "\n", `\t`, "\t", `\r`, "\r", `\b`, "\b", `\s`, " ", `\"`, `"`, `\'`, `'`, `\\`, `\`,
	).Replace(s)
}

// isSpace is the server's idea of a blank: latin1, whatever the file is written in.
func isSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' || c == 0xa0 }

func trimLeft(s string) string {
	for s != "" && isSpace(s[0]) {
		s = s[1:]
	}
	return s
}

func trimRight(s string) string {
	for s != "" && isSpace(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}
