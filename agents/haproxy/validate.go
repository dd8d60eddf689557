package haproxy

import (
	"context"
	"path/filepath"

	"github.com/openstack-ocf/agents/ocf"
)

// validate looks at the host, at level 10. It is silent if all is well.
func (a *agent) validate(ctx context.Context, r *ocf.Request) error {
	if r.Level < 10 {
		return nil
	}
	s := a.settings()
	program, err := a.program(r)
	if err != nil {
		return err
	}
	c := s.setup()
	if err := a.check(ctx, r, s, c, program); err != nil {
		return err
	}
	list, err := a.find(ctx, s)
	if err != nil {
		return err
	}
	defer list.Close()
	if err := bindable(c, list); err != nil {
		return ocf.Errorf(ocf.BadArgument, "%w", err)
	}
	if links, _ := filepath.Glob("/etc/systemd/system/*.wants/haproxy.service"); len(links) > 0 {
		r.Log.Warn("systemd starts HAProxy as well, behind the cluster's back: systemctl disable haproxy.service", "link", links[0])
	}
	return nil
}
