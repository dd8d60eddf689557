package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// resolveUser looks names and numbers up in /etc/passwd and /etc/group, as os/user without cgo does. What is not there
// may be known to LDAP or SSSD: getent(1) asks whom the node asks. It is run by what starts or stops things, never where
// the account is in the files.
func resolveUser(name, group string) (*account, error) {
	u, local, err := lookUser(name)
	if err != nil {
		return nil, err
	}
	gid := u.Gid
	if group != "" {
		if gid, err = lookGroup(group); err != nil {
			return nil, err
		}
	}
	a := &account{name: u.Username, home: u.HomeDir}
	if a.uid, err = strconv.Atoi(u.Uid); err != nil {
		return nil, fmt.Errorf("uid of user %s: %w", name, err)
	}
	if a.gid, err = strconv.Atoi(gid); err != nil {
		return nil, fmt.Errorf("gid of group %s: %w", group, err)
	}
	if os.Geteuid() != 0 && a.uid == os.Geteuid() && a.gid == os.Getegid() {
		return a, nil
	}
	ids, err := groupsOf(u, local)
	if err != nil {
		return nil, fmt.Errorf("groups of user %s: %w", a.name, err)
	}
	a.credential = &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
	for _, id := range ids {
		n, err := strconv.ParseUint(id, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("groups of user %s: %w", a.name, err)
		}
		a.credential.Groups = append(a.credential.Groups, uint32(n))
	}
	return a, nil
}

// lookUser is the account of that name or number, "" is our own; local says that it is in /etc/passwd.
func lookUser(name string) (u *user.User, local bool, err error) {
	if name == "" {
		u, err = user.Current()
		return u, true, err
	}
	if u, err = user.Lookup(name); err == nil {
		return u, true, nil
	}
	if byID, iderr := user.LookupId(name); iderr == nil {
		return byID, true, nil
	}
	f, found, gerr := getent("passwd", name)
	switch {
	case gerr != nil:
		return nil, false, fmt.Errorf("%w, and %w", err, gerr)
	case !found || len(f) < 6:
		return nil, false, err
	}
	// name:password:UID:GID:comment:home:shell
	return &user.User{Username: f[0], Uid: f[2], Gid: f[3], HomeDir: f[5]}, false, nil
}

func lookGroup(name string) (gid string, err error) {
	g, err := user.LookupGroup(name)
	if err == nil {
		return g.Gid, nil
	}
	if byID, iderr := user.LookupGroupId(name); iderr == nil {
		return byID.Gid, nil
	}
	f, found, gerr := getent("group", name)
	switch {
	case gerr != nil:
		return "", fmt.Errorf("%w, and %w", err, gerr)
	case !found || len(f) < 3:
		return "", err
	}
	return f[2], nil // name:password:GID:members
}

// groupsOf are the groups that the account is in, by number. An account that is in the files may be those of the
// files, and one that is not in those that NSS says.
func groupsOf(u *user.User, local bool) ([]string, error) {
	if local {
		return u.GroupIds()
	}
	// "name GID GID ...", as initgroups(3) has them, the first one not among them with some libraries.
	f, found, err := getent("initgroups", u.Username)
	if err != nil {
		return nil, err
	}
	ids := []string{u.Gid}
	if found {
		for _, id := range strings.Fields(f[0])[1:] {
			if id != u.Gid {
				ids = append(ids, id)
			}
		}
	}
	return ids, nil
}

// ErrNameService says that nobody knows whether there is such an account.
var ErrNameService = errors.New("the name service of this node does not answer")

// patienceNSS is how long the node's name service may take; a directory that is away has its own, longer time-outs.
const patienceNSS = 10 * time.Second

// getent is the entry of a database of NSS, by colons. A node without getent knows nothing more than its files.
func getent(database, key string) (fields []string, found bool, err error) {
	program, err := exec.LookPath("getent")
	if err != nil {
		return nil, false, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), patienceNSS)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "--", database, key)
	cmd.Env = []string{"LANG=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	out, err := cmd.Output()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return nil, false, fmt.Errorf("%w: getent %s %s was given %s", ErrNameService, database, key, patienceNSS)
	case errors.As(err, &exit):
		return nil, false, nil // 2: no such key
	case err != nil:
		return nil, false, fmt.Errorf("getent %s %s: %w", database, key, err)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.Split(line, ":"), line != "", nil
}
