package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
)

// Account is who a daemon runs as.
type Account struct {
	UID, GID int
	Groups   []int // supplementary groups
	name     string
}

// Lookup resolves names or numbers as Start does; group "" is the user's own. The error wraps
// user.UnknownUserError or user.UnknownGroupError.
func Lookup(user, group string) (Account, error) {
	a, err := resolveUser(user, group)
	if err != nil {
		return Account{}, err
	}
	return a.account(), nil
}

func (a *account) account() Account {
	acc := Account{UID: a.uid, GID: a.gid, name: a.name}
	if a.credential != nil {
		for _, g := range a.credential.Groups {
			acc.Groups = append(acc.Groups, int(g))
		}
	}
	return acc
}

// CanWrite is nil if the account may create files in the directory, by its owner and mode; access control lists
// and security modules are not asked.
func (a Account) CanWrite(dir string) error {
	fi, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if !fi.IsDir() {
		return fmt.Errorf("%s is not a directory", dir)
	}
	st := fi.Sys().(*syscall.Stat_t)
	need := os.FileMode(0o003)
	switch {
	case a.UID == 0:
		return nil
	case int(st.Uid) == a.UID:
		need = 0o300
	case int(st.Gid) == a.GID || slices.Contains(a.Groups, int(st.Gid)):
		need = 0o030
	}
	if fi.Mode()&need != need {
		return fmt.Errorf("chown %s: it belongs to uid %d, gid %d with mode %04o, and %s is uid %d, gid %d", dir, st.Uid, st.Gid, fi.Mode().Perm(), a.name, a.UID, a.GID)
	}
	return nil
}

var errRuns = errors.New("it still runs")

// Run runs a command to its end, as Start would start it. It is killed when the context ends; a status other
// than 0 is a *DiedError with its last words.
func Run(ctx context.Context, c Command) error {
	c.KillUnready = true
	_, err := Start(ctx, c, func(context.Context) error { return errRuns })
	var died *DiedError
	if errors.As(err, &died) && died.Status == "exit status 0" {
		return nil
	}
	return err
}
