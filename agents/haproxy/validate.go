package haproxy

import (
	"cmp"
	"context"

	"github.com/openstack-ocf/agents/lib/service"
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
	service.EnabledHint(r, cmp.Or(a.unit, "haproxy.service"))
	return nil
}
