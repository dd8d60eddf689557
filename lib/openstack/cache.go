package openstack

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/openstack-ocf/agents/ocf"
)

// reachesCache tells whether the memcached servers that the service keeps its
// tokens in answer: of a dead one the service says nothing, it only forgets.
func reachesCache(ctx context.Context, r *ocf.Request, s settings) error {
	cache, err := s.cfg.Cache()
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

// askMemcached asks for the version (memcached's doc/protocol.txt).
func askMemcached(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	if _, err := fmt.Fprint(conn, "version\r\n"); err != nil {
		return err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return fmt.Errorf("%s: %w", address, err)
	}
	if !strings.HasPrefix(line, "VERSION ") {
		return fmt.Errorf("%s is no memcached: it answers %.40q", address, line)
	}
	return nil
}
