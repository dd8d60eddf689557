// Package oslo reads the configuration of an OpenStack service as the service
// itself does (oslo.config), so that a health check looks for the service on
// the bus, in the database and under the host name that the service uses.
//
//	cfg, err := oslo.Load(oslo.File("/etc/nova/nova.conf"), oslo.Dir("/etc/nova/nova.conf.d"))
//	bus, err := cfg.Transport("nova")
//	db, err := cfg.Database()
//	host, err := cfg.Host()
//
// An option is named "group.option"; several names are one option with its
// older names, the current one first. Names and precedence follow oslo.config
// 9 and, for what was renamed since, Havana's nova and neutron.
//
// Errors say file, line and option, never a value: it may hold a password.
package oslo

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/openstack-ocf/agents/lib/files"
)

const defaultGroup = "DEFAULT"

// ErrNotSet says that no file sets the option.
var ErrNotSet = errors.New("not set")

// ErrReference says that a value refers to an option that no file sets. What it
// is then stands in the service's code, if anywhere.
var ErrReference = errors.New("its $reference is to an option that is set nowhere (a literal $ is written $$)")

// Source is a file or a folder of *.conf files to read.
type Source struct {
	path     string
	dir      bool
	optional bool
}

// File is a --config-file. Load fails if it is not there, as the service does.
func File(path string) Source { return Source{path: path} }

// Dir is a --config-dir: its *.conf files by name, hidden ones left out. Load
// fails if it is not there.
func Dir(path string) Source { return Source{path: path, dir: true} }

// String is the source as the service's command line would have it.
func (s Source) String() string {
	if s.dir {
		return "--config-dir=" + s.path
	}
	return "--config-file=" + s.path
}

// CommandLine is how a service was started, as far as it decides what it reads.
type CommandLine struct {
	Project, Prog string   // "nova", "nova-scheduler"
	Args          []string // the program and its interpreter may be among them
	Dir           string   // the working directory
	Home          string   // the home folder of its user; "" is none
	Root          string   // put before every default path; "" outside tests
}

// Sources are the files that the service reads: each --config-file and
// --config-dir in order. Without any --config-file the defaults of project and
// prog come first, without any --config-dir the default folders do, each from
// the first of ~/.project, ~, /etc/project, /etc that has it; before them the
// distribution's own files, where its oslo.config knows of them.
func (l CommandLine) Sources() []Source {
	var given []Source
	hasFile, hasDir := false, false
	for i, arg := range l.Args {
		name, value, joined := strings.Cut(arg, "=")
		isFile, isDir := name == "--config-file", name == "--config-dir"
		if !isFile && !isDir {
			continue
		}
		hasFile, hasDir = hasFile || isFile, hasDir || isDir
		if !joined && i+1 < len(l.Args) {
			value, joined = l.Args[i+1], true
		}
		if joined {
			given = append(given, Source{path: l.path(value), dir: isDir})
		}
	}
	var defaults []Source
	if !hasFile {
		defaults = append(l.dist(), l.defaults(".conf", false)...)
	}
	if !hasDir {
		defaults = append(defaults, l.defaults(".conf.d", true)...)
	}
	return append(defaults, given...)
}

// path is an argument as the service takes it.
func (l CommandLine) path(arg string) string {
	if rest, found := strings.CutPrefix(arg, "~/"); found && l.Home != "" {
		return filepath.Join(l.Home, rest)
	}
	if l.Dir != "" && !filepath.IsAbs(arg) {
		return filepath.Join(l.Dir, arg)
	}
	return arg
}

// dist are the distribution's own files. RDO's oslo.config knew of them until Wallaby; the files are there still.
func (l CommandLine) dist() (found []Source) {
	for _, base := range []string{l.Project, l.Prog} {
		if path := filepath.Join(l.Root, "/usr/share", l.Project, base+"-dist.conf"); base != "" && files.Exists(path) {
			found = append(found, File(path))
		}
	}
	if len(found) == 0 {
		return nil
	}
	packages := filepath.Join(l.Root, "/usr/lib/python*/*-packages")
	readers, _ := filepath.Glob(packages + "/oslo_config/cfg.py")
	older, _ := filepath.Glob(packages + "/oslo/config/cfg.py") // before Kilo
	for _, reader := range append(readers, older...) {
		if text, err := os.ReadFile(reader); err == nil && bytes.Contains(text, []byte("/usr/share/%s")) {
			return found
		}
	}
	return nil
}

func (l CommandLine) defaults(ext string, dir bool) []Source {
	var folders []string
	if l.Home != "" {
		folders = append(folders, filepath.Join(l.Home, "."+l.Project), l.Home)
	}
	folders = append(folders, filepath.Join("/etc", l.Project), "/etc")
	var found []Source
	for _, base := range []string{l.Project, l.Prog} {
		for _, folder := range folders {
			if path := filepath.Join(l.Root, folder, base+ext); base != "" && files.Exists(path) {
				found = append(found, Source{path: path, dir: dir, optional: true})
				break
			}
		}
	}
	return found
}

