package systemd

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/openstack-ocf/agents/ocf"
)

// Unit is what a service's unit gives its program.
type Unit struct {
	Exec []string // the command line, its variables replaced
	Env  []string // "NAME=value": of Environment and EnvironmentFile

	User, Group string // whom it runs as, "" for root
}

// unitDirs are where systemd looks for units, the first first.
var unitDirs = []string{
	"/etc/systemd/system.control", "/run/systemd/system.control", "/run/systemd/transient", "/run/systemd/generator.early",
	"/etc/systemd/system", "/run/systemd/system", "/run/systemd/generator", "/usr/local/lib/systemd/system",
	"/usr/lib/systemd/system", "/lib/systemd/system", "/run/systemd/generator.late",
}

// Read reads a unit and its drop-ins. found is false if there is none, or if it runs nothing. root is put before every
// path; "/" outside tests.
func Read(root, unit string) (u Unit, found bool) {
	var exec string
	env := map[string]string{}
	var names, files []string
	for _, text := range unitTexts(root, unit) {
		for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			switch value = strings.TrimSpace(value); strings.TrimSpace(name) {
			case "ExecStart":
				exec = strings.TrimLeft(value, "-@:+!")
			case "User":
				u.User = value
			case "Group":
				u.Group = value
			case "Environment":
				if value == "" {
					clear(env)
				}
				for _, v := range split(value) {
					set(env, &names, v)
				}
			case "EnvironmentFile":
				if value == "" {
					files = nil
					break
				}
				files = append(files, strings.TrimPrefix(value, "-"))
			}
		}
	}
	for _, file := range files { // outweigh Environment, wherever they stand
		for _, v := range ReadEnv(filepath.Join(root, file)) {
			set(env, &names, v)
		}
	}
	for _, word := range split(exec) {
		if name, ok := strings.CutPrefix(word, "$"); ok && !strings.HasPrefix(name, "{") {
			u.Exec = append(u.Exec, split(env[name])...)
			continue
		}
		u.Exec = append(u.Exec, os.Expand(word, func(name string) string { return env[name] }))
	}
	for _, name := range names {
		if value, ok := env[name]; ok {
			u.Env = append(u.Env, name+"="+value)
		}
	}
	return u, len(u.Exec) > 0
}

func set(env map[string]string, names *[]string, assignment string) {
	name, value, ok := strings.Cut(assignment, "=")
	if !ok || name == "" || strings.ContainsAny(name, " \t") {
		return
	}
	if !slices.Contains(*names, name) {
		*names = append(*names, name)
	}
	env[name] = value
}

func split(text string) (list []string) {
	_ = ocf.Words(&list).Set(text) // of what is malformed, what could be read
	return list
}

// ReadEnv reads an environment file such as /etc/default/haproxy: NAME=value a line, quotes around values, # and ;
// begin comments. "export" before a name, for init scripts, is passed over.
func ReadEnv(file string) (env []string) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	for line := range strings.Lines(strings.ReplaceAll(string(b), "\\\n", "")) {
		line = strings.TrimPrefix(strings.TrimSpace(line), "export ")
		name, value, ok := strings.Cut(line, "=")
		if !ok || name == "" || strings.ContainsAny(name[:1], "#;") || strings.ContainsAny(name, " \t") {
			continue
		}
		value = strings.TrimSpace(value)
		if n := len(value); n >= 2 && value[0] == value[n-1] && (value[0] == '"' || value[0] == '\'') {
			value = value[1 : n-1]
		}
		env = append(env, name+"="+value)
	}
	return env
}

// Enabled are the links by which systemd starts the unit at boot, none if it does not. root is put before every path.
func Enabled(root, unit string) []string {
	links, _ := filepath.Glob(filepath.Join(root, "/etc/systemd/system/*.wants", unit))
	more, _ := filepath.Glob(filepath.Join(root, "/etc/systemd/system/*.requires", unit))
	return append(links, more...)
}

// unitTexts are the unit's own text and those of its drop-ins, in the order in which they count.
func unitTexts(root, unit string) []string {
	if prefix, instance, ok := strings.Cut(strings.TrimSuffix(unit, ".service"), "@"); ok {
		texts := append(textsOf(root, prefix+"@.service"), textsOf(root, unit)...)
		for i, text := range texts {
			texts[i] = strings.NewReplacer("%i", instance, "%I", strings.ReplaceAll(instance, "-", "/")).Replace(text)
		}
		return texts
	}
	return textsOf(root, unit)
}

func textsOf(root, unit string) []string {
	var texts []string
	dropins := map[string]string{} // by name, of which the first directory's counts
	for _, dir := range unitDirs {
		path := filepath.Join(root, dir, unit)
		if b, err := os.ReadFile(path); err == nil && texts == nil {
			texts = []string{string(b)}
		}
		more, _ := filepath.Glob(path + ".d/*.conf")
		for _, file := range more {
			if _, seen := dropins[filepath.Base(file)]; seen {
				continue
			}
			if b, err := os.ReadFile(file); err == nil {
				dropins[filepath.Base(file)] = string(b)
			}
		}
	}
	names := make([]string, 0, len(dropins))
	for name := range dropins {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		texts = append(texts, dropins[name])
	}
	return texts
}
