package words

import (
	"regexp"
	"slices"
	"strings"
)

// secretNames are parts of the names of parameters whose values nobody should see, as agents and fence agents call them.
var secretNames = []string{"pass", "pwd", "secret", "token", "community", "credential", "privkey", "private_key"}

// Within a value: a URL with a password, and an option or a setting of a secret name.
const (
	secretURL = `://[^/?#\s]*:[^/?#\s]*@`
	// A word that is a name, then its value: password=x, --auth-key x, PASSWORD: x.
	secretWord = `(?i)(^|[^a-z0-9])[a-z0-9_-]*(pass(w(or)?d)?|passphrase|pwd|secret|token|community|(api|auth|access|secret)[_-]?key)(\s*[=:]\s*|\s+)[^\s-]`
)

// Secret tells whether the value of a parameter is nobody's to see: by the parameter's name, whatever its case, or
// because the value itself holds a password. The path of a file
// is no secret. With the value "" the name alone decides.
// An agent may know of more (ocf.Parameter.Secret).
func Secret(name, value string) bool {
	name = strings.ReplaceAll(strings.ToLower(name), "-", "_")
	has := func(part string) bool { return strings.Contains(name, part) }
	ends := func(end string) bool { return strings.HasSuffix(name, end) }
	switch {
	case slices.ContainsFunc([]string{"_file", "_script", "_path"}, ends):
	case slices.ContainsFunc(secretNames, has):
		return true // even if it begins like a path
	case strings.HasPrefix(value, "/"):
	case name == "key", name == "connection", slices.ContainsFunc([]string{"_key", "apikey", "authkey", "_connection"}, ends):
		return true
	}
	return regexp.MustCompile(secretURL).MatchString(value) || regexp.MustCompile(secretWord).MatchString(value)
}

// Masked is a text to be shown, in which somebody else may have written secrets: without the logins in URLs, and the values
// of secret names (passwd=x, --auth-key x).
func Masked(text string) string {
	text = regexp.MustCompile(`://[^/?#\s]*@`).ReplaceAllString(text, "://(secret)@")
	fields := strings.Split(text, " ")
	for i, f := range fields {
		name, value, set := strings.Cut(f, "=")
		option := ""
		if i > 0 && strings.HasPrefix(fields[i-1], "--") && !strings.HasPrefix(f, "-") {
			option = strings.TrimLeft(fields[i-1], "-")
		}
		switch {
		case set && Secret(name, value):
			fields[i] = name + "=(secret)"
		case option != "" && !strings.Contains(option, "=") && Secret(option, f):
			fields[i] = "(secret)"
		}
	}
	return strings.Join(fields, " ")
}
