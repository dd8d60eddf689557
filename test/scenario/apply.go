package scenario

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/openstack-ocf/agents/test/cluster"
)

// PlanFile is where every node has the description of the control plane.
const PlanFile = "/root/controlplane.yaml"

// Apply does what Deploy does as an operator would: by `openstack-ocf apply` of a description of the control plane. What
// needs a database of its own is in the file from the second time on, when there is a server to make it on.
func Apply(ctx context.Context, c *cluster.Cluster, say Commentary, services ...Service) (*Stage, error) {
	return Foundation{}.Apply(ctx, c, say, services...)
}

// Apply is [Apply] on this foundation; "" is the plan's own choice.
func (f Foundation) Apply(ctx context.Context, c *cluster.Cluster, say Commentary, services ...Service) (*Stage, error) {
	s, err := NewStage(ctx, c, say, services[0])
	if err != nil {
		return nil, err
	}
	s.foundation = f
	for _, service := range services[1:] {
		if service.Dir == "" {
			continue
		}
		if s.disks[service.ID], err = s.newDisk(ctx, service); err != nil {
			return nil, err
		}
	}
	if first := slices.IndexFunc(services, func(service Service) bool { return service.Setup != nil }); first > 0 {
		err = s.apply(ctx, services[:first])
	}
	for _, service := range services {
		if err == nil {
			err = service.setup(ctx, s)
		}
	}
	if err == nil {
		err = s.apply(ctx, services)
	}
	// HAProxy was degraded while nothing stood behind it.
	if err == nil {
		err = s.Restore(ctx)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// apply describes the services, has the cluster run them, and lets those enter that are new.
func (s *Stage) apply(ctx context.Context, services []Service) error {
	text := s.describe(services)
	s.say("# cat controlplane.yaml")
	s.quote(text)
	for i, n := range s.Cluster.Nodes() {
		if err := n.WriteFile(ctx, PlanFile, []byte(text), 0o644); err != nil {
			return err
		}
		if i > 0 && strings.Contains(text, "\napis:\n") { // apply writes it on its own node
			const command = "openstack-ocf plan --haproxy /etc/haproxy/haproxy.cfg "
			s.say("on " + n.Name + ": # " + command + "controlplane.yaml")
			if _, err := n.Shell(ctx, command+PlanFile); err != nil {
				return err
			}
		}
	}
	n := s.Cluster.Nodes()[0]
	s.say("on " + n.Name + ": # openstack-ocf apply --yes --replace-haproxy controlplane.yaml")
	res, err := n.Exec(ctx, "openstack-ocf", "apply", "--yes", "--replace-haproxy", PlanFile)
	s.quote(res.Stdout)
	if err != nil {
		return err
	}
	for _, service := range services[len(s.Actors):] {
		if _, err := s.Enter(ctx, service); err != nil {
			return err
		}
	}
	return nil
}

func (s *Stage) quote(text string) {
	for line := range strings.Lines(text) {
		s.say("| " + strings.TrimRight(line, "\n"))
	}
}

// parameters are options as a file has them.
func parameters(options []string) string {
	var list []string
	for _, o := range options {
		name, value, _ := strings.Cut(o, "=")
		list = append(list, name+": "+value)
	}
	return strings.Join(list, ", ")
}

// describe is the control plane as a file for openstack-ocf: packaging/examples/rdo.yaml on the cluster's own network.
func (s *Stage) describe(services []Service) string {
	var nodes, disks, list, apis []string
	for _, n := range s.Cluster.Nodes() {
		nodes = append(nodes, n.Name+": "+n.Addr)
	}
	disk := func(id, device, dir string) {
		item := fmt.Sprintf("{id: %s, device: %s, directory: %s, fstype: ext4", id, device, dir)
		if s.foundation.Storage != "" {
			item += ", agent: " + s.foundation.Storage
		}
		disks = append(disks, item+"}")
	}
	disk(StorageID, s.Disk, DataDir)
	for _, service := range services {
		if service.Dir != "" {
			disk("fs-"+service.ID, s.disks[service.ID], service.Dir)
		}
		item := fmt.Sprintf("{name: %s, agent: %s", service.ID, strings.TrimPrefix(service.Agent, "ocf:openstack:"))
		if len(service.Options) > 0 {
			item += ", parameters: {" + parameters(service.Options) + "}"
		}
		if service.Clone {
			item += ", run: clone"
		}
		if service.IP != "" {
			item += ", run: promotable, ip: " + service.IP
		}
		list = append(list, item+"}")
		apis = append(apis, service.APIs...)
	}
	var b strings.Builder
	section := func(name string, lines []string) {
		if len(lines) > 0 {
			fmt.Fprintf(&b, "%s:\n  - %s\n", name, strings.Join(lines, "\n  - "))
		}
	}
	fmt.Fprintf(&b, "nodes: {%s}\nfloating_ip: %s\ngroup: %s\n", strings.Join(nodes, ", "), FloatingIP, GroupID)
	if s.foundation.Address != "" {
		fmt.Fprintf(&b, "floating_ip_agent: %s\n", s.foundation.Address)
	}
	section("storage", disks)
	section("services", list)
	section("apis", apis)
	section("fencing", []string{"agent: fence_rack"})
	return b.String()
}
