package openstack

import (
	"context"
	"errors"
	"time"

	"github.com/openstack-ocf/agents/lib/memcache"
	"github.com/openstack-ocf/agents/lib/oslo"
	"github.com/openstack-ocf/agents/ocf"
)

// reachesCache tells whether the memcached servers that the service keeps its
// tokens in answer: of a dead one the service says nothing, it only forgets.
func reachesCache(ctx context.Context, r *ocf.Request, cfg *oslo.Config) error {
	cache, err := cfg.Cache()
	if err != nil {
		return ocf.Errorf(ocf.Degraded, "which memcached servers it uses cannot be told: %w", err)
	}
	var errs []error
	for _, address := range cache.Memcached {
		r.Step("waiting for memcached on %s", address)
		if err := askMemcached(ctx, address); err != nil {
			errs = append(errs, err)
		}
	}
	if errs != nil {
		return ocf.Errorf(ocf.Degraded, "memcached does not serve: %w: start it, or tokens are forgotten (%s)", errors.Join(errs...), cache.Where)
	}
	return nil
}

func askMemcached(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	return memcache.Ask(ctx, address, func(s *memcache.Server) error { _, err := s.Version(); return err })
}
