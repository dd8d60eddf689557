package haproxy

import (
	"bufio"
	"context"
	"errors"
	"io/fs"
	"net"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"
)

// As 2.6 prints it, and as users of 2.1 quote theirs.
const (
	proc26 = `#<PID>          <type>          <reloads>       <uptime>        <version>      
7               master          5 [failed: 1]   0d00h02m07s     2.6.12-1+deb12u4
# workers
1271            worker          1               0d00h00m00s     2.6.12-1+deb12u4
# old workers
1233            worker          3               0d00h00m43s     2.6.12-1+deb12u4
# programs
1244            foo             0               0d00h00m00s     -

`
	proc21 = `#<PID>          <type>          <relative PID>  <reloads>       <uptime>        <version>
8               master          0               82              9d00h27m02s     2.1.1
# workers
1017            worker          1               0               0d00h01m28s     2.1.1
# old workers
657             worker          [was: 1]        17              0d05h35m30s     2.1.1
# programs

`
	proc21failed = `#<PID>          <type>          <relative PID>  <reloads>       <uptime>        <version>
8               master          0               27              5d22h03m17s     2.1.1
# workers
# old workers
177             worker          [was: 1]        14              0d20h36m10s     2.1.1
105             worker          [was: 1]        19              0d21h32m50s     2.1.1
# programs

`
	stat26 = `# pxname,svname,qcur,status,weight,check_status,check_desc,last_chk,
fe,FRONTEND,,OPEN,,,,,
be,s1,0,DOWN,1,L4CON,Layer4 connection problem,Connection refused,
be,s2,0,DOWN,1,L7STS,"Layer7 wrong status, odd",,
be,BACKEND,0,DOWN,0,,,,

`
)

func TestParseProcs(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want Procs
	}{
		"2.6":                {proc26, Procs{Master: 7, Reloads: 5, Workers: []int{1271}, Old: []int{1233}}},
		"2.1":                {proc21, Procs{Master: 8, Reloads: 82, Workers: []int{1017}, Old: []int{657}}},
		"2.1, reload failed": {proc21failed, Procs{Master: 8, Reloads: 27, Old: []int{177, 105}}},
	} {
		got, ok := parseProcs(c.text)
		if !ok || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v %v, want %+v", name, got, ok, c.want)
		}
	}
	if _, ok := parseProcs("Unknown command"); ok {
		t.Error("an error message is no list of processes")
	}
}

func TestParseStat(t *testing.T) {
	got, err := parseStat(stat26)
	want := []Row{
		{"fe", "FRONTEND", "OPEN", ""},
		{"be", "s1", "DOWN", "Connection refused"},
		{"be", "s2", "DOWN", "Layer7 wrong status, odd"},
		{"be", "BACKEND", "DOWN", ""},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v %v, want %+v", got, err, want)
	}
	for _, text := range []string{"", "Permission denied\n", "# a,b\n", "# pxname,svname,status\n\"x"} {
		if _, err := parseStat(text); err == nil {
			t.Errorf("%q is no table", text)
		}
	}
}

func FuzzAnswers(f *testing.F) {
	for _, s := range []string{proc26, proc21, proc21failed, stat26, "Name: HAProxy\nPid: 12\nStopping: 1\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if p, ok := parseProcs(text); ok != (p.Master > 0) {
			t.Errorf("%+v %v", p, ok)
		}
		if i, ok := parseInfo(text); ok != (i.PID > 0) {
			t.Errorf("%+v %v", i, ok)
		}
		_, _ = parseStat(text)
	})
}

// serve answers each connection's one command, as the master's CLI does: it
// waits for the end of commands.
func serve(t *testing.T, answer func(command string) string) API {
	path := filepath.Join(t.TempDir(), "sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				lines := bufio.NewScanner(c)
				var commands []string
				for lines.Scan() {
					commands = append(commands, lines.Text())
				}
				_, _ = c.Write([]byte(answer(strings.Join(commands, ";"))))
			}()
		}
	}()
	return API{Address: path}
}

func TestAPI(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	api := serve(t, func(command string) string {
		return map[string]string{
			"show proc":         proc26,
			"@1 show info":      "Name: HAProxy\nVersion: 2.6.12\nPid: 12\nUptime_sec: 61\nStopping: 1\n\n",
			"show info":         "\n",
			"show stat -1 6 -1": stat26,
		}[command]
	})
	if p, err := api.Procs(ctx); err != nil || p.Master != 7 {
		t.Errorf("%+v %v", p, err)
	}
	if rows, err := api.Stat(ctx, Backends|Servers); err != nil || len(rows) != 4 {
		t.Errorf("%+v %v", rows, err)
	}
	if _, err := api.Info(ctx); err == nil || !strings.Contains(err.Error(), "empty answer") {
		t.Errorf("empty answer: %v", err)
	}
	api.Worker = "@1"
	if i, err := api.Info(ctx); err != nil || i != (Info{PID: 12, Stopping: true}) {
		t.Errorf("%+v %v", i, err)
	}
	if _, err := api.Procs(ctx); err == nil {
		t.Error("no answer is no list of processes")
	}
}

func TestNobodyAnswers(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if _, err := (API{Address: filepath.Join(dir, "none")}).Info(ctx); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no socket: %v", err)
	}
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "left")})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	_ = left.Close()
	if _, err := (API{Address: "unix@" + filepath.Join(dir, "left")}).Info(ctx); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a socket that nobody listens on: %v", err)
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if _, err := (API{Address: "ipv4@" + silent.Addr().String()}).Info(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("silence: %v", err)
	}
}

func TestDial(t *testing.T) {
	for address, want := range map[string][2]string{
		"/run/x":               {"unix", "/run/x"},
		"unix@/run/x":          {"unix", "/run/x"},
		"ipv4@127.0.0.1:1":     {"tcp", "127.0.0.1:1"},
		"127.0.0.1:1":          {"tcp", "127.0.0.1:1"},
		"abns@x":               {"unix", "@x" + strings.Repeat("\x00", 106)},
		"ipv6@[2001:db8::1]:1": {"tcp", "[2001:db8::1]:1"},
	} {
		if n, a := (API{Address: address}).dial(); n != want[0] || a != want[1] {
			t.Errorf("%s: %s %q, want %q", address, n, a, want)
		}
	}
}
