package packaging

import (
	"context"
	"errors"
	"fmt"
	"path"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openstack-ocf/agents/test/cluster"
)

// deadline is for one step, on a machine that has other things to do.
const deadline = 2 * time.Minute

const provider = "/usr/lib/ocf/resource.d/openstack"

// node is a cluster of one node, whose database all that happens to the packages must leave alone.
type node struct {
	*cluster.Node
	c                     *cluster.Cluster
	deb, rpm, tarball     string // the packages' paths in the node
	newDeb, newRPM, newTB string
	version               string
	server                string // pid of the database server
	starts                string // what the cluster remembers of its starts
}

// TestNode takes one node through the packages' life, while its cluster runs a database; its parts build on each other.
func TestNode(t *testing.T) {
	if err := cluster.Missing(""); err != nil {
		t.Skipf("SKIP: %v", err)
	}
	need(t, "apt-get", "rpm", "pcs", "man", "mariadbd")
	old, latest := of(t, built), of(t, upgrade)
	n := &node{}
	var files []cluster.File
	put := func(from string) string {
		to := "/root/" + path.Base(from)
		files = append(files, cluster.File{From: from, Path: to})
		return to
	}
	arch := runtime.GOARCH
	n.deb, n.newDeb = put(file(t, old, "*_"+arch+".deb")), put(file(t, latest, "*_"+arch+".deb"))
	n.rpm, n.newRPM = put(file(t, old, "*."+rpmArch[arch]+".rpm")), put(file(t, latest, "*."+rpmArch[arch]+".rpm"))
	n.tarball, n.newTB = put(file(t, old, "*-linux-"+arch+".tar.gz")), put(file(t, latest, "*-linux-"+arch+".tar.gz"))
	n.version = strings.TrimSuffix(strings.TrimPrefix(path.Base(n.tarball), "openstack-ocf-"), "-linux-"+arch+".tar.gz")
	// As iscsid and NFS's daemons are: what network storage needs as long as it is mounted.
	files = append(files, cluster.File{Path: "/etc/systemd/system/carrier.service", Content: "[Unit]\nWants=remote-fs-pre.target\nBefore=remote-fs-pre.target\n" +
		"[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\nExecStop=/bin/true\n"})
	n.c = cluster.New(t, cluster.Config{Nodes: 1, Files: files, Properties: map[string]string{"stonith-enabled": "false"}})
	n.Node = n.c.Nodes()[0]

	for _, step := range []struct {
		name string
		do   func(*testing.T, *node)
	}{
		{"apt installs", aptInstalls},
		{"the cluster finds the agents", found},
		{"create a database", createDatabase},
		{"apt upgrades", aptUpgrades},
		{"the script does not touch a package", scriptRefuses},
		{"apt removes", aptRemoves},
		{"rpm installs", rpmInstalls},
		{"rpm upgrades", rpmUpgrades},
		{"rpm removes", rpmRemoves},
		{"the script installs", scriptInstalls},
		{"the script upgrades", scriptUpgrades},
		{"the script removes", scriptRemoves},
		{"shutdown", shutdown},
		{"remove from a stopped cluster", removeStopped},
	} {
		if !t.Run(step.name, func(t *testing.T) { step.do(t, n) }) {
			break // the next would find the node in disorder
		}
	}
}

// sh runs a script in the node that must succeed, and returns its output, stderr and all.
func (n *node) sh(t *testing.T, script string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	res, err := n.Run(ctx, cluster.Cmd{Argv: append([]string{"/bin/bash", "-euo", "pipefail", "-c", "exec 2>&1\n" + script, "bash"}, args...), Env: []string{"DEBIAN_FRONTEND=noninteractive"}})
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, res.Stdout)
	}
	return strings.TrimSpace(res.Stdout)
}

// undisturbed wants the database to be as it was: the same process, started once, with no failure of a resource, and pacemakerd the same, too.
func (n *node) undisturbed(t *testing.T) {
	t.Helper()
	if got := n.sh(t, "pgrep -x mariadbd; systemctl show -P MainPID pacemaker"); got != n.server {
		t.Errorf("processes: %q, were %q", got, n.server)
	}
	if got := n.history(t); got != n.starts {
		t.Errorf("the cluster remembers %s, not %s", got, n.starts)
	}
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	s, err := n.c.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Failures) > 0 {
		t.Errorf("failures: %+v", s.Failures)
	}
}

func (n *node) history(t *testing.T) string {
	return n.sh(t, `cibadmin --query --local --xpath "//lrm_resource[@id='db']/lrm_rsc_op[@operation='start' or @operation='stop']" | grep -o ' call-id="[^"]*"\| operation="[^"]*"\| last-rc-change="[^"]*"'`)
}

