package oom

import (
	"slices"
	"testing"
	"time"
)

// Lines as kernels wrote them: 6.18 (a group's limit, and the node's memory), 5.14 of EL 9 with a whole group, 4.18 and 3.10 of
// EL 8 and 7, and one that says whose line it is.
const log = `<6>[55162.170021] EXT4-fs (loop7): unmounting filesystem a4a95ed8-44ab-41cb-b527-992a8c36dba9.
<4>[55169.323100] python3 invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0
<6>[55169.323481] [  23923]     0 23923    20526     3632     1984     1648         0    81920        0             0 python3
<6>[55169.323640] oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/system.slice,task_memcg=/system.slice/mariadb.service,task=mariadbd,pid=23923,uid=0
<3>[55169.323658] Memory cgroup out of memory: Killed process 23923 (mariadbd) total-vm:82104kB, anon-rss:7936kB, file-rss:6592kB, shmem-rss:0kB, UID:0 pgtables:80kB oom_score_adj:0
<6>[55170.000000] oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/system.slice/nova, the best.service/x,task=nova-consoleaut,pid=7,uid=162
<3>[55170.000001] Out of memory: Killed process 7 (nova-consoleaut) total-vm:1kB
<6>[55170.500000] Tasks in /system.slice/redis.service are going to be killed due to memory.oom.group set
<6>[55171.000000] oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/system.slice/redis.service,task_memcg=/system.slice/redis.service,task=redis-server,pid=8,uid=1
<3>[55171.000001] Memory cgroup out of memory: Killed process 8 (redis-server) total-vm:1kB
<3>[55171.000002] Memory cgroup out of memory: Killed process 9 (redis) helper) total-vm:1kB
<4>[    2.100000][    T1] mysqld invoked oom-killer: gfp_mask=0x201da, order=0, oom_score_adj=0
<3>[    2.200000][    T1] Out of memory: Kill process 4711 (mysqld) score 917 or sacrifice child
<3>[    2.300000][    T1] Killed process 4711 (mysqld), UID 27, total-vm:8kB, anon-rss:7kB
<3>Killed process 1 (without a time) total-vm:8kB
<14>[55172.000000] someone: Killed process 12 (told by himself)
`

func TestParse(t *testing.T) {
	const s = time.Second
	us := func(n int) time.Duration { return time.Duration(n) * time.Microsecond }
	want := []Kill{
		{55169*s + us(323658), 23923, "mariadbd", "/system.slice/mariadb.service", "/system.slice"},
		{55170*s + us(1), 7, "nova-consoleaut", "/system.slice/nova, the best.service/x", ""},
		{55171*s + us(1), 8, "redis-server", "/system.slice/redis.service", "/system.slice/redis.service"},
		{55171*s + us(2), 9, "redis) helper", "/system.slice/redis.service", "/system.slice/redis.service"},
		{2*s + us(300000), 4711, "mysqld", "", ""},
	}
	if got := parse(log); !slices.Equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	for i, c := range []struct{ says, unit string }{
		{"the kernel killed mariadbd (pid 23923) for lack of memory (limit of system.slice)", "mariadb.service"},
		{"the kernel killed nova-consoleaut (pid 7) for lack of memory (of the node)", "nova, the best.service"},
		2: {"the kernel killed redis-server (pid 8) for lack of memory (limit of redis.service)", "redis.service"},
		3: {"the kernel killed redis) helper (pid 9) for lack of memory (limit of redis.service)", "redis.service"},
		4: {"the kernel killed mysqld (pid 4711) for lack of memory", ""},
	} {
		if got := want[i].Error(); got != c.says || want[i].Unit() != c.unit {
			t.Errorf("%q in %q, want %+v", got, want[i].Unit(), c)
		}
		if c.unit != "" && !want[i].In(c.unit) || want[i].In("db.service") || want[i].In("mariadb") {
			t.Errorf("%s: In does not tell units apart", want[i].Group)
		}
	}
}
