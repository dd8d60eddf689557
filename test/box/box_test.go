package box

import (
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestMain(m *testing.M) { Main(m, "/var/lib/mysql") }

func TestInside(t *testing.T) {
	Need(t)
	if h, _ := os.Hostname(); h != "box" {
		t.Errorf("hostname %q", h)
	}
	if got := Sh(t, "ls -d /proc/[0-9]* | wc -l"); len(got) > 1 {
		t.Errorf("%s processes in a new box", got)
	}
	if b, err := os.ReadFile("/proc/net/dev"); err != nil || strings.Count(string(b), ":") != 1 {
		t.Errorf("interfaces: %s %v", b, err)
	}
	if e, err := os.ReadDir("/var/lib/mysql"); err != nil || len(e) != 0 {
		t.Errorf("hidden directory: %v %v", e, err)
	}
}

func TestStubborn(t *testing.T) {
	Need(t)
	const program = "/run/stubborn"
	stubborn := Agent{T: t, Pids: Programs("stubborn"), Processes: 1}
	if pids := stubborn.Pids(); len(pids) != 0 {
		t.Fatalf("there are %v before it starts", pids)
	}
	Stubborn(t, program, "/var/lib/mysql")
	if args := Pids(func(p Process) bool { return p.Exe == program && p.Args[0] == program }); len(args) != 1 {
		t.Errorf("by path and arguments there are %v", args)
	}
	stubborn.Signal(syscall.SIGTERM)
	stubborn.Signal(syscall.SIGSTOP)
	stubborn.Running()
	stubborn.Signal(syscall.SIGKILL)
}

func TestOccupy(t *testing.T) {
	Need(t)
	Occupy(t, 4711)
	if l, err := net.Listen("tcp", "127.0.0.1:4711"); err == nil {
		l.Close()
		t.Error("the port is free")
	}
}

func TestForks(t *testing.T) {
	Need(t)
	if calls := Forks(t, nil, 3, "/bin/sh", "-c", "exit 3"); len(calls) != 0 {
		t.Errorf("one program made %v", calls)
	}
	if calls := Forks(t, nil, 3, "/bin/sh", "-c", "/bin/true; exit 3"); len(calls) < 2 {
		t.Errorf("a process and a program: %v", calls)
	}
}