// maintenance keeps the cluster from running agents while there are none; without it, the agents monitor again, and a monitor with
// the new files is awaited.
func (n *node) maintenance(t *testing.T, on bool) {
	t.Helper()
	n.sh(t, `pcs property set maintenance-mode="$1" && crm_resource --wait --timeout=1m`, fmt.Sprint(on))
	if !on {
		n.sh(t, "crm_resource --force-check --resource db")
		n.undisturbed(t)
	}
}

// whileCalled runs a script while an agent is called all the time, and wants the agent to answer every time.
func (n *node) whileCalled(t *testing.T, script string, args ...string) string {
	t.Helper()
	out := n.sh(t, `
		( n=0; while [ ! -e /run/enough ]; do
			`+provider+`/qpidd meta-data >/dev/null || { echo "call $n failed" >/run/missing; break; }
			n=$((n + 1)); echo $n >/run/calls.new; mv /run/calls.new /run/calls
		  done ) >/dev/null &
		until [ -e /run/calls ]; do sleep 0.01; done
		`+script+`
		touch /run/enough; wait
		[ ! -e /run/missing ] || { cat /run/missing; exit 1; }
		echo "calls: $(cat /run/calls)"
		rm -f /run/enough /run/calls`, args...)
	out, calls, _ := strings.Cut(out, "calls: ")
	t.Logf("%s calls meanwhile", calls)
	return out
}

// says wants the warning of a removal, with the one resource that uses an agent of ours.
func says(t *testing.T, out string) {
	t.Helper()
	if strings.Count(out, "(ocf:openstack:") != 1 || !strings.Contains(out, "WARNING: resources of this cluster use the agents that are being removed from node1:\n  db (ocf:openstack:mysql-shared-storage)\n") {
		t.Errorf("the removal does not warn of db, and only of it:\n%s", out)
	}
}

// gone wants none of our files to be left.
func (n *node) gone(t *testing.T) {
	t.Helper()
	if left := n.sh(t, `ls -d /usr/sbin/openstack-ocf /usr/lib/ocf/resource.d/openstack /usr/share/doc/openstack-ocf /usr/lib/systemd/system/pacemaker.service.d \
		/usr/share/*/*completions*/*openstack-ocf* /usr/lib/systemd/system/openstack-ocf* /etc/systemd/system/*/openstack-ocf* /usr/share/man/man*/*openstack[-_]ocf* /usr/share/man/man7/ocf_openstack_* 2>/dev/null || :`); left != "" {
		t.Errorf("left: %s", left)
	}
	if got := n.sh(t, "systemctl show -P OOMPolicy pacemaker"); got == "continue" {
		t.Error("systemd still has the drop-in")
	}
}

// there wants the files of that version, and the drop-in to be in force.
func (n *node) there(t *testing.T, version string) {
	t.Helper()
	if got := n.sh(t, "openstack-ocf --version"); got != "openstack-ocf version "+version {
		t.Errorf("%s, not %s", got, version)
	}
	got := n.sh(t, `systemctl show -p OOMPolicy,NeedDaemonReload pacemaker; systemctl show -P After pacemaker | tr ' ' '\n' | grep -x remote-fs.target`)
	if want := "NeedDaemonReload=no\nOOMPolicy=continue\nremote-fs.target"; sorted(got) != sorted(want) {
		t.Errorf("pacemaker.service: %q", got)
	}
}

func sorted(lines string) string {
	return strings.Join(slices.Sorted(strings.Lines(lines+"\n")), "")
}

const apt = "apt-get -q -y -o Dpkg::Use-Pty=0 "

func aptInstalls(t *testing.T, n *node) {
	pacemaker := n.sh(t, "systemctl show -P MainPID pacemaker")
	out := n.sh(t, apt+"install \"$1\"", n.deb)
	n.there(t, n.version)
	if now := n.sh(t, "systemctl show -P MainPID pacemaker"); now != pacemaker {
		t.Errorf("Pacemaker was restarted:\n%s", out)
	}
	if got := n.sh(t, "dpkg -V openstack-ocf"); got != "" {
		t.Errorf("dpkg -V: %s", got)
	}
}