// Config is what the sources say. It is not safe for concurrent use while
// SetDefault is being called.
type Config struct {
	files    []file // as read; the later wins
	defaults map[string]string
	env      map[string]string
	home     string
}

type file struct {
	path    string
	options map[string][]entry // by "group.name"
}

// Load reads the sources in order; a later one overrides an earlier one. The
// error of a file that is not there wraps fs.ErrNotExist.
func Load(sources ...Source) (*Config, error) {
	cfg := &Config{defaults: map[string]string{}}
	for _, src := range sources {
		paths, err := src.files()
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				return nil, fmt.Errorf("config: %w", err)
			}
			if err := cfg.add(path, string(text)); err != nil {
				return nil, fmt.Errorf("config: %w", err)
			}
		}
	}
	return cfg, nil
}

// Files are the files that Load reads of it; none if it cannot be read.
func (s Source) Files() []string {
	files, _ := s.files()
	return files
}

func (s Source) files() ([]string, error) {
	if !s.dir {
		return []string{s.path}, nil
	}
	entries, err := os.ReadDir(s.path) // sorted by name
	if err != nil {
		if s.optional && errors.Is(err, os.ErrNotExist) {
			return nil, nil
		}
		return nil, fmt.Errorf("config: %w", err)
	}
	var paths []string
	for _, e := range entries {
		if name := e.Name(); strings.HasSuffix(name, ".conf") && name[0] != '.' {
			paths = append(paths, filepath.Join(s.path, name))
		}
	}
	return paths, nil
}

func (c *Config) add(path, text string) error {
	entries, err := parse(path, text)
	if err != nil {
		return err
	}
	f := file{path: path, options: map[string][]entry{}}
	for _, e := range entries {
		key := e.group + "." + e.name
		f.options[key] = append(f.options[key], e)
	}
	c.files = append(c.files, f)
	return nil
}

// SetDefault tells what a reference such as $state_path means where no file
// sets it: the files alone cannot say, the default is in the service's code.
func (c *Config) SetDefault(name, text string) { c.defaults[name] = text }

// SetEnvironment tells the service's environment: OS_GROUP__OPTION there outweighs the files (oslo.config 6.4 and later).
func (c *Config) SetEnvironment(env []string) {
	c.env = map[string]string{}
	for _, v := range env {
		if name, value, _ := strings.Cut(v, "="); strings.HasPrefix(name, "OS_") {
			c.env[name] = value
		}
	}
}

// SetHome tells what ~ means in a value: the home folder of the service's user.
func (c *Config) SetHome(home string) { c.home = home }

// Value is an option's value, interpolated, and where it was set.
type Value struct {
	Text string
	File string
	Line int
	name string
}

// Where is "file:line", or "default".
func (v Value) Where() string {
	switch {
	case v.File == "":
		return "default"
	case v.Line == 0: // File is a Where itself
		return v.File
	}
	return v.File + ":" + strconv.Itoa(v.Line)
}

func (v Value) errorf(format string, args ...any) error {
	return fmt.Errorf("%s: option %s: %w", v.Where(), v.name, fmt.Errorf(format, args...))
}

// List splits at commas, as oslo.config's ListOpt does.
func (v Value) List() []string {
	text := strings.TrimRight(strings.TrimFunc(v.Text, isSpace), ",")
	if text == "" {
		return nil
	}
	items := strings.Split(text, ",")
	for i := range items {
		items[i] = strings.TrimFunc(items[i], isSpace)
	}
	return items
}

// Get returns an option's value: of the environment by its current name, or of the last file that sets it under any of
// its names the first such name, and of that the last assignment. The error
// is ErrNotSet, or wraps ErrReference.
func (c *Config) Get(names ...string) (Value, error) {
	e, path, found := c.last(names)
	if !found {
		return Value{name: names[0]}, fmt.Errorf("option %s: %w", names[0], ErrNotSet)
	}
	return c.value(e, path)
}

// All returns every assignment of a multi-valued option: those of the first
// file first, as oslo.config's MultiOpt does.
func (c *Config) All(names ...string) ([]Value, error) {
	var all []Value
	for _, f := range c.files {
		var ofFile []Value
		for _, name := range names {
			// As oslo.config has it: within a file the older names come before.
			var ofName []Value
			for _, e := range f.options[key(name)] {
				v, err := c.value(e, f.path)
				if err != nil {
					return nil, err
				}
				ofName = append(ofName, v)
			}
			ofFile = append(ofName, ofFile...)
		}
		all = append(all, ofFile...)
	}
	return all, nil
}

