// Package haproxy asks a running HAProxy about itself over its runtime API, and
// reads from its configuration what a watcher must know: where it listens and
// where it can be asked. It starts and signals nothing.
//
// Sources: HAProxy's management guide, sections 9.3 (Unix socket commands) and
// 9.4 (master CLI); its configuration manual, sections 2, 3.1 and 5.1. Measured
// on 2.6.
package haproxy

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// API is a runtime API: a stats socket of a worker, or the master's CLI.
type API struct {
	// Address is as HAProxy writes it: a path, "unix@PATH", "abns@NAME",
	// "ipv4@HOST:PORT" or HOST:PORT.
	Address string
	// Worker sends commands on from the master's CLI to a worker: "@1" is the
	// current one. Empty asks who listens at Address.
	Worker string
}

func (a API) String() string {
	if a.Worker != "" {
		return a.Address + " (worker " + a.Worker + ")"
	}
	return a.Address
}

// ErrNotAsked says that nobody was reached at the address, so that nothing is known of who should be there. A unix
// socket whose queue is full is not meant: who owns it does not take connections.
var ErrNotAsked = errors.New("not reached")

// most is the longest answer that is read, in bytes; a row of show stat is about 500.
const most = 32 << 20

// Ask sends one command and returns the answer. The error wraps fs.ErrNotExist
// or syscall.ECONNREFUSED if nobody listens, and context.DeadlineExceeded if
// nobody answers before ctx ends.
func (a API) Ask(ctx context.Context, command string) (string, error) {
	network, address := a.dial()
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil && !(network == "unix" && ctx.Err() != nil) {
		return "", fmt.Errorf("%w: %w", ErrNotAsked, a.failed(ctx, command, err))
	}
	if err != nil {
		return "", a.failed(ctx, command, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if a.Worker != "" {
		command = a.Worker + " " + command
	}
	if _, err := io.WriteString(conn, command+"\n"); err != nil {
		return "", a.failed(ctx, command, err)
	}
	// The master's CLI waits for another command unless it sees the end of them.
	if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		return "", a.failed(ctx, command, err)
	}
	b, err := io.ReadAll(io.LimitReader(conn, most))
	if err != nil {
		return "", a.failed(ctx, command, err)
	}
	return string(b), nil
}

func (a API) dial() (network, address string) {
	kind, rest, ok := strings.Cut(a.Address, "@")
	switch {
	case ok && kind == "unix":
		return "unix", rest
	case ok && kind == "abns":
		return "unix", "@" + rest + strings.Repeat("\x00", max(0, 107-len(rest))) // HAProxy fills sun_path up
	case strings.HasPrefix(a.Address, "/"):
		return "unix", a.Address
	}
	// An address to listen on: all of this host's are its loopback's too.
	if b, err := parseBind(a.Address); err == nil {
		if b.Address.IsUnspecified() && b.Address.Is6() {
			b.Address = netip.IPv6Loopback()
		} else if b.Address.IsUnspecified() {
			b.Address = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		}
		return "tcp", netip.AddrPortFrom(b.Address, b.Low).String()
	}
	if !ok {
		rest = a.Address
	}
	return "tcp", rest
}

func (a API) failed(ctx context.Context, command string, err error) error {
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return fmt.Errorf("%s on %s: %w", command, a.Address, err)
}

// unexpected is the error for an answer that is not what was asked for: the
// API's own words.
func (a API) unexpected(command, answer string) error {
	line, _, _ := strings.Cut(strings.TrimSpace(answer), "\n")
	if line == "" {
		line = "an empty answer"
	}
	return fmt.Errorf("%s on %s: not understood: %.200s", command, a, line)
}

// Info is what this package uses of `show info`.
type Info struct {
	PID      int
	Stopping bool // in a soft stop: it takes no new connections
}

// Info asks for `show info`.
func (a API) Info(ctx context.Context) (Info, error) {
	answer, err := a.Ask(ctx, "show info")
	if err != nil {
		return Info{}, err
	}
	info, ok := parseInfo(answer)
	if !ok {
		return Info{}, a.unexpected("show info", answer)
	}
	return info, nil
}

func parseInfo(answer string) (i Info, ok bool) {
	for line := range strings.Lines(answer) {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch name {
		case "Pid":
			i.PID, _ = strconv.Atoi(value)
		case "Stopping":
			i.Stopping = value != "0" && value != ""
		}
	}
	return i, i.PID > 0
}

// Procs is what `show proc` of the master's CLI says.
type Procs struct {
	Master  int   // its pid
	Reloads int   // since its start, the failed ones included
	Workers []int // current ones; before 2.5 there is none after a reload that failed
	Old     []int // workers of former configurations that still have connections
}

// Procs asks for `show proc`; only the master's CLI knows it.
func (a API) Procs(ctx context.Context) (Procs, error) {
	answer, err := a.Ask(ctx, "show proc")
	if err != nil {
		return Procs{}, err
	}
	p, ok := parseProcs(answer)
	if !ok {
		return Procs{}, a.unexpected("show proc", answer)
	}
	return p, nil
}

func parseProcs(answer string) (p Procs, ok bool) {
	reloads := 2 // the column; up to 2.4 there may be one more before it
	section := &p.Workers
	for line := range strings.Lines(answer) {
		f := strings.Fields(line)
		switch {
		case len(f) == 0:
			continue
		case strings.HasPrefix(line, "#<PID>"):
			if strings.Contains(line, "<relative PID>") {
				reloads = 3
			}
			continue
		case strings.HasPrefix(line, "# old workers"):
			section = &p.Old
			continue
		case strings.HasPrefix(line, "#"):
			continue
		}
		pid, err := strconv.Atoi(f[0])
		if err != nil || len(f) <= reloads {
			continue
		}
		switch f[1] {
		case "master":
			p.Master = pid
			p.Reloads, _ = strconv.Atoi(f[reloads])
		case "worker":
			*section = append(*section, pid)
		}
	}
	return p, p.Master > 0
}

// Kinds of rows that Stat can be asked for; their sum asks for several.
const (
	Frontends = 1
	Backends  = 2
	Servers   = 4
)

// Row is what this package uses of a row of `show stat`.
type Row struct {
	Proxy   string // name of the frontend, backend or listen section
	Service string // "FRONTEND", "BACKEND" or the server's name
	Status  string // a frontend's: OPEN, PAUSED, STOP, FULL; a backend's: UP, DOWN; a server's: UP, DOWN, MAINT, "no check", ...
	Check   string // a server's last check in words, "" if there was none
}

// Stat asks for `show stat`, rows of the given kinds only.
func (a API) Stat(ctx context.Context, kinds int) ([]Row, error) {
	command := fmt.Sprintf("show stat -1 %d -1", kinds)
	answer, err := a.Ask(ctx, command)
	if err != nil {
		return nil, err
	}
	rows, err := parseStat(answer)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", a.unexpected(command, answer), err)
	}
	return rows, nil
}

func parseStat(answer string) ([]Row, error) {
	text, ok := strings.CutPrefix(strings.TrimLeft(answer, "\n"), "# ")
	if !ok {
		return nil, errors.New("no heading")
	}
	r := csv.NewReader(strings.NewReader(text))
	r.FieldsPerRecord = -1
	r.ReuseRecord = true
	heads, err := r.Read()
	if err != nil {
		return nil, err
	}
	column := map[string]int{}
	for i, h := range heads {
		column[h] = i
	}
	for _, must := range []string{"pxname", "svname", "status"} {
		if _, ok := column[must]; !ok {
			return nil, fmt.Errorf("no column %s", must)
		}
	}
	var rows []Row
	for {
		rec, err := r.Read()
		if errors.Is(err, io.EOF) {
			return rows, nil
		}
		if err != nil {
			return nil, err
		}
		get := func(name string) string {
			if i, ok := column[name]; ok && i < len(rec) {
				return rec[i]
			}
			return ""
		}
		row := Row{Proxy: get("pxname"), Service: get("svname"), Status: get("status"), Check: get("last_chk")}
		if row.Check == "" {
			row.Check = get("check_desc")
		}
		rows = append(rows, row)
	}
}
