package oslo

import (
	"errors"
	"net/url"
	"strconv"
	"strings"
)

// What the services' libraries read URLs with is Python's urllib: these are its ways.

// urlParts is what urllib.parse.urlsplit makes of a URL.
type urlParts struct{ scheme, netloc, path, query string }

var errIPv6 = errors.New("the brackets around an IPv6 address do not match")

// splitURL reads as urlsplit does: line breaks and tabs anywhere are nothing, so that a value over
// continuation lines is one URL; there need be no // and nothing behind it.
func splitURL(text string) (u urlParts, err error) {
	text = strings.TrimLeftFunc(text, func(r rune) bool { return r <= ' ' })
	text = strings.NewReplacer("\t", "", "\r", "", "\n", "").Replace(text)
	if i := strings.IndexByte(text, ':'); i > 0 && isScheme(text[:i]) {
		u.scheme, text = strings.ToLower(text[:i]), text[i+1:]
	}
	if rest, found := strings.CutPrefix(text, "//"); found {
		end := strings.IndexAny(rest, "/?#")
		if end < 0 {
			end = len(rest)
		}
		u.netloc, text = rest[:end], rest[end:]
		if strings.Contains(u.netloc, "[") != strings.Contains(u.netloc, "]") {
			return u, errIPv6
		}
	}
	text, _, _ = strings.Cut(text, "#")
	u.path, u.query, _ = strings.Cut(text, "?")
	return u, nil
}

func isScheme(text string) bool {
	for i, r := range text {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || !strings.ContainsRune("0123456789+-.", r)) {
			return false
		}
	}
	return true
}

// parseQuery reads name=value&name=value as parse_qsl does: what has no value is passed over.
func parseQuery(text string) url.Values {
	query := url.Values{}
	for _, pair := range strings.Split(text, "&") {
		if name, value, _ := strings.Cut(pair, "="); value != "" {
			query.Add(unescape(strings.ReplaceAll(name, "+", " ")), unescape(strings.ReplaceAll(value, "+", " ")))
		}
	}
	return query
}

// unescape undoes %-escapes as Python's unquote does: what is no escape stays, what is no UTF-8 becomes U+FFFD.
func unescape(text string) string {
	if !strings.Contains(text, "%") {
		return text
	}
	var b []byte
	for i := 0; i < len(text); i++ {
		if i+2 < len(text) && text[i] == '%' {
			if n, err := strconv.ParseUint(text[i+1:i+3], 16, 8); err == nil {
				b = append(b, byte(n))
				i += 2
				continue
			}
		}
		b = append(b, text[i])
	}
	return string([]rune(string(b)))
}

// parsePort reads a number as Python's int does, which is kinder than Go's: blanks around it, and _ within.
func parsePort(text string) (int, error) {
	text = strings.TrimFunc(text, isSpace)
	if strings.HasPrefix(text, "_") || strings.HasSuffix(text, "_") || strings.Contains(text, "__") {
		return 0, errPort
	}
	n, err := strconv.Atoi(strings.ReplaceAll(text, "_", ""))
	if err != nil || n < 0 || n > 65535 {
		return 0, errPort
	}
	return n, nil
}

var errPort = errors.New("the port is no number from 0 to 65535")
