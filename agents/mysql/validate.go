package mysql

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/openstack-ocf/agents/lib/files"
	"github.com/openstack-ocf/agents/lib/pacemaker"
	"github.com/openstack-ocf/agents/lib/service"
	"github.com/openstack-ocf/agents/ocf"
)

// host is what validate-all looks at on this node; what must hold only while
// the storage is mounted is start's to check.
func (a *agent) host(r *ocf.Request, s settings, binary string) error {
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
	hints(r, s, binary)
	return nil
}

// hints are what an operator should know and nothing fails on.
func hints(r *ocf.Request, s settings, binary string) {
	if b, err := os.ReadFile("/sys/kernel/security/apparmor/profiles"); err == nil && strings.Contains(string(b), binary+" (enforce)") && s.datadir != "/var/lib/mysql" {
		r.Log.Warn("AppArmor confines "+binary+": allow the data directory in its profile, or the server cannot open it", "datadir", s.datadir)
	}
	if b, err := os.ReadFile("/sys/fs/selinux/enforce"); err == nil && strings.TrimSpace(string(b)) == "1" && s.datadir != "/var/lib/mysql" {
		r.Log.Warn("SELinux is enforcing: label the data directory mysqld_db_t (semanage fcontext, restorecon)", "datadir", s.datadir)
	}
	if cib, err := pacemaker.SavedCIB(); err == nil {
		if on, _, err := pacemaker.Fencing(cib); err != nil {
			r.Log.Warn("it cannot be told whether the cluster fences nodes: " + err.Error())
		} else if !on {
			r.Log.Warn("fencing is off: without it two nodes can write to the same data")
		}
	}
}
