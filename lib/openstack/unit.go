package openstack

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/openstack-ocf/agents/ocf"
)

// unitDirs are where systemd looks for units, the first first.
var unitDirs = []string{"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"}

// unitFiles are the options by which the distribution's unit names the configuration files of the program, in
// their order, which decides. found is false where there is no unit, or where it runs a script that
// puts the command line together (Debian's).
func unitFiles(root, prog string) (files []string, found bool) {
	for _, unit := range []string{"openstack-" + prog + ".service", prog + ".service"} {
		argv := execStart(root, unit)
		if len(argv) == 0 {
			continue
		}
		i := slices.IndexFunc(argv, func(w string) bool { return filepath.Base(w) == prog })
		if i < 0 || strings.Contains(argv[i], "/init.d/") || strings.Contains(strings.Join(argv, " "), "$") {
			return nil, false
		}
		for words := argv[i+1:]; len(words) > 0; words = words[1:] {
			name, _, joined := strings.Cut(words[0], "=")
			switch {
			case name != "--config-file" && name != "--config-dir":
			case joined:
				files = append(files, words[0])
			case len(words) > 1:
				files = append(files, name+"="+words[1])
			}
		}
		return files, true
	}
	return nil, false
}

// execStart is the command of a unit, of its drop-ins the last that has one; nil if there is none.
func execStart(root, unit string) []string {
	var texts []string
	dropins := map[string]string{} // by name, of which the first directory's counts
	for _, dir := range unitDirs {
		path := filepath.Join(root, dir, unit)
		if b, err := os.ReadFile(path); err == nil && texts == nil {
			texts = []string{string(b)}
		}
		more, _ := filepath.Glob(path + ".d/*.conf")
		for _, file := range more {
			if b, err := os.ReadFile(file); err == nil && dropins[filepath.Base(file)] == "" {
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
	var argv []string
	for _, text := range texts {
		for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
			if value, ok := strings.CutPrefix(strings.TrimSpace(line), "ExecStart="); ok {
				argv = nil
				_ = ocf.Words(&argv).Set(strings.TrimLeft(value, "-@:+!"))
			}
		}
	}
	return argv
}
