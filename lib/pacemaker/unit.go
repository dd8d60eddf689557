package pacemaker

import (
	"context"
	"fmt"
	"strings"
)

// ReloadUnits has systemd read its units again.
func ReloadUnits(ctx context.Context) error {
	_, err := tool(ctx, cibTimeout, "", "systemctl", "daemon-reload")
	return err
}

// UnitProperties are properties of a systemd unit by name, as `systemctl show` has them.
func UnitProperties(ctx context.Context, unit string, names ...string) (map[string]string, error) {
	out, err := tool(ctx, toolTimeout, "", "systemctl", "show", "--property="+strings.Join(names, ","), unit)
	if err != nil {
		return nil, err
	}
	props := map[string]string{}
	for line := range strings.Lines(out) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			props[name] = value
		}
	}
	if len(props) == 0 {
		return nil, fmt.Errorf("systemctl shows no %s of %s", strings.Join(names, ", "), unit)
	}
	return props, nil
}
