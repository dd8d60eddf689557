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
// on name resolution, and lines inside .if blocks, are left out: only HAProxy
// itself can tell what they mean.
type Config struct {
	Sockets     []string // of the runtime API (`stats socket`), as API.Address wants them
	Binds       []Bind   // of frontends, listen and log-forward sections that are not disabled
	Chroot      string
	User, Group string
	// Unset are the lines whose address depends on an environment variable that is not set, of which HAProxy
	// makes an empty text, and of "${VIP}:80" all addresses: "$VIP in haproxy.cfg:7".
	Unset []string
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

// Files are the files that `haproxy -f PATH` reads for each of the paths: of a directory its regular
// files *.cfg by name, hidden ones left out.
func Files(paths ...string) ([]string, error) {
	var files []string
	for _, path := range paths {
		fi, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		if !fi.IsDir() {
			files = append(files, path)
			continue
		}
		entries, err := os.ReadDir(path)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			file := filepath.Join(path, e.Name())
			if !strings.HasSuffix(file, ".cfg") || strings.HasPrefix(e.Name(), ".") {
				continue
			}
			if fi, err := os.Stat(file); err == nil && fi.Mode().IsRegular() {
				files = append(files, file)
			}
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("there is no *.cfg file in %s", strings.Join(paths, ", "))
	}
	return files, nil
}

// ReadConfig reads files and directories in the order given, as `haproxy -f PATH -f PATH` does with that
// environment ("NAME=value").
func ReadConfig(env []string, paths ...string) (Config, error) {
	files, err := Files(paths...)
	if err != nil {
		return Config{}, err
	}
	r := newReader(env)
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return Config{}, err
		}
		r.read(filepath.Base(f), string(b))
	}
	return r.Config, nil
}

// reader is a configuration as far as it has been read. It takes what it understands; telling what is wrong is
// `haproxy -c`'s part.
type reader struct {
	Config
	env      environment
	disabled map[string]bool // the defaults sections by name, "" the last: whether they disable

	section  string
	proxy    string
	isOff    bool   // this section is disabled
	first    [2]int // of Binds and Unset, of this section
	where    string
	defaults string // the name of this defaults section
}

func newReader(env []string) *reader {
	r := &reader{env: environment{}, disabled: map[string]bool{}}
	if host, err := os.Hostname(); err == nil {
		r.env["HAPROXY_LOCALPEER"] = host
	}
	for _, v := range env {
		name, value, _ := strings.Cut(v, "=")
		r.env[name] = value
	}
	return r
}

func (r *reader) read(name, text string) {
	nested, number := 0, 0 // in .if blocks
	for line := range strings.Lines(text) {
		number++
		r.where = fmt.Sprintf("%s:%d", name, number)
		w, unset := fields(line, r.env)
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
			r.end()
			r.begin(w)
			continue
		}
		r.keyword(w, unset)
	}
	r.end()
}

// begin begins a section. It takes over what the defaults say that it names, or else the last.
func (r *reader) begin(w []string) {
	*r = reader{Config: r.Config, env: r.env, disabled: r.disabled, where: r.where, section: w[0], first: [2]int{len(r.Binds), len(r.Unset)}}
	if len(w) > 1 {
		r.proxy = w[1]
	}
	from := ""
	if i := slices.Index(w, "from"); i >= 1 && i+1 < len(w) {
		from = w[i+1]
	}
	switch r.section {
	case "defaults":
		if r.proxy != "from" {
			r.defaults = r.proxy
		}
		r.isOff = from != "" && r.disabled[from]
	case "frontend", "listen":
		r.isOff = r.disabled[from]
		if len(w) > 2 && w[2] != "from" { // as up to 1.8: listen NAME ADDRESS
			r.bind(append([]string{"bind"}, w[2:]...), nil)
		}
	}
}

// end ends a section.
func (r *reader) end() {
	switch {
	case r.section == "defaults":
		r.disabled[""], r.disabled[r.defaults] = r.isOff, r.isOff
	case r.isOff && (r.section == "frontend" || r.section == "listen"):
		r.Binds, r.Unset = r.Binds[:r.first[0]], r.Unset[:r.first[1]]
	}
	r.section = ""
}

func (r *reader) keyword(w, unset []string) {
	listener := r.section == "frontend" || r.section == "listen" || r.section == "log-forward"
	switch {
	case r.section == "global":
		r.global(w, unset)
	case w[0] == "disabled", w[0] == "enabled":
		r.isOff = w[0] == "disabled"
	case listener && w[0] == "bind" && len(w) > 1:
		r.bind(w, unset)
	case w[0] == "server" && len(w) > 2:
		_, more := r.env.expand(w[2])
		r.note(append(unset, more...))
	}
}

