package mycnf

import (
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
)

// LoadDefaults reads what a client needs to log in from the group [client] of the file at path, in the format of
// --defaults-extra-file. What the file does not set is empty.
//
// It refuses the file, and every file that it includes, unless root or the calling user owns it and nobody else can
// read or write it: its password is the cluster's. There is no default path: the ~/.my.cnf of whoever runs
// the check must not decide as whom it logs in.
func LoadDefaults(path string) (user, password, socket string, err error) {
	r := reader{groups: []string{"client"}, check: private}
	if err := r.file(path, 0); err != nil {
		return "", "", "", err
	}
	user, _ = r.Get("user")
	password, _ = r.Get("password")
	socket, _ = r.Get("socket")
	return user, password, socket, nil
}

func private(path string, info fs.FileInfo) error {
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return fmt.Errorf("%s: mode %04o lets others than its owner in: chmod 600 it, and change the password in it", path, perm)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("%s: cannot tell who owns it", path)
	}
	if st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%s: owned by uid %d, not by root: chown it to root", path, st.Uid)
	}
	return nil
}

const versionRE = `(\d+)\.(\d+)\.\d+(-?MariaDB)?`

// ServerGroups returns the groups that a server of that version reads. The version is what the server says of itself
// (@@version, or the output of mariadbd --version); one that is not understood, or an empty one, gives the groups
// without a version, of MySQL and MariaDB alike.
func ServerGroups(version string) []string {
	var m []string
	if version != "" {
		m = regexp.MustCompile(versionRE).FindStringSubmatch(version)
	}
	if m == nil {
		return []string{"mysqld", "server", "mariadb", "mariadbd", "client-server", "galera"}
	}
	suffix := "-" + m[1] + "." + m[2]
	groups := []string{"mysqld", "server", "mysqld" + suffix}
	// MySQL went from 5 and 8 on to 9, MariaDB from 5.5 to 10 and up: from 10 on a number alone says MariaDB.
	if major, _ := strconv.Atoi(m[1]); major >= 10 || strings.Contains(version, "MariaDB") {
		groups = append(groups, "mariadb", "mariadb"+suffix, "mariadbd", "mariadbd"+suffix, "client-server", "galera")
	}
	return groups
}
