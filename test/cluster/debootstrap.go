package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// rootPackages are what a root needs to be a node at all.
var rootPackages = []string{
	"systemd-sysv", "dbus", "iproute2", "iputils-ping", "procps", "psmisc", "python3",
	"corosync", "pacemaker", "pacemaker-cli-utils", "pcs", "resource-agents",
}

// bootstrapScript runs in namespaces of its own, so that neither a mount nor a daemon of it can stay behind:
// $1 suite, $2 directory, $3 mirror, then the packages.
const bootstrapScript = `set -e
suite=$1 dir=$2 mirror=$3; shift 3
debootstrap --variant=minbase "$suite" "$dir" "$mirror"
printf '#!/bin/sh\nexit 101\n' >"$dir/usr/sbin/policy-rc.d"; chmod 755 "$dir/usr/sbin/policy-rc.d"
mount -t proc proc "$dir/proc"
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
chroot "$dir" apt-get -q -y install --no-install-recommends "$@"
chroot "$dir" apt-get clean
`

// Debootstrap makes dir a root of another Debian release, for Config.Root, with what a node needs and the given
// packages. It takes minutes and about 1 GB the first time; a dir that already is that root is left as it is. Packages
// come from the mirror, and through the proxy, that this machine's apt is configured to use. As long as this process
// lives, no other one that wants other packages there makes it anew.
func Debootstrap(ctx context.Context, suite, dir string, packages ...string) error {
	if os.Geteuid() != 0 {
		return errors.New("needs root")
	}
	if _, err := exec.LookPath("debootstrap"); err != nil {
		return errors.New("needs debootstrap")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	lock, err := unix.Open(dir+".lock", unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o600) // never closed: see above
	if err != nil {
		return err
	}
	packages = slices.Compact(slices.Sorted(slices.Values(append(packages, rootPackages...))))
	stamp, stampFile := []byte(suite+" "+strings.Join(packages, " ")+"\n"), "etc/cluster-root"
	for _, how := range []int{unix.LOCK_SH, unix.LOCK_EX} {
		if err := unix.Flock(lock, how); err != nil {
			return err
		}
		if have, err := os.ReadFile(filepath.Join(dir, stampFile)); err == nil && bytes.Equal(have, stamp) {
			return unix.Flock(lock, unix.LOCK_SH)
		}
	}
	mirror, env, err := aptSettings(ctx)
	if err != nil {
		return err
	}
	fresh := dir + ".new"
	if err := errors.Join(os.RemoveAll(fresh), os.RemoveAll(dir)); err != nil {
		return err
	}
	args := []string{"--mount", "--pid", "--fork", "--kill-child", "bash", "-c", bootstrapScript, "bash", suite, fresh, mirror}
	cmd := exec.CommandContext(ctx, "unshare", append(args, packages...)...)
	cmd.Env = append(append(os.Environ(), "PATH="+defaultPath), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("debootstrap %s: %w: %s", suite, err, out[max(0, len(out)-2000):])
	}
	if err := os.WriteFile(filepath.Join(fresh, stampFile), stamp, 0o644); err != nil {
		return err
	}
	if err := os.Rename(fresh, dir); err != nil {
		return err
	}
	return unix.Flock(lock, unix.LOCK_SH)
}

// aptSettings returns the archive apt gets the machine's own release from, and the environment that leads there.
func aptSettings(ctx context.Context) (mirror string, env []string, err error) {
	out, err := exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages").Output()
	if err != nil {
		return "", nil, fmt.Errorf("apt-get indextargets: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		// Releases with a dash are the updates of one.
		if f := strings.Fields(line); len(f) == 3 && f[2] == "main" && !strings.Contains(f[1], "-") {
			mirror = f[0]
			break
		}
	}
	if mirror == "" {
		return "", nil, errors.New("apt has no source of a whole release")
	}
	for _, scheme := range []string{"http", "https"} {
		out, err := exec.CommandContext(ctx, "apt-config", "dump", "--format", "%v", "Acquire::"+scheme+"::Proxy").Output()
		if proxy := strings.TrimSpace(string(out)); err == nil && proxy != "" && proxy != "DIRECT" {
			env = append(env, scheme+"_proxy="+proxy)
		}
	}
	return mirror, env, nil
}
