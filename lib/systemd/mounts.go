package systemd

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Mount is what systemd mounts when the node boots, or when somebody looks at its directory.
type Mount struct {
	What, Where string
	By          string // "/etc/fstab", or the link by which the unit is enabled
	Do          string // that it does so no more
}

// generator is systemd's own reader of /etc/fstab.
const generator = "/usr/lib/systemd/system-generators/systemd-fstab-generator"

// Mounts are those of /etc/fstab and of units that are enabled. systemd's own reader says what becomes of /etc/fstab, as it is now
// and not as it was when systemd last read it. Where that reader is not there nothing is known of the file. root is put before the
// path of units; "/" outside tests.
func Mounts(ctx context.Context, root string) (list []Mount, err error) {
	if _, missing := os.Stat(generator); missing == nil {
		dir, err := os.MkdirTemp("", "openstack-ocf-fstab-")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir)
		read := exec.CommandContext(ctx, generator, dir, dir, dir)
		read.Env = append(os.Environ(), "SYSTEMD_LOG_TARGET=null") // generators speak into the kernel's log
		if err := read.Run(); err != nil {
			return nil, err
		}
		for _, link := range wanted(dir) {
			m := mountOf(readText(filepath.Join(dir, mountName(link))))
			m.By, m.Do = "/etc/fstab", "remove it there, or give it noauto and none of x-systemd.automount, .wanted-by and .required-by; then systemctl daemon-reload"
			list = append(list, m)
		}
	}
	for _, link := range wanted(filepath.Join(root, "/etc/systemd/system")) {
		m := mountOf(textsOf(root, mountName(link))...)
		m.By, m.Do = link, "systemctl disable "+filepath.Base(link)
		list = append(list, m)
	}
	return slices.DeleteFunc(list, func(m Mount) bool { return m.Where == "" }), nil
}

// wanted are the links to units that mount something, in the folders of what is started at boot.
func wanted(dir string) (links []string) {
	for _, pattern := range []string{"*.wants/*.mount", "*.requires/*.mount", "*.wants/*.automount", "*.requires/*.automount"} {
		more, _ := filepath.Glob(filepath.Join(dir, pattern))
		links = append(links, more...)
	}
	return links
}

// mountName is the unit that mounts, of one that may do so when somebody looks there.
func mountName(link string) string {
	return strings.TrimSuffix(strings.TrimSuffix(filepath.Base(link), ".automount"), ".mount") + ".mount"
}

func readText(path string) string {
	b, _ := os.ReadFile(path)
	return string(b)
}

func mountOf(texts ...string) (m Mount) {
	for _, text := range texts {
		for line := range strings.Lines(text) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			value = strings.ReplaceAll(strings.TrimSpace(value), "%%", "%")
			switch strings.TrimSpace(name) {
			case "What":
				m.What = value
			case "Where":
				m.Where = value
			}
		}
	}
	return m
}
