package mysql

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestConfined looks at nodes made by hand.
func TestConfined(t *testing.T) {
	const (
		enforcing  = "sys/fs/selinux/enforce"
		permissive = "0"
		profiles   = "sys/kernel/security/apparmor/profiles"
		mine       = "/srv/db"
	)
	for name, c := range map[string]struct {
		files map[string]string // "label:PATH" is a directory with that type
		dir   string
		words string // of the warning, "" is none
	}{
		"neither":                        {nil, mine, ""},
		"AppArmor, elsewhere":            {map[string]string{profiles: "/usr/sbin/mysqld (enforce)\nlsb_release (enforce)\n"}, mine, "/etc/apparmor.d/local/usr.sbin.mysqld"},
		"AppArmor, as packaged":          {map[string]string{profiles: "/usr/sbin/mysqld (enforce)\n"}, stockData, ""},
		"AppArmor, complains only":       {map[string]string{profiles: "/usr/sbin/mysqld (complain)\n"}, mine, ""},
		"AppArmor, others":               {map[string]string{profiles: "/usr/sbin/chronyd (enforce)\n/usr/sbin/mysqld-akonadi (enforce)\n"}, mine, ""},
		"AppArmor, named":                {map[string]string{profiles: "mariadbd (enforce)\n"}, mine, "/etc/apparmor.d/local/mariadbd"},
		"AppArmor, allowed":              {map[string]string{profiles: "/usr/sbin/mysqld (enforce)\n", "etc/apparmor.d/local/usr.sbin.mysqld": "/srv/db/** rwk,\n"}, mine, ""},
		"AppArmor, an alias":             {map[string]string{profiles: "/usr/sbin/mysqld (enforce)\n", "etc/apparmor.d/tunables/alias": "alias /var/lib/mysql/ -> /srv/db/,\n"}, mine, ""},
		"AppArmor, a comment":            {map[string]string{profiles: "/usr/sbin/mysqld (enforce)\n", "etc/apparmor.d/local/usr.sbin.mysqld": "# /srv/db/** rwk,\n"}, mine, "allows it nothing"},
		"SELinux, elsewhere":             {map[string]string{enforcing: "1"}, mine, "semanage fcontext -a -t mysqld_db_t '/srv/db(/.*)?'"},
		"SELinux, permissive":            {map[string]string{enforcing: permissive}, mine, ""},
		"SELinux, as packaged":           {map[string]string{enforcing: "1"}, stockData, ""},
		"SELinux, labelled":              {map[string]string{enforcing: "1", "label:srv/db": "mysqld_db_t", "srv/db/ibdata1": ""}, mine, ""},
		"SELinux, NFS":                   {map[string]string{enforcing: "1", "label:var/lib/mysql": "nfs_t", "var/lib/mysql/ibdata1": ""}, stockData, "context=system_u:object_r:mysqld_db_t:s0"},
		"SELinux, made elsewhere":        {map[string]string{enforcing: "1", "label:var/lib/mysql": "unlabeled_t", "var/lib/mysql/ibdata1": ""}, stockData, "labelled unlabeled_t"},
		"SELinux, the place to mount at": {map[string]string{enforcing: "1", "label:srv/db": "var_t"}, mine, ""},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			for path, text := range c.files {
				dir, label := strings.CutPrefix(path, "label:")
				file := filepath.Join(root, dir)
				if label {
					if err := os.MkdirAll(file, 0o755); err != nil {
						t.Fatal(err)
					}
					if err := unix.Setxattr(file, "security.selinux", []byte("system_u:object_r:"+text+":s0\x00"), 0); err != nil {
						t.Skip("SKIP: needs root, and a file system that keeps labels")
					}
					continue
				}
				if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			got := confined(root, c.dir)
			if (got == "") != (c.words == "") || !strings.Contains(got, c.words) {
				t.Errorf("%q, want %q", got, c.words)
			}
		})
	}
}