// note keeps variables that are not set.
func (r *reader) note(names []string) {
	for _, name := range names {
		r.Unset = append(r.Unset, fmt.Sprintf("$%s in %s", name, r.where))
	}
}

func (r *reader) global(w, unset []string) {
	switch {
	case len(w) > 2 && w[0] == "stats" && w[1] == "socket":
		address, more := r.env.expand(w[2])
		r.note(append(unset, more...))
		if len(unset)+len(more) == 0 && !strings.HasPrefix(address, "fd@") && !strings.HasPrefix(address, "sockpair@") {
			r.Sockets = append(r.Sockets, strings.TrimPrefix(address, "unix@"))
		}
	case w[0] == "resetenv":
		for name := range r.env {
			if !slices.Contains(w[1:], name) {
				delete(r.env, name)
			}
		}
	case len(w) < 2:
	case w[0] == "unsetenv":
		for _, name := range w[1:] {
			delete(r.env, name)
		}
	case w[0] == "chroot":
		r.Chroot = w[1]
	case w[0] == "user":
		r.User = w[1]
	case w[0] == "group":
		r.Group = w[1]
	case len(w) < 3:
	case w[0] == "setenv":
		r.env[w[1]] = w[2]
	case w[0] == "presetenv":
		if _, ok := r.env[w[1]]; !ok {
			r.env[w[1]] = w[2]
		}
	}
}

func (r *reader) bind(w, unset []string) {
	has := func(words ...string) bool {
		return slices.ContainsFunc(w[2:], func(s string) bool { return slices.Contains(words, s) })
	}
	addresses, more := r.env.expand(w[1])
	if unset = append(unset, more...); len(unset) > 0 {
		r.note(unset)
		return
	}
	for _, text := range strings.Split(addresses, ",") {
		b, err := parseBind(text)
		if err != nil {
			continue
		}
		b.Frontend, b.Where = r.proxy, r.where
		b.Transparent, b.V6Only, b.Elsewhere = has("transparent"), has("v6only"), has("interface", "namespace")
		r.Binds = append(r.Binds, b)
	}
}

var errNotTCP = errors.New("not an address and port of TCP")

// parseBind reads ADDRESS:PORT[-PORT] as section 5.1 of the manual has it.
func parseBind(text string) (Bind, error) {
	kind, rest, ok := strings.Cut(text, "@")
	if !ok {
		kind, rest = "", text
	}
	kind = strings.TrimPrefix(kind, "stream+")
	if kind != "" && kind != "ipv4" && kind != "ipv6" && kind != "tcp4" && kind != "tcp6" && kind != "tcp" {
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

// environment is HAProxy's.
type environment map[string]string

// variable reads $NAME, ${NAME}, ${NAME[*]} or ${NAME-default} at the beginning of text, and tells what is behind it.
// name is empty if there is none.
func (e environment) variable(text string) (name, value, rest string, set bool) {
	body, braced := strings.CutPrefix(text[1:], "{")
	n := 0
	for n < len(body) && (isLetter(body[n]) || body[n] == '_' || body[n] == '.' || n > 0 && body[n] >= '0' && body[n] <= '9') {
		n++
	}
	name, rest = body[:n], body[n:]
	value, set = e[name]
	if !braced || n == 0 {
		return name, value, rest, set
	}
	rest = strings.TrimPrefix(rest, "[*]")
	other, rest, closed := strings.Cut(rest, "}")
	if !closed {
		return "", "", "", false
	}
	if fallback, ok := strings.CutPrefix(other, "-"); ok && !set {
		value, set = fallback, true
	}
	return name, value, rest, set
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

// expand replaces the variables that are left in an address: there they count without quotes too.
func (e environment) expand(address string) (text string, unset []string) {
	for {
		i := strings.IndexByte(address, '$')
		if i < 0 {
			return text + address, unset
		}
		name, value, rest, set := e.variable(address[i:])
		if !set {
			unset = append(unset, name)
		}
		text, address = text+address[:i]+value, rest
	}
}

// fields splits a line as section 2.2 of the manual has it: quotes and
// backslashes keep words together, # begins a comment, and between double
// quotes environment variables count (section 2.3). unset are those that are not set.
func fields(line string, env environment) (words, unset []string) {
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
		case ch == '$' && quote == '"':
			name, value, rest, set := env.variable(line[i:])
			if !set {
				unset = append(unset, name)
			}
			word = append(word, value...)
			i = len(line) - len(rest) - 1
		case quote != 0 && ch == quote:
			quote = 0
		case quote != 0:
			word = append(word, ch)
		case ch == '\'' || ch == '"':
			quote, started = ch, true
		case ch == '#':
			end()
			return words, unset
		case ch == ' ' || ch == '\t' || ch == '\n' || ch == '\r':
			end()
		default:
			word, started = append(word, ch), true
		}
	}
	end()
	return words, unset
}