func found(t *testing.T, n *node) {
	agents := names(n.sh(t, "openstack-ocf agents"))
	if got := strings.Fields(n.sh(t, "crm_resource --list-agents ocf:openstack")); !slices.Equal(slices.Sorted(slices.Values(got)), agents) || len(agents) < 3 {
		t.Errorf("crm_resource finds %q, not %q", got, agents)
	}
	for _, agent := range agents {
		if out := n.sh(t, `crm_resource --show-metadata "ocf:openstack:$1"`, agent); !strings.Contains(out, `name="`+agent+`"`) {
			t.Errorf("the meta-data of %s: %s", agent, out)
		}
		if out := n.sh(t, `man -w "ocf_openstack_$1"`, agent); out != "/usr/share/man/man7/ocf_openstack_"+agent+".7.gz" {
			t.Errorf("the page of %s: %s", agent, out)
		}
	}
	if out := n.sh(t, "man -w openstack-ocf"); out != "/usr/share/man/man8/openstack-ocf.8.gz" {
		t.Errorf("the command's page: %s", out)
	}
	if out := n.sh(t, "pcs resource describe ocf:openstack:qpidd"); !strings.HasPrefix(out, "ocf:openstack:qpidd - ") || !strings.Contains(out, "ha_brokers_url") {
		t.Errorf("pcs: %s", out)
	}
	if got := n.sh(t, "systemctl is-enabled openstack-ocf-metrics.timer || :"); got != "disabled" {
		t.Errorf("the metrics' timer is %s as installed", got)
	}
	for words, want := range map[string]string{
		"des":           "describe",
		"run qpi":       "qpidd",
		"run qpidd mon": "monitor",
		"describe --fo": "--format",
	} {
		if out := n.sh(t, `. /usr/share/bash-completion/completions/openstack-ocf; COMP_WORDS=(openstack-ocf $1) COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _openstack_ocf; echo "${COMPREPLY[@]}"`, words); out != want {
			t.Errorf("bash completes %q with %q", words, out)
		}
	}
}

// createDatabase makes a group as a deployment has it: storage that comes over the network, to systemd's knowledge, the database on
// it, and a resource that takes its time to stop.
func createDatabase(t *testing.T, n *node) {
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	disk, err := n.c.Disk(ctx, 200<<20)
	if err != nil {
		t.Fatal(err)
	}
	n.sh(t, `
		mount "$1" /mnt; rmdir /mnt/lost+found; chown mysql:mysql /mnt
		mariadb-install-db --user=mysql --datadir=/mnt --skip-test-db >/dev/null
		umount /mnt
		pcs resource create fs ocf:heartbeat:Filesystem device="$1" directory=/var/lib/mysql fstype=ext4 options=_netdev --group g
		pcs resource create db ocf:openstack:mysql-shared-storage --group g
		pcs resource create slow ocf:heartbeat:Delay startdelay=0 mondelay=0 stopdelay=2 --group g
		crm_resource --wait --timeout=1m
		crm_resource --force-check --resource db`, disk)
	n.server = n.sh(t, "pgrep -x mariadbd; systemctl show -P MainPID pacemaker")
	n.starts = n.history(t)
	if strings.Count(n.starts, `operation="start"`) != 1 {
		t.Fatalf("starts: %s", n.starts)
	}
}

func aptUpgrades(t *testing.T, n *node) {
	out := n.whileCalled(t, apt+"install \"$1\"", n.newDeb)
	if strings.Contains(out, "WARNING") {
		t.Errorf("an upgrade warns of a removal:\n%s", out)
	}
	n.there(t, newer)
	n.sh(t, "crm_resource --force-check --resource db")
	n.undisturbed(t)
}

func scriptRefuses(t *testing.T, n *node) {
	for _, args := range []string{"", " --uninstall"} {
		out := n.sh(t, `mkdir -p /root/tree && tar --extract --file "$1" --directory /root/tree --strip-components=1; ! /root/tree/install`+args, n.tarball)
		if out != "install: openstack-ocf is here as a Debian package: upgrade or remove it with apt" {
			t.Errorf("the script says %q", out)
		}
	}
	n.there(t, newer)
}

func aptRemoves(t *testing.T, n *node) {
	n.maintenance(t, true)
	says(t, n.sh(t, apt+"remove openstack-ocf"))
	n.gone(t)
	n.undisturbed(t)
}

// rpm is Debian's, which wants to be told that this is meant.
const rpm = "rpm --force-debian --nodeps "

func rpmInstalls(t *testing.T, n *node) {
	n.sh(t, rpm+"-i \"$1\"", n.rpm)
	n.there(t, n.version)
	if got := n.sh(t, "rpm -V --nodeps openstack-ocf"); got != "" {
		t.Errorf("rpm -V: %s", got)
	}
	if got := n.sh(t, "rpm -qf "+provider+" "+provider+"/qpidd /usr/sbin/openstack-ocf --qf '%{NAME} '"); got != "openstack-ocf openstack-ocf openstack-ocf" {
		t.Errorf("rpm -qf: %s", got)
	}
	if out := n.sh(t, `! /root/tree/install`); out != "install: openstack-ocf is here as an rpm: upgrade or remove it with dnf" {
		t.Errorf("the script says %q", out)
	}
	n.maintenance(t, false)
}