// Bool reads true/1/on/yes and false/0/off/no, whatever their case.
func (c *Config) Bool(fallback bool, names ...string) (bool, error) {
	v, err := c.Get(names...)
	if errors.Is(err, ErrNotSet) {
		return fallback, nil
	}
	if err != nil {
		return false, err
	}
	return v.bool()
}

func (v Value) bool() (bool, error) {
	switch strings.ToLower(v.Text) {
	case "true", "1", "on", "yes":
		return true, nil
	case "false", "0", "off", "no":
		return false, nil
	}
	return false, v.errorf("not a boolean")
}

// Int reads a whole number; an empty value counts as not set.
func (c *Config) Int(fallback int, names ...string) (int, error) {
	v, err := c.Get(names...)
	if errors.Is(err, ErrNotSet) || (err == nil && v.Text == "") {
		return fallback, nil
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(v.Text)
	if err != nil {
		return 0, v.errorf("not a whole number")
	}
	return n, nil
}

// Str reads a text.
func (c *Config) Str(fallback string, names ...string) (string, error) {
	v, err := c.Get(names...)
	if errors.Is(err, ErrNotSet) {
		return fallback, nil
	}
	return v.Text, err
}

// Seconds reads a number of seconds, whole or not.
func (c *Config) Seconds(fallback time.Duration, names ...string) (time.Duration, error) {
	v, err := c.Get(names...)
	if errors.Is(err, ErrNotSet) || (err == nil && v.Text == "") {
		return fallback, nil
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseFloat(v.Text, 64)
	if err != nil || n < 0 || n > maxSeconds {
		return 0, v.errorf("not a number of seconds")
	}
	return time.Duration(n * float64(time.Second)), nil
}

// maxSeconds is what a time.Duration holds.
const maxSeconds = 1 << 33

// key is a name with its group normalized.
func key(name string) string {
	group, option, found := strings.Cut(name, ".")
	if !found {
		return defaultGroup + "." + name
	}
	return normalizeGroup(group) + "." + option
}

func (c *Config) last(names []string) (entry, string, bool) {
	group, option, _ := strings.Cut(key(names[0]), ".")
	if name := "OS_" + strings.ToUpper(group) + "__" + strings.ToUpper(option); c.env != nil {
		if text, found := c.env[name]; found {
			return entry{group: group, name: option, text: text}, "the environment's " + name, true
		}
	}
	for i := len(c.files) - 1; i >= 0; i-- {
		for _, name := range names {
			if set := c.files[i].options[key(name)]; len(set) > 0 {
				return set[len(set)-1], c.files[i].path, true
			}
		}
	}
	return entry{}, "", false
}

func (c *Config) value(e entry, path string) (Value, error) {
	v := Value{File: path, Line: e.line, name: e.group + "." + e.name}
	text, err := c.interpolate(e.text, e.group, 0)
	if err != nil {
		return v, v.errorf("%w", err)
	}
	v.Text = text
	return v, nil
}

// reference is oslo.config's Template: $$, $name, ${name}; a name may hold
// dots, so "$host.example.org" is one (unknown) name.
var reference = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`\$(?:\$|([_a-zA-Z][._a-zA-Z0-9]*)|\{([_a-zA-Z][._a-zA-Z0-9]*)\})`)
})

// Bounds on references that go round in a circle or double at every step.
const (
	maxDepth = 20
	maxText  = 1 << 20
)

func (c *Config) interpolate(text, group string, depth int) (string, error) {
	if !strings.Contains(text, "$") {
		return text, nil
	}
	if depth > maxDepth || len(text) > maxText {
		return "", errors.New("its $references go round in a circle or grow without end")
	}
	var failed error
	grown := 0
	text = reference().ReplaceAllStringFunc(strings.ReplaceAll(text, `\$`, "$$"), func(ref string) string {
		if ref == "$$" || failed != nil {
			return "$"
		}
		target, err := c.resolve(strings.Trim(ref, "${}"), group, depth)
		if grown += len(target); err == nil && grown > maxText {
			err = errors.New("its $references grow without end")
		}
		failed = err
		return target
	})
	return text, failed
}

// resolve finds what $name means inside group: "g.option" in group g, else
// the option of the same group, else of [DEFAULT].
func (c *Config) resolve(name, group string, depth int) (string, error) {
	candidates := []string{group + "." + name, defaultGroup + "." + name}
	if strings.Contains(name, ".") {
		candidates = []string{name}
	}
	for _, candidate := range candidates {
		if e, _, found := c.last([]string{candidate}); found {
			return c.interpolate(e.text, e.group, depth+1)
		}
	}
	if text, found := c.defaults[name]; found {
		return text, nil
	}
	// The name itself may be the tail of a password: not in the message.
	return "", ErrReference
}
