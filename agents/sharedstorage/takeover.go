package sharedstorage

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/openstack-ocf/agents/lib/placement"
	"github.com/openstack-ocf/agents/lib/takeover"
	"github.com/openstack-ocf/agents/ocf"
)

// Place is where it may stand in a control plane. NFS it mounts where it is told to: it has not been tried with servers enough.
func Place() placement.Place {
	return placement.Place{MountsStorage: func(fstype string) bool { return !strings.HasPrefix(fstype, "nfs") }}
}

// Takeover is how a file system is taken over that ocf:heartbeat:Filesystem mounted, which has the same parameters. It is
// everybody's agent for file systems: which ones are to be swapped, an operator says.
func Takeover() takeover.Kind {
	return takeover.Kind{OCF: []string{"heartbeat:Filesystem"}, Named: true, Lives: lives}
}

// lives is the mount that these parameters mean, as it is on this node.
func lives(ctx context.Context, given map[string]string) (what string, err error) {
	a := new(agent)
	self := a.declare()
	self.Actions = []ocf.Action{{Name: ocf.Monitor, Timeout: time.Minute, Run: func(ctx context.Context, _ *ocf.Request) error {
		s, err := a.look(ctx)
		if err == nil && !s.ours {
			err = a.absent(ctx, s)
		}
		what = s.at.String()
		return err
	}}}
	if said := ocf.Try(ctx, self, ocf.Monitor, "storage", given, time.Minute); said.Code != ocf.OK {
		return "", errors.New(said.Reason)
	}
	return what, nil
}