func rpmUpgrades(t *testing.T, n *node) {
	out := n.whileCalled(t, rpm+"-U \"$1\"", n.newRPM)
	if strings.Contains(out, "WARNING") {
		t.Errorf("an upgrade warns of a removal:\n%s", out)
	}
	n.there(t, newer)
	if got := n.sh(t, "rpm -V --nodeps openstack-ocf"); got != "" {
		t.Errorf("rpm -V: %s", got)
	}
	n.sh(t, "crm_resource --force-check --resource db")
	n.undisturbed(t)
}

func rpmRemoves(t *testing.T, n *node) {
	n.maintenance(t, true)
	says(t, n.sh(t, rpm+"-e openstack-ocf"))
	if got := n.sh(t, "! rpm -V --nodeps openstack-ocf"); !strings.Contains(got, "is not installed") {
		t.Errorf("rpm -V: %s", got)
	}
	n.gone(t)
	n.undisturbed(t)
}

func scriptInstalls(t *testing.T, n *node) {
	if out := n.sh(t, "/root/tree/install"); out != "openstack-ocf is installed: openstack-ocf version "+n.version {
		t.Errorf("the script says %q", out)
	}
	n.there(t, n.version)
	if out := n.sh(t, `! setpriv --reuid=65534 --regid=65534 --clear-groups sh </root/tree/install`); out != "install: needs root" {
		t.Errorf("to nobody the script says %q", out)
	}
	n.maintenance(t, false)
}

func scriptUpgrades(t *testing.T, n *node) {
	n.whileCalled(t, `mkdir -p /root/new && tar --extract --file "$1" --directory /root/new --strip-components=1; /root/new/install; /root/new/install`, n.newTB)
	n.there(t, newer)
	n.sh(t, "crm_resource --force-check --resource db")
	n.undisturbed(t)
}

func scriptRemoves(t *testing.T, n *node) {
	n.maintenance(t, true)
	says(t, n.sh(t, "/root/tree/install --uninstall"))
	n.gone(t)
	n.undisturbed(t)
	n.sh(t, apt+"install \"$1\"", n.deb)
	n.maintenance(t, false)
}

// shutdown powers the node off as an operator does. Pacemaker's services must have stopped before systemd takes their storage away.
func shutdown(t *testing.T, n *node) {
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	// The nodes' remote-fs.target is not enabled, as it is on every other machine.
	n.sh(t, `systemctl start remote-fs.target carrier.service; systemctl is-active remote-fs-pre.target
		findmnt --noheadings --output OPTIONS /var/lib/mysql
		systemctl start --no-block poweroff.target`)
	begun := time.Now()
	for on := true; on; time.Sleep(50 * time.Millisecond) {
		var err error
		if on, err = n.Alive(ctx); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("off after %.1f s", time.Since(begun).Seconds())
	if err := errors.Join(n.PowerOn(ctx), n.c.WaitStable(ctx)); err != nil {
		t.Fatal(err)
	}
	log := n.sh(t, `journalctl --no-pager --output=cat _PID=1`)
	var order []string
	for line := range strings.Lines(log) {
		switch {
		case strings.HasPrefix(line, "Stopped pacemaker.service"):
			order = append(order, "pacemaker")
		case strings.HasPrefix(line, "Stopped target remote-fs.target"):
			order = append(order, "remote-fs")
		case strings.HasPrefix(line, "Stopped carrier.service"):
			order = append(order, "carrier")
		case strings.Contains(line, "nmounting var-lib-mysql.mount"):
			order = append(order, strings.TrimSpace(line))
		}
	}
	if want := []string{"pacemaker", "remote-fs", "carrier"}; !slices.Equal(order, want) {
		t.Errorf("the node stopped in this order: %q, not %q", order, want)
	}
	if _, err := n.c.WaitRunning(ctx, "slow"); err != nil {
		t.Error(err)
	}
}

// removeStopped removes the package while Pacemaker is down: the configuration is in a file then.
func removeStopped(t *testing.T, n *node) {
	n.sh(t, "systemctl stop pacemaker")
	says(t, n.sh(t, apt+"remove openstack-ocf"))
	n.gone(t)
	n.sh(t, apt+"install \"$1\"; "+apt+"purge openstack-ocf", n.deb)
	n.gone(t)
}
