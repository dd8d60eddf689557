package mysql

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/openstack-ocf/agents/lib/files"
	"github.com/openstack-ocf/agents/lib/pacemaker"
	"github.com/openstack-ocf/agents/lib/selinux"
	"github.com/openstack-ocf/agents/lib/service"
	"github.com/openstack-ocf/agents/ocf"
)

// host is what validate-all looks at on this node; what must hold only while
// the storage is mounted is start's to check.
func (a *agent) host(r *ocf.Request, s settings) error {
	account, err := service.Account(s.user, s.group)
	if err != nil {
		return err
	}
	if _, err := os.Stat(s.datadir); err != nil {
		return ocf.Errorf(ocf.BadArgument, "data directory: %w: make it, as the place where the storage is mounted", err)
	}
	var dirs []string
	if a.unit == "" {
		service.UnitHints(r, "mariadb.service", "mysql.service", "mysqld.service")
		dirs = s.runDirs()
	}
	if files.Exists(filepath.Join(s.datadir, "ibdata1")) { // the storage is here
		dirs = append(dirs, s.datadir)
	}
	dirs = slices.DeleteFunc(dirs, func(d string) bool { return !files.Exists(d) }) // start makes them
	if err := service.CanWrite(account, s.user, dirs...); err != nil {
		return err
	}
	s.warn(r, account)
	hints(r, s)
	return nil
}

// stockData is the data directory that policies know.
const stockData = "/var/lib/mysql"

// confined says why AppArmor or SELinux would not let the server open its data directory, "" if nothing is seen of that. root
// is put before every path.
func confined(root, datadir string) string {
	datadir = filepath.Clean(datadir)
	if b, err := os.ReadFile(filepath.Join(root, "/sys/kernel/security/apparmor/profiles")); err == nil && datadir != stockData {
		for line := range strings.Lines(string(b)) {
			name, enforced := strings.CutSuffix(strings.TrimSpace(line), " (enforce)")
			if enforced && slices.Contains(servers, filepath.Base(name)) && !mentioned(root, datadir) {
				return "AppArmor confines " + name + " and allows it nothing in " + datadir + ": add '" + datadir + "/** rwk,' to /etc/apparmor.d/local/" + strings.ReplaceAll(strings.TrimPrefix(name, "/"), "/", ".") + " and reload the profile (apparmor_parser -r)"
			}
		}
	}
	if !selinux.Enforcing(root) {
		return ""
	}
	const label = "mysqld_db_t"
	switch typ := selinux.Type(filepath.Join(root, datadir)); {
	case typ == label || typ == "" && datadir == stockData:
		return ""
	case typ == "":
		return "SELinux is enforcing: the data directory " + datadir + " has to have the label " + label + " (semanage fcontext -a -t " + label + " '" + datadir + "(/.*)?', restorecon -R)"
	case !files.Exists(filepath.Join(root, datadir, "ibdata1")): // without its storage, which brings its own label
		return ""
	default:
		return "SELinux is enforcing and lets the server open nothing that is labelled " + typ + ", as " + datadir + " is: restorecon -R " + datadir +
			" while the storage is mounted (elsewhere than in /var/lib/mysql after semanage fcontext -a -t " + label + "), or, as NFS keeps no labels, mount it with context=system_u:object_r:" + label + ":s0"
	}
}

// mentioned tells whether an AppArmor profile of the server, or an alias, speaks of the directory.
func mentioned(root, dir string) bool {
	for _, pattern := range []string{"*mysqld*", "*mariadbd*", "local/*mysqld*", "local/*mariadbd*", "tunables/alias", "tunables/alias.d/*"} {
		list, _ := filepath.Glob(filepath.Join(root, "/etc/apparmor.d", pattern))
		for _, file := range list {
			b, _ := os.ReadFile(file)
			for line := range strings.Lines(string(b)) {
				line, _, _ = strings.Cut(line, "#")
				if strings.Contains(line, dir+"/") {
					return true
				}
			}
		}
	}
	return false
}

// hints are what an operator should know and nothing fails on.
func hints(r *ocf.Request, s settings) {
	if w := confined("/", s.datadir); w != "" {
		r.Log.Warn(w)
	}
	if cib, err := pacemaker.SavedCIB(); err == nil {
		if on, _, err := pacemaker.Fencing(cib); err != nil {
			r.Log.Warn("it cannot be told whether the cluster fences nodes: " + err.Error())
		} else if !on {
			r.Log.Warn("fencing is off: without it two nodes can write to the same data")
		}
	}
}
