package haproxy

import (
	"cmp"
	"context"

	"github.com/openstack-ocf/agents/lib/selinux"
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
	if err := a.valid(ctx, r, s, c, program); err != nil {
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
	service.LabelHint(ctx, r, a.unit, program)
	if w := confined("/"); w != "" {
		r.Log.Warn(w)
	}
	return nil
}

// confined says what SELinux would keep HAProxy from, "" if nothing is seen of that. root is put before every path.
func confined(root string) string {
	const boolean = "haproxy_connect_any"
	if !selinux.Enforcing(root) || !selinux.Off(root, boolean) {
		return ""
	}
	return "SELinux is enforcing and lets HAProxy listen on and connect to web ports only, not those of a database or of APIs: setsebool -P " + boolean + " 1, on all nodes"
}

// valid checks the configuration. One that a unit runs has none of our sockets, may be of any version, and nothing is
// left on this node for it.
func (a *agent) valid(ctx context.Context, r *ocf.Request, s settings, c setup, program string) error {
	if a.unit == "" {
		return a.check(ctx, r, s, c, program)
	}
	if err := resolved(c); err != nil {
		return err
	}
	s.extra = ""
	return a.verify(ctx, r, c, program, s.out, s.options(c))
}
