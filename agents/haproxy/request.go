package haproxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/openstack-ocf/agents/ocf"
)

// answerTime is what a request of check_url may take.
const answerTime = 10 * time.Second

// request asks for check_url, if this node has its address: through a floating
// IP that is elsewhere, the HAProxy of another node would answer.
func (a *agent) request(ctx context.Context, r *ocf.Request) (handicaps []string, _ error) {
	if a.checkURL == "" {
		return nil, nil
	}
	u, err := url.Parse(a.checkURL)
	if err != nil {
		return nil, ocf.Errorf(ocf.NotConfigured, "check_url: %w", err)
	}
	shown := u.Redacted()
	r.Step("waiting for an answer to %s", shown)
	limit := answerTime
	if d, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(d)/2)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	local, err := isLocal(ctx, u.Hostname())
	if err != nil {
		return []string{"check_url: " + err.Error()}, nil
	}
	if !local {
		r.Log.Debug("check_url is not asked for: this node does not have its address", "url", shown)
		return nil, nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.checkURL, nil)
	if err != nil {
		return nil, ocf.Errorf(ocf.NotConfigured, "check_url: %w", err)
	}
	req.Header.Set("User-Agent", "openstack-ocf")
	// No proxy of the environment, no redirect: what HAProxy itself answers counts.
	answer, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	switch {
	case errors.Is(err, unix.ECONNREFUSED):
		return nil, ocf.Errorf(ocf.Generic, "HAProxy refuses connections to check_url %s: %w", shown, err)
	case err != nil:
		return []string{fmt.Sprintf("no answer to check_url %s: %v", shown, err)}, nil
	}
	_ = answer.Body.Close()
	if answer.StatusCode >= http.StatusInternalServerError {
		return []string{fmt.Sprintf("check_url %s is answered with %s: look at the backend's servers", shown, answer.Status)}, nil
	}
	return nil, nil
}

// isLocal tells whether this node has the host's address.
func isLocal(ctx context.Context, host string) (bool, error) {
	ips, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	if err != nil {
		return false, err
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(ips, func(ip net.IPAddr) bool {
		return ip.IP.IsLoopback() || slices.ContainsFunc(own, func(o net.Addr) bool {
			n, ok := o.(*net.IPNet)
			return ok && n.IP.Equal(ip.IP)
		})
	}), nil
}
