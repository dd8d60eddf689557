package ocf

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Parameter is one parameter of an agent, declared once. The cluster gives its
// value in the environment as OCF_RESKEY_<Name>; an empty value means that it
// was not given, and Default holds.
type Parameter struct {
	Name        string
	Value       Value  // where the parsed value goes; decides the type
	Default     string // as an operator would write it; parsed like a given value
	Required    bool
	UniqueGroup string // no two resources may share the values of all parameters of this group
	Identifies  bool   // which service is meant depends on it, see Agent.StopUnidentified; UniqueGroup implies it
	Reloadable  bool   // a change calls reload-agent instead of a restart
	Secret      bool   // never in a log, a trace or an exit reason
	Deprecated  string // why, and since when; "" is not deprecated
	ReplacedBy  string // the parameter to use instead of a deprecated one
	Short, Long string // descriptions: one line, and paragraphs
}

// Value is a typed variable that a parameter sets, in the manner of flag.Value.
type Value interface {
	Set(string) error
	Type() string // "string", "integer" or "boolean": the content types of the standard
}

type value struct {
	typ string
	set func(string) error
}

func (v value) Set(s string) error { return v.set(s) }
func (v value) Type() string       { return v.typ }

// String takes any text.
func String(p *string) Value {
	return value{"string", func(s string) error { *p = s; return nil }}
}

// Path takes an absolute path, and cleans it.
func Path(p *string) Value {
	return value{"string", func(s string) error {
		if s == "" {
			*p = ""
			return nil
		}
		if !filepath.IsAbs(s) {
			return errors.New("want an absolute path, such as /var/lib/x")
		}
		*p = filepath.Clean(s)
		return nil
	}}
}

// Bool takes a boolean as OCF writes it: 1, yes, true, on, ja, and 0, no,
// false, off, nein, in any case.
func Bool(p *bool) Value {
	return value{"boolean", func(s string) error {
		v, ok := ParseBool(s)
		if !ok {
			return errors.New("want a boolean: true or false")
		}
		*p = v
		return nil
	}}
}

// ParseBool reads a boolean as OCF writes it; ok is false when s is none.
func ParseBool(s string) (v, ok bool) {
	switch strings.ToLower(s) {
	case "1", "yes", "true", "on", "ja", "y", "t":
		return true, true
	case "0", "no", "false", "off", "nein", "n", "f", "":
		return false, true
	}
	return false, false
}

// Int takes a whole number from low to high.
func Int(p *int, low, high int) Value {
	return value{"integer", func(s string) error {
		n, err := strconv.Atoi(s)
		if err != nil || n < low || n > high {
			return fmt.Errorf("want a whole number from %d to %d", low, high)
		}
		*p = n
		return nil
	}}
}

// Parsed takes what parse takes, and keeps what it makes of it.
func Parsed(p *string, parse func(string) (string, error)) Value {
	return value{"string", func(s string) error {
		v := ""
		if s != "" {
			var err error
			if v, err = parse(s); err != nil {
				return err
			}
		}
		*p = v
		return nil
	}}
}

// Duration takes a time as Pacemaker writes it: `10` (seconds), `10s`, `500ms`,
// `2min`, `1h`. It must not be negative.
func Duration(p *time.Duration) Value {
	return value{"string", func(s string) error {
		d, err := ParseDuration(s)
		if err != nil {
			return err
		}
		*p = d
		return nil
	}}
}

// unit is 0 for a name that is none.
func unit(name string) time.Duration {
	switch name {
	case "", "s", "sec":
		return time.Second
	case "ms", "msec":
		return time.Millisecond
	case "us", "usec":
		return time.Microsecond
	case "m", "min":
		return time.Minute
	case "h", "hr":
		return time.Hour
	}
	return 0
}

// ParseDuration reads a time as Pacemaker writes it (Pacemaker Explained,
// "Time values"): a whole number, and a unit or nothing for seconds.
func ParseDuration(s string) (time.Duration, error) {
	num := strings.TrimRight(s, "abcdefghijklmnopqrstuvwxyz")
	unit := unit(s[len(num):])
	n, err := strconv.ParseInt(strings.TrimSpace(num), 10, 64)
	if unit == 0 || err != nil || n < 0 || (n > 0 && unit > time.Duration(1<<63-1)/time.Duration(n)) {
		return 0, errors.New("want a time such as 10, 10s, 500ms or 2min")
	}
	return time.Duration(n) * unit, nil
}

// OneOf takes one of the words in choices.
func OneOf(p *string, choices ...string) Value {
	return value{"string", func(s string) error {
		if !slices.Contains(choices, s) {
			return fmt.Errorf("want one of: %s", strings.Join(slices.DeleteFunc(slices.Clone(choices), func(c string) bool { return c == "" }), ", "))
		}
		*p = s
		return nil
	}}
}

// Words takes a command line's words; single quotes, double quotes and
// backslashes keep words together as in sh(1), and nothing is expanded.
func Words(p *[]string) Value {
	return value{"string", func(s string) error {
		w, err := splitWords(s)
		if err != nil {
			return err
		}
		*p = w
		return nil
	}}
}

func splitWords(s string) ([]string, error) {
	var words []string
	var word strings.Builder
	var quote rune
	started, escaped := false, false
	for _, r := range s {
		switch {
		case escaped:
			if quote == '"' && r != '"' && r != '\\' {
				word.WriteByte('\\')
			}
			word.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			escaped, started = true, true
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, started = r, true
		case r == ' ' || r == '\t' || r == '\n':
			if started {
				words = append(words, word.String())
				word.Reset()
				started = false
			}
		default:
			word.WriteRune(r)
			started = true
		}
	}
	if quote != 0 || escaped {
		return nil, errors.New("a quote or a backslash is not closed")
	}
	if started {
		words = append(words, word.String())
	}
	return words, nil
}

// bind sets every parameter from env. The value of a parameter that does not
// parse is its default; each such parameter is one error, by its name.
func bind(params []Parameter, env map[string]string) map[string]error {
	errs := map[string]error{}
	for _, p := range params {
		if err := p.Value.Set(p.Default); err != nil && p.Default != "" {
			errs[p.Name] = fmt.Errorf("parameter %s: its default %q: %w", p.Name, p.Default, err)
		}
		given := env["OCF_RESKEY_"+p.Name]
		if given == "" {
			if p.Required {
				errs[p.Name] = fmt.Errorf("parameter %s is required and was not given: %s", p.Name, p.Short)
			}
			continue
		}
		if err := p.Value.Set(given); err != nil {
			shown := strconv.Quote(given)
			if p.Secret {
				shown = "(secret)"
			}
			errs[p.Name] = fmt.Errorf("parameter %s=%s: %w", p.Name, shown, err)
			_ = p.Value.Set(p.Default)
		}
	}
	return errs
}
