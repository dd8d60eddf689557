package openstack

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/openstack-ocf/agents/lib/daemon"
	"github.com/openstack-ocf/agents/lib/oslo"
	"github.com/openstack-ocf/agents/lib/service"
	"github.com/openstack-ocf/agents/lib/sockets"
	"github.com/openstack-ocf/agents/ocf"
)

// patienceHTTP is how long an API may take for its versions document.
const patienceHTTP = 10 * time.Second

// answersHTTP gets the service's versions document: 200 or 300 Multiple Choices.
// What wants a login or another path (4xx) is an answer as well.
func (i *instance) answersHTTP(ctx context.Context, conf configuration, p *daemon.Process) error {
	where, err := i.endpoint(conf.cfg)
	if err != nil {
		return ocf.Errorf(ocf.Degraded, "it runs, but where it listens cannot be told: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, min(patienceHTTP, service.Remaining(ctx)*3/4))
	defer cancel()
	i.r.Step("waiting for an answer from %s", where)
	status, err := get(ctx, where)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		if really := i.elsewhere(ctx, where, p); really != "" {
			return ocf.Errorf(ocf.Degraded, "it serves on %s and not on %s, where its configuration says by now: restart it when convenient", really, where)
		}
		return ocf.Errorf(ocf.Generic, "does not listen on %s: it is starting or broken, or its configuration was changed: see its log %s", where, i.log)
	case err != nil && ctx.Err() != nil:
		return ocf.Errorf(ocf.Generic, "no answer from %s in time: it hangs, or all its workers are busy: see its log %s", where, i.log)
	case err != nil:
		return ocf.Errorf(ocf.Generic, "%w: see its log %s", err, i.log)
	case status >= http.StatusInternalServerError:
		return ocf.Errorf(ocf.Degraded, "%w", away{fmt.Errorf("%s answers %d %s: see its log %s, and who listens there", where, status, http.StatusText(status), i.log)})
	}
	return nil
}

// get asks for no more than life, of an address of our own: whose certificate it is says nothing about that.
func get(ctx context.Context, where string) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		return 0, ocf.Errorf(ocf.NotConfigured, "url: %w", err)
	}
	req.Header.Set("User-Agent", "openstack-ocf")
	client := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	_ = res.Body.Close()
	return res.StatusCode, nil
}

// elsewhere is the URL on which the process serves indeed, "" if none of the sockets that it listens on answers.
func (i *instance) elsewhere(ctx context.Context, where string, p *daemon.Process) string {
	u, err := url.Parse(where)
	if err != nil || i.params.url != "" || p == nil {
		return ""
	}
	listening, _ := sockets.Of(p.PID, sockets.Listen)
	for _, l := range listening {
		at := l.Local
		if at.Addr().IsUnspecified() {
			at = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), at.Port())
		}
		u.Host = at.String()
		if status, err := get(ctx, u.String()); err == nil && status < http.StatusInternalServerError {
			return u.String()
		}
	}
	return ""
}

// endpoint is the URL to get.
func (i *instance) endpoint(cfg *oslo.Config) (string, error) {
	if i.params.url != "" {
		return i.params.url, nil
	}
	host, err1 := cfg.Str("", i.decl.API.Host...)
	port, err2 := cfg.Port(i.decl.API.Default, i.decl.API.Port...)
	if err := errors.Join(err1, err2); err != nil {
		return "", err
	}
	if i.params.consolePort != 0 {
		port = i.params.consolePort
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() && ip.To4() != nil {
		host = "127.0.0.1"
	} else if ip != nil && ip.IsUnspecified() {
		host = "::1"
	}
	u := url.URL{Scheme: "http", Host: net.JoinHostPort(host, strconv.Itoa(port)), Path: "/"}
	for _, option := range i.decl.API.TLS {
		v, err := cfg.Get(option)
		if err == nil && v.Text != "" && !slices.Contains([]string{"false", "0", "off", "no"}, strings.ToLower(v.Text)) {
			u.Scheme = "https"
		}
	}
	return u.String(), nil
}
