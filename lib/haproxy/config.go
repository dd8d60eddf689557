package haproxy

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Config is what a watcher must know of a configuration. Addresses that depend
// on the environment ("${VIP}:80") or on name resolution, and lines inside
// .if blocks, are left out: only HAProxy itself can tell what they mean.
type Config struct {
	Sockets     []string // of the runtime API (`stats socket`), as API.Address wants them
	Binds       []Bind   // of frontends and listen sections
	Chroot      string
	User, Group string
}

// Bind is an address that a frontend listens on with TCP.
type Bind struct {
	Frontend    string
	Address     netip.Addr // 0.0.0.0 and :: are any
	Low, High   uint16     // ports, both included
	Transparent bool       // may be an address that this host does not have
	V6Only      bool
	Elsewhere   bool   // bound to an interface or a namespace, so that other sockets may have the same address
	Where       string // "haproxy.cfg:12"
}

func (b Bind) String() string {
	s := netip.AddrPortFrom(b.Address, b.Low).String()
	if b.High != b.Low {
		s += "-" + strconv.Itoa(int(b.High))
	}
	return s
}

// sections are the words that begin a section (configuration manual, section 2.1 and the chapters it names).
var sections = []string{
	"global", "defaults", "frontend", "backend", "listen", "peers", "resolvers", "userlist", "mailers", "program", "cache", "ring",
	"log-forward", "log-profile", "http-errors", "fcgi-app", "dynamic-update", "crt-list", "crt-store", "traces", "acme", "healthcheck",
}

// ReadConfig reads a configuration file, or the files *.cfg of a directory, as
// `haproxy -f` does.
func ReadConfig(path string) (Config, error) {
	files := []string{path}
	fi, err := os.Stat(path)
	if err != nil {
		return Config{}, err
	}
	if fi.IsDir() {
		if files, err = filepath.Glob(filepath.Join(path, "[^.]*.cfg")); err != nil {
			return Config{}, err
		}
		if len(files) == 0 {
			return Config{}, fmt.Errorf("directory %s has no *.cfg file", path)
		}
	}
	var c Config
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return Config{}, err
		}
		c.parse(filepath.Base(f), string(b))
	}
	return c, nil
}

// parse takes what it understands; telling what is wrong is `haproxy -c`'s part.
func (c *Config) parse(name, text string) {
	var section, proxy string
	nested := 0 // in .if blocks
	first := 0  // of c.Binds, of this section
	number := 0
	for line := range strings.Lines(text) {
		number++
		w := fields(line)
		if len(w) == 0 {
			continue
		}
		switch w[0] {
		case ".if":
			nested++
		case ".endif":
			nested--
		}
		if nested > 0 || strings.HasPrefix(w[0], ".") {
			continue
		}
		if slices.Contains(sections, w[0]) {
			section, proxy, first = w[0], "", len(c.Binds)
			if len(w) > 1 {
				proxy = w[1]
			}
			continue
		}
		switch {
		case section == "global":
			c.global(w)
		case section != "frontend" && section != "listen":
		case w[0] == "disabled":
			c.Binds, section = c.Binds[:first], "disabled"
		case w[0] == "bind" && len(w) > 1:
			c.bind(w, proxy, fmt.Sprintf("%s:%d", name, number))
		}
	}
}

func (c *Config) global(w []string) {
	switch {
	case len(w) > 2 && w[0] == "stats" && w[1] == "socket":
		if !strings.ContainsAny(w[2], "$") && !strings.HasPrefix(w[2], "fd@") && !strings.HasPrefix(w[2], "sockpair@") {
			c.Sockets = append(c.Sockets, strings.TrimPrefix(w[2], "unix@"))
		}
	case len(w) < 2:
	case w[0] == "chroot":
		c.Chroot = w[1]
	case w[0] == "user":
		c.User = w[1]
	case w[0] == "group":
		c.Group = w[1]
	}
}

func (c *Config) bind(w []string, proxy, where string) {
	has := func(words ...string) bool {
		return slices.ContainsFunc(w[2:], func(s string) bool { return slices.Contains(words, s) })
	}
	for _, text := range strings.Split(w[1], ",") {
		b, err := parseBind(text)
		if err != nil {
			continue
		}
		b.Frontend, b.Where = proxy, where
		b.Transparent, b.V6Only, b.Elsewhere = has("transparent"), has("v6only"), has("interface", "namespace")
		c.Binds = append(c.Binds, b)
	}
}

var errNotTCP = errors.New("not an address and port of TCP")

// parseBind reads ADDRESS:PORT[-PORT] as section 5.1 of the manual has it.
func parseBind(text string) (Bind, error) {
	kind, rest, ok := strings.Cut(text, "@")
	if !ok {
		kind, rest = "", text
	}
	if kind != "" && kind != "ipv4" && kind != "ipv6" && kind != "tcp4" && kind != "tcp6" && kind != "tcp" || strings.Contains(text, "$") {
		return Bind{}, errNotTCP
	}
	i := strings.LastIndexByte(rest, ':') // of ":::80", all before the last colon is the address
	if i < 0 {
		return Bind{}, errNotTCP
	}
	host, ports := strings.Trim(rest[:i], "[]"), rest[i+1:]
	var b Bind
	var err error
	switch {
	case (host == "" || host == "*") && strings.HasSuffix(kind, "6"):
		b.Address = netip.IPv6Unspecified()
	case host == "" || host == "*":
		b.Address = netip.IPv4Unspecified()
	default:
		if b.Address, err = netip.ParseAddr(host); err != nil {
			return Bind{}, fmt.Errorf("%w: %w", errNotTCP, err)
		}
	}
	low, high, isRange := strings.Cut(ports, "-")
	if !isRange {
		high = low
	}
	l, err := strconv.ParseUint(low, 10, 16)
	if err != nil {
		return Bind{}, fmt.Errorf("%w: %w", errNotTCP, err)
	}
	h, err := strconv.ParseUint(high, 10, 16)
	if err != nil || h < l || l == 0 {
		return Bind{}, errNotTCP
	}
	b.Low, b.High = uint16(l), uint16(h)
	return b, nil
}

// fields splits a line as section 2.2 of the manual has it: quotes and
// backslashes keep words together, # begins a comment. Environment variables
// stay as they are written.
func fields(line string) []string {
	var words []string
	var word []byte
	var quote byte
	started := false
	end := func() {
		if started {
			words = append(words, string(word))
		}
		word, started = word[:0], false
	}
	for i := 0; i < len(line); i++ {
		ch := line[i]
		switch {
		case ch == '\\' && quote != '\'' && i+1 < len(line):
			i++
			word, started = append(word, line[i]), true
		case quote != 0 && ch == quote:
			quote = 0
		case quote != 0:
			word = append(word, ch)
		case ch == '\'' || ch == '"':
			quote, started = ch, true
		case ch == '#':
			end()
			return words
		case ch == ' ' || ch == '\t' || ch == '\n' || ch == '\r':
			end()
		default:
			word, started = append(word, ch), true
		}
	}
	end()
	return words
}
