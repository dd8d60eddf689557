package policy

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// expand makes policy.conf and file_contexts of the sources of the targeted policy (github.com/fedora-selinux/selinux-policy) that
// are in POLICY, which may hold them already made. POLICY stays as it is.
func expand(t *testing.T) (*Policy, contexts) {
	t.Helper()
	dir := os.Getenv("POLICY")
	if dir == "" {
		t.Skip("SKIP: needs POLICY, a directory with the sources of the targeted SELinux policy (github.com/fedora-selinux/selinux-policy)")
	}
	for _, file := range []string{"policy.conf", "file_contexts"} {
		if _, err := os.Stat(filepath.Join(dir, file)); err == nil {
			continue
		}
		for _, program := range []string{"m4", "make", "gawk", "python3"} {
			if _, err := exec.LookPath(program); err != nil {
				t.Skip("SKIP: needs " + program + ", to expand POLICY")
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		made := t.TempDir()
		cmd := exec.CommandContext(ctx, "sh", "-ec", `cp -R "$1/." .
			cp dist/targeted/modules.conf dist/targeted/booleans.conf policy/
			make -s NAME=targeted TYPE=mcs DISTRO=redhat UBAC=n DIRECT_INITRC=n MONOLITHIC=y policy.conf file_contexts`, "sh", dir)
		cmd.Dir = made
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("POLICY does not expand: %v\n%s", err, out[max(0, len(out)-2000):])
		}
		dir = made
	}
	f, err := os.Open(filepath.Join(dir, "policy.conf"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p, err := Read(f)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "file_contexts"))
	if err != nil {
		t.Fatal(err)
	}
	return p, readContexts(string(text))
}

// contexts are lines of file_contexts.
type contexts []struct {
	path *regexp.Regexp
	kind string // "--", "-d", "-s", "" is any
	typ  string
	stem int // so many bytes stand before the first of a regular expression
}

func readContexts(text string) (list contexts) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 2 || strings.HasPrefix(f[0], "#") {
			continue
		}
		re, err := regexp.Compile("^(?:" + f[0] + ")$")
		if err != nil {
			continue
		}
		c := contexts{{path: re, stem: len(f[0])}}[0]
		if i := strings.IndexAny(f[0], `.^$?*+|[({\`); i >= 0 {
			c.stem = i
		}
		if len(f) > 2 {
			c.kind = f[1]
		}
		if parts := strings.Split(f[len(f)-1], ":"); len(parts) > 2 {
			c.typ = parts[2]
		}
		list = append(list, c)
	}
	return list
}

// of is the type of a path, of which the one counts that says most of it.
func (list contexts) of(path, kind string) (typ string) {
	for _, same := range [][2]string{{"/usr/sbin/", "/usr/bin/"}, {"/run/systemd/system/", "/usr/lib/systemd/system/"}, {"/etc/systemd/system/", "/usr/lib/systemd/system/"}} {
		if rest, ok := strings.CutPrefix(path, same[0]); ok {
			path = same[1] + rest
		}
	}
	best := -1
	for _, c := range list {
		if c.stem >= best && (c.kind == "" || c.kind == kind) && c.path.MatchString(path) {
			best, typ = c.stem, c.typ
		}
	}
	return typ
}

// labels are the types of the paths that matter here, by the policy's file contexts.
var labels = []struct{ path, kind, typ string }{
	{"/usr/sbin/openstack-ocf", "--", "bin_t"},
	{"/usr/lib/ocf/resource.d/openstack/qpidd", "-l", "bin_t"},
	{"/usr/lib/systemd/system/pacemaker.service.d/openstack-ocf.conf", "--", "cluster_unit_file_t"},
	{"/run/systemd/system/haproxy.service.d/50-openstack-ocf.conf", "--", "haproxy_unit_file_t"},
	{"/usr/sbin/haproxy", "--", "haproxy_exec_t"},
	{"/usr/libexec/mariadbd", "--", "mysqld_exec_t"},
	{"/usr/sbin/mariadbd", "--", "mysqld_exec_t"},
	{"/usr/sbin/qpidd", "--", "qpidd_exec_t"},
	{"/usr/bin/redis-server", "--", "redis_exec_t"},
	{"/usr/bin/memcached", "--", "memcached_exec_t"},
	{"/usr/bin/nova-scheduler", "--", "nova_exec_t"},
	{"/usr/bin/nova-consoleauth", "--", "nova_exec_t"},
	{"/usr/bin/neutron-openvswitch-agent", "--", "neutron_exec_t"},
	{"/usr/bin/cinder-volume", "--", "cinder_volume_exec_t"},
	{"/usr/bin/cinder-scheduler", "--", "cinder_scheduler_exec_t"},
	{"/var/lib/mysql/ibdata1", "--", "mysqld_db_t"},
	{"/var/lib/mysql/mysql.sock", "-s", "mysqld_var_run_t"},
	{"/var/log/mariadb/mariadb.log", "--", "mysqld_log_t"},
	{"/run/mariadb", "-d", "mysqld_var_run_t"},
	{"/run/mysqld", "-d", "mysqld_var_run_t"},
	{"/run/redis", "-d", "redis_var_run_t"},
	{"/run/nova", "-d", "nova_var_run_t"},
	{"/run/neutron", "-d", "neutron_var_run_t"},
	{"/run/cinder", "-d", "cinder_var_run_t"},
	{"/var/lib/qpidd/.qpidd", "-d", "qpidd_var_lib_t"},
	{"/var/lib/haproxy/stats-haproxy-master.sock.ocf.out", "--", "haproxy_var_lib_t"},
	{"/run/haproxy.pid", "--", "haproxy_var_run_t"},
	{"/srv/mysql/ibdata1", "--", "var_t"}, // or another that is nobody's
}

// domains are what becomes of who executes a program, makes a file or makes a socket: "" is the type that it has.
var domains = []struct{ who, at, class, name, becomes string }{
	{"cluster_t", "bin_t", "process", "", ""}, // our agents
	{"cluster_t", "haproxy_exec_t", "process", "", "haproxy_t"},
	{"cluster_t", "mysqld_exec_t", "process", "", "mysqld_t"},
	{"cluster_t", "qpidd_exec_t", "process", "", "qpidd_t"},
	{"cluster_t", "redis_exec_t", "process", "", "redis_t"},
	{"cluster_t", "memcached_exec_t", "process", "", "memcached_t"},
	{"cluster_t", "nova_exec_t", "process", "", "nova_t"},
	{"cluster_t", "neutron_exec_t", "process", "", "neutron_t"},
	{"cluster_t", "cinder_volume_exec_t", "process", "", "cinder_volume_t"},
	{"cluster_t", "setfiles_exec_t", "process", "", "setfiles_t"},
	{"init_t", "haproxy_exec_t", "process", "", "haproxy_t"},
	{"init_t", "mysqld_exec_t", "process", "", "mysqld_t"},
	{"init_t", "qpidd_exec_t", "process", "", "qpidd_t"},
	{"init_t", "nova_exec_t", "process", "", "nova_t"},
	{"init_t", "neutron_exec_t", "process", "", "neutron_t"},
	{"init_t", "shell_exec_t", "process", "", "initrc_t"}, // a unit that runs its program by a shell
	{"init_t", "bin_t", "process", "", "unconfined_service_t"},
	{"cluster_t", "var_run_t", "file", "", "cluster_var_run_t"},
	{"cluster_t", "var_run_t", "dir", "", "cluster_var_run_t"},
	{"cluster_t", "var_run_t", "dir", "mysqld", "mysqld_var_run_t"},
	{"cluster_t", "var_run_t", "dir", "mariadb", "cluster_var_run_t"},
	{"cluster_t", "mysqld_log_t", "file", "", ""},
	{"cluster_t", "nova_log_t", "file", "", ""},
	{"cluster_t", "mysqld_db_t", "file", "", ""},
	{"cluster_t", "haproxy_var_lib_t", "file", "", ""},
	{"haproxy_t", "var_run_t", "sock_file", "", "haproxy_var_run_t"},
	{"haproxy_t", "var_run_t", "file", "", "haproxy_var_run_t"},
	{"mysqld_t", "mysqld_db_t", "sock_file", "", "mysqld_var_run_t"},
}

// needed is what is needed, and what is refused that we have to do without.
var needed = []struct {
	why            string
	who, on, class string
	may, not       string // permissions
	with           string // a boolean that is off as installed
}{
	// Unit mode: the agent, as cluster_t, has systemd do it.
	{why: "unit: systemctl start, stop, reload, show", who: "cluster_t", on: "haproxy_unit_file_t", class: "service", may: "start stop status reload"},
	{why: "unit: the same", who: "cluster_t", on: "mysqld_unit_file_t", class: "service", may: "start stop status reload"},
	{why: "unit: the same", who: "cluster_t", on: "nova_unit_file_t", class: "service", may: "start stop status reload"},
	{why: "unit: the same", who: "cluster_t", on: "neutron_unit_file_t", class: "service", may: "start stop status reload"},
	{why: "unit: the same, by a unit without a type of its own", who: "cluster_t", on: "systemd_unit_file_t", class: "service", may: "start stop status reload"},
	{why: "unit: daemon-reload", who: "cluster_t", on: "init_t", class: "system", may: "reload status"},
	{why: "unit: systemd's socket", who: "cluster_t", on: "init_t", class: "unix_stream_socket", may: "connectto"},
	{why: "unit: systemd's answers", who: "init_t", on: "cluster_t", class: "dbus", may: "send_msg"},
	{why: "unit: the drop-in", who: "cluster_t", on: "systemd_unit_file_t", class: "dir", may: "create add_name write remove_name rmdir"},
	{why: "unit: the drop-in", who: "cluster_t", on: "systemd_unit_file_t", class: "file", may: "create write unlink rename"},
	{why: "unit: systemd reads the drop-in", who: "init_t", on: "systemd_unit_file_t", class: "file", may: "read open getattr"},
	{why: "unit: who is in the control group", who: "cluster_t", on: "cgroup_t", class: "file", may: "read open"},
	{why: "unit: the journal's last words", who: "cluster_t", on: "journalctl_exec_t", class: "file", may: "execute"},

	// Both modes: the agent knows, asks and ends the process.
	{why: "/proc, and files of /proc/PID/fd", who: "cluster_t", on: "cluster_t", class: "capability", may: "sys_ptrace dac_read_search kill"},
	{why: "whom the kernel killed for lack of memory: its log", who: "cluster_t", on: "kernel_t", class: "system", may: "syslog_read"},
	{why: "a service of a package without a policy", who: "cluster_t", on: "unconfined_service_t", class: "process", may: "signal sigkill"},
	{why: "the database's socket", who: "cluster_t", on: "mysqld_t", class: "unix_stream_socket", may: "connectto"},
	{why: "the database's socket", who: "cluster_t", on: "mysqld_var_run_t", class: "sock_file", may: "write unlink"},
	{why: "HAProxy's sockets", who: "cluster_t", on: "haproxy_t", class: "unix_stream_socket", may: "connectto"},
	{why: "HAProxy's sockets", who: "cluster_t", on: "haproxy_var_run_t", class: "sock_file", may: "write unlink"},
	{why: "the broker", who: "cluster_t", on: "amqp_port_t", class: "tcp_socket", may: "name_connect"},
	{why: "the database by TCP", who: "cluster_t", on: "mysqld_port_t", class: "tcp_socket", may: "name_connect"},
	{why: "a row that level 20 writes, a file that shared-storage writes", who: "cluster_t", on: "mysqld_db_t", class: "file", may: "create write unlink"},
	{why: "shared-storage: the kernel mounts", who: "cluster_t", on: "nfs_t", class: "filesystem", may: "mount unmount"},
	{why: "shared-storage: the device read", who: "cluster_t", on: "fixed_disk_device_t", class: "blk_file", may: "read open ioctl"},
	{why: "floating-ip: addresses", who: "cluster_t", on: "cluster_t", class: "netlink_route_socket", may: "create read write nlmsg_read nlmsg_write"},
	{why: "floating-ip: ARP", who: "cluster_t", on: "cluster_t", class: "packet_socket", may: "create read write bind"},
	{why: "floating-ip", who: "cluster_t", on: "cluster_t", class: "capability", may: "net_admin net_raw"},
	{why: "direct: restorecon for directories that are made", who: "setfiles_t", on: "cluster_var_run_t", class: "dir", may: "relabelfrom"},

	// HAProxy.
	{why: "direct: sockets in /run that it makes", who: "haproxy_t", on: "haproxy_var_run_t", class: "sock_file", may: "create setattr link rename unlink"},
	{why: "a stats socket where EL has it, kept aside while a new one is made", who: "haproxy_t", on: "haproxy_var_lib_t", class: "sock_file", may: "create setattr link rename unlink"},
	{why: "direct: in /run itself", who: "haproxy_t", on: "var_run_t", class: "dir", may: "add_name remove_name write"},
	{why: "direct: not in a directory of ours", who: "haproxy_t", on: "cluster_var_run_t", class: "sock_file", not: "create unlink"},
	{why: "direct: our configuration file with its socket", who: "haproxy_t", on: "cluster_var_run_t", class: "file", may: "read open getattr", not: "write append"},
	{why: "direct: what it says, appended where it is at home", who: "haproxy_t", on: "haproxy_var_lib_t", class: "file", may: "append write"},
	{why: "direct: descriptors of ours", who: "haproxy_t", on: "cluster_t", class: "fd", may: "use"},
	{why: "direct: not a stream to the journal that the agent has opened", who: "haproxy_t", on: "cluster_t", class: "unix_stream_socket", not: "write"},
	{why: "a reload: it executes itself", who: "haproxy_t", on: "haproxy_exec_t", class: "file", may: "execute execute_no_trans"},
	{why: "startup logs in /dev/shm, since 2.8", who: "haproxy_t", on: "haproxy_tmpfs_t", class: "file", may: "create read write map"},
	{why: "web ports", who: "haproxy_t", on: "http_port_t", class: "tcp_socket", may: "name_bind name_connect"},
	{why: "APIs' ports: the boolean that validate-all names", who: "haproxy_t", on: "osapi_compute_port_t", class: "tcp_socket", not: "name_bind name_connect"},
	{why: "APIs' ports with it", who: "haproxy_t", on: "osapi_compute_port_t", class: "tcp_socket", may: "name_bind name_connect", with: "haproxy_connect_any"},
	{why: "the database behind it", who: "haproxy_t", on: "mysqld_port_t", class: "tcp_socket", may: "name_bind name_connect", with: "haproxy_connect_any"},

	// MySQL and MariaDB.
	{why: "its data", who: "mysqld_t", on: "mysqld_db_t", class: "file", may: "create read write unlink rename map"},
	{why: "a file system without labels: what validate-all says", who: "mysqld_t", on: "nfs_t", class: "file", not: "read write"},
	{why: "one that was made elsewhere: the same", who: "mysqld_t", on: "unlabeled_t", class: "file", not: "read write"},
	{why: "a directory that nobody labelled: the same", who: "mysqld_t", on: "var_t", class: "file", not: "write create"},
	{why: "direct: its log", who: "mysqld_t", on: "mysqld_log_t", class: "file", may: "append open create"},
	{why: "direct: not a socket in a directory of ours, before restorecon", who: "mysqld_t", on: "cluster_var_run_t", class: "sock_file", not: "create unlink"},
	{why: "direct: after it", who: "mysqld_t", on: "mysqld_var_run_t", class: "sock_file", may: "create unlink"},
	{why: "memlock", who: "mysqld_t", on: "mysqld_t", class: "capability", may: "ipc_lock"},

	// The broker, Redis, memcached.
	{why: "its store and lock", who: "qpidd_t", on: "qpidd_var_lib_t", class: "file", may: "create read write lock unlink"},
	{why: "direct: its log", who: "qpidd_t", on: "var_log_t", class: "file", may: "append"},
	{why: "its port", who: "qpidd_t", on: "amqp_port_t", class: "tcp_socket", may: "name_bind"},
	{why: "direct: not in a directory of ours, before restorecon", who: "qpidd_t", on: "cluster_var_run_t", class: "dir", not: "add_name"},
	{why: "its data", who: "redis_t", on: "redis_var_lib_t", class: "file", may: "create read write unlink rename"},
	{why: "direct: its log", who: "redis_t", on: "redis_log_t", class: "file", may: "append open"},
	{why: "direct: its socket, after restorecon", who: "redis_t", on: "redis_var_run_t", class: "dir", may: "add_name remove_name"},
	{why: "direct: not before it", who: "redis_t", on: "cluster_var_run_t", class: "dir", not: "add_name"},
	{why: "its port", who: "redis_t", on: "redis_port_t", class: "tcp_socket", may: "name_bind"},
	{why: "its port", who: "memcached_t", on: "memcache_port_t", class: "tcp_socket", may: "name_bind"},

	// OpenStack.
	{why: "direct: its log", who: "nova_t", on: "nova_log_t", class: "file", may: "append open"},
	{why: "direct: /run/nova after restorecon", who: "nova_t", on: "nova_var_run_t", class: "dir", may: "add_name write"},
	{why: "direct: not before it", who: "nova_t", on: "cluster_var_run_t", class: "dir", not: "add_name"},
	{why: "its locks, where RDO has them", who: "nova_t", on: "nova_var_lib_t", class: "file", may: "create write"},
	{why: "direct: not where we have them, which it does not use as packaged", who: "nova_t", on: "var_lock_t", class: "dir", not: "add_name"},
	{why: "database", who: "nova_t", on: "mysqld_port_t", class: "tcp_socket", may: "name_connect"},
	{why: "broker", who: "nova_t", on: "amqp_port_t", class: "tcp_socket", may: "name_connect"},
	{why: "direct: /run/neutron after restorecon", who: "neutron_t", on: "neutron_var_run_t", class: "dir", may: "add_name write"},
	{why: "direct: not before it", who: "neutron_t", on: "cluster_var_run_t", class: "dir", not: "add_name"},
	{why: "its files", who: "cinder_volume_t", on: "cinder_var_lib_t", class: "file", may: "create write"},
}

// TestTargeted asks the policy's text whether what the tables say is so. cluster_t is unconfined where the policy's module
// unconfined is in, as installed; a confined one has no more than monitors need.
func TestTargeted(t *testing.T) {
	p, files := expand(t)
	for _, l := range labels {
		if got := files.of(l.path, l.kind); got != l.typ {
			t.Errorf("%s is %s, not %s", l.path, got, l.typ)
		}
	}
	for _, d := range domains {
		if got := p.Becomes(d.who, d.at, d.class, d.name); got != d.becomes {
			t.Errorf("%s makes of %s (%s %s) %q, not %q", d.who, d.at, d.class, d.name, got, d.becomes)
		}
	}
	all := func(string) bool { return false }
	for _, d := range domains {
		if strings.HasSuffix(d.becomes, "_t") && d.class == "process" && d.who == "cluster_t" && len(p.Missing(d.who, d.becomes, "process", []string{"transition"}, nil, all)) > 0 {
			t.Errorf("cluster_t may not start what runs as %s", d.becomes)
		}
	}
	for _, n := range needed {
		rule := fmt.Sprintf("%s: allow %s %s:%s", n.why, n.who, n.on, n.class)
		if !p.Known(n.who) || !p.Known(n.on) {
			t.Errorf("%s: there is no such type", rule)
			continue
		}
		if left := p.Missing(n.who, n.on, n.class, strings.Fields(n.may), []string{n.with}, all); len(left) > 0 {
			t.Errorf("%s: it may not %q", rule, left)
		}
		not := strings.Fields(n.not)
		if left := p.Missing(n.who, n.on, n.class, not, []string{n.with}, all); len(left) < len(not) {
			t.Errorf("%s: it may, so that we need not do without: of %q only %q are missing", rule, not, left)
		}
	}
	// What every monitor does of every service, and every stop.
	own := func(attribute string) bool { return strings.Contains(attribute, "unconfined") }
	for _, domain := range []string{"haproxy_t", "mysqld_t", "qpidd_t", "redis_t", "memcached_t", "nova_t", "neutron_t", "cinder_volume_t", "cinder_scheduler_t", "unconfined_service_t"} {
		if left := p.Missing("cluster_t", domain, "file", []string{"read", "open"}, nil, own); len(left) > 0 {
			t.Errorf("cluster_t reads of /proc of %s all but %q, confined", domain, left)
		}
		if left := p.Missing("cluster_t", domain, "process", []string{"signal", "sigkill", "sigstop", "signull"}, nil, all); len(left) > 0 {
			t.Errorf("cluster_t ends %s, and may not %q", domain, left)
		}
	}
	if on, known := p.booleans["haproxy_connect_any"]; on || !known {
		t.Error("haproxy_connect_any, which validate-all names, is no boolean that is off as installed")
	}
}

// TestText reads a policy by hand: sets, attributes, aliases, conditions, blocks.
func TestText(t *testing.T) {
	p, err := Read(strings.NewReader(`
class file
bool net false; bool on true;
attribute services;
type a_t, services; type b_t alias { old_t older_t }; type c_t;
typeattribute b_t services; # c_t is none
optional { require { type a_t; class file { read write }; }
	allow a_t { b_t -c_t }:file { read getattr };
}
if (net && ! on) { allow a_t c_t:file write; } else { allow a_t c_t:file append; }
allow services self:process ~{ sigkill };
allow { services -b_t } c_t:dir *;
dontaudit a_t b_t:file unlink;
type_transition a_t b_t:process c_t;
type_transition a_t b_t:file a_t "named";
allow x_r y_r;
`))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		from, to, class, perms, bools, missing string
	}{
		{"a_t", "old_t", "file", "read write unlink", "", "write unlink"},
		{"a_t", "c_t", "file", "read write append", "", "read write"},
		{"a_t", "c_t", "file", "write append", "net", "write"},
		{"b_t", "b_t", "process", "signal sigkill", "", "sigkill"},
		{"b_t", "a_t", "process", "signal", "", "signal"},
		{"a_t", "c_t", "dir", "search", "", ""},
		{"older_t", "c_t", "dir", "search", "", "search"},
	} {
		got := p.Missing(c.from, c.to, c.class, strings.Fields(c.perms), strings.Fields(c.bools), func(string) bool { return false })
		if strings.Join(got, " ") != c.missing {
			t.Errorf("%+v: %q", c, got)
		}
	}
	for _, c := range [][4]string{{"process", "", "c_t"}, {"file", "named", "a_t"}, {"file", "other", ""}} {
		if got := p.Becomes("a_t", "b_t", c[0], c[1]); got != c[2] {
			t.Errorf("%v: %q", c, got)
		}
	}
}
