package swap

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/openstack-ocf/agents/lib/pacemaker"
)

// dropIn takes a unit's power over its process away, until the next boot. Its name comes after Pacemaker's own.
func dropIn(unit string) string {
	return "/run/systemd/system/" + unit + ".d/60-openstack-ocf-swap.conf"
}

const letGo = `# Written by openstack-ocf swap: the cluster's agent ocf:openstack:* manages this service now, process and all.
# The unit neither restarts nor stops it any more.
[Service]
Restart=no
KillMode=none
ExecStop=
ExecStopPost=
WatchdogSec=0
`

// release has systemd let go of a unit's process, and makes sure that it did.
func release(ctx context.Context, unit string) error {
	path := dropIn(unit)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte(letGo), 0o644); err != nil {
		return err
	}
	if err := pacemaker.ReloadUnits(ctx); err != nil {
		return err
	}
	props, err := pacemaker.UnitProperties(ctx, unit, "Restart", "KillMode")
	if err != nil {
		return err
	}
	if props["Restart"] != "no" || props["KillMode"] != "none" {
		return fmt.Errorf("systemd goes on with Restart=%s, KillMode=%s for %s in spite of %s: another drop-in overrides it", props["Restart"], props["KillMode"], unit, path)
	}
	return nil
}

// retake gives the unit its power back.
func retake(ctx context.Context, unit string) error {
	err := os.Remove(dropIn(unit))
	if os.IsNotExist(err) {
		return nil
	}
	_ = os.Remove(filepath.Dir(dropIn(unit))) // if nothing else is in it
	if err != nil {
		return err
	}
	return pacemaker.ReloadUnits(ctx)
}

// units has systemd let go of the services that come to agents of this suite, and gives it back those that leave
// them. Backward is the other way round.
func (r *run) units(ctx context.Context, forward bool) error {
	for _, c := range r.Changes {
		var err error
		switch {
		case c.Unit == "":
		case (c.New.Attr("provider") == Provider) == forward:
			r.Say("%s: systemd lets go of %s", c.ID, c.Unit)
			err = release(ctx, c.Unit)
		default:
			err = retake(ctx, c.Unit)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", c.ID, err)
		}
	}
	return nil
}
