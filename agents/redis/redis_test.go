package redis

import (
	"maps"
	"strings"
	"testing"

	"github.com/openstack-ocf/agents/lib/takeover"
	"github.com/openstack-ocf/agents/ocf"
)

func TestDerive(t *testing.T) {
	for title, want := range map[string]map[string]string{
		"/usr/bin/redis-server 127.0.0.1:6379":      {},
		"redis-server *:6380":                       {"port": "6380"},
		"redis-server 192.0.2.1:6379 [cluster]":     {"listen": "192.0.2.1"},
		"valkey-server ::1:6379":                    {"listen": "::1"},
		"redis-server unixsocket:/run/redis/r.sock": {"socket": "/run/redis/r.sock"},
	} {
		got, err := derive(t.Context(), takeover.Process{Title: title, User: "redis"})
		if err != nil || !maps.Equal(got, want) {
			t.Errorf("%s: %v, %v; want %v", title, got, err, want)
		}
	}
	if _, err := derive(t.Context(), takeover.Process{Title: "redis-server"}); err == nil {
		t.Error("one that does not say where it listens is taken")
	}
}

func TestJudge(t *testing.T) {
	a := &agent{memoryPercent: 90, connectionsPercent: 90}
	for info, want := range map[string]string{
		"":                                 "",
		"rdb_last_bgsave_status:ok":        "",
		"rdb_last_bgsave_status:err":       "could not save its data",
		"aof_last_write_status:err":        "could not write its log of changes",
		"role:slave master_link_status:up": "",
		"role:slave master_link_status:down master_host:a master_port:1": "lost its master a:1",
		"role:master master_link_status:down":                            "",
		"used_memory:90 maxmemory:100 maxmemory_policy:noeviction":       "90 of 100 bytes",
		"used_memory:89 maxmemory:100 maxmemory_policy:noeviction":       "",
		"used_memory:99 maxmemory:100 maxmemory_policy:allkeys-lru":      "",
		"used_memory:99 maxmemory:0 maxmemory_policy:noeviction":         "",
		"connected_clients:90 maxclients:100":                            "90 of 100 connections",
		"connected_clients:90":                                           "",
	} {
		m := map[string]string{}
		for _, f := range strings.Fields(info) {
			name, value, _ := strings.Cut(f, ":")
			m[name] = value
		}
		err := a.judge(m)
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || ocf.CodeOf(err) != ocf.Degraded) {
			t.Errorf("%s: %v", info, err)
		}
	}
}
