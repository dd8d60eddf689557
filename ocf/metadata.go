package ocf

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// ra-api-1.dtd knows neither the attributes of the OCF 1.1 schema nor
// reload-agent; the internal subset declares them, so that ocf-tester's
// `xmllint --valid` passes as well as the schema. The DTD's content model for
// a parameter cannot be widened, so <deprecated> is told in its descriptions.
const metaDataHead = `<?xml version="1.0"?>
<!DOCTYPE resource-agent SYSTEM "ra-api-1.dtd" [
<!ATTLIST parameter unique-group CDATA #IMPLIED reloadable (0|1) #IMPLIED>
<!ATTLIST action name CDATA #REQUIRED>
]>
`

// WriteMetaData writes the agent's meta-data XML (OCF resource agent API 1.1,
// "Meta-data"), without any other I/O.
func (a Agent) WriteMetaData(w io.Writer) error {
	b := bufio.NewWriter(w)
	p := func(format string, args ...any) { fmt.Fprintf(b, format, args...) }
	p("%s<resource-agent name=\"%s\" version=\"%s\">\n<version>1.1</version>\n", metaDataHead, esc(a.Name), esc(a.Version))
	p("<longdesc lang=\"en\">\n%s\n</longdesc>\n<shortdesc lang=\"en\">%s</shortdesc>\n<parameters>\n", esc(a.Long), esc(a.Short))
	for _, x := range a.Parameters {
		p("<parameter name=\"%s\" required=\"%s\" unique=\"%s\"", esc(x.Name), bit(x.Required), bit(x.UniqueGroup != ""))
		if x.UniqueGroup != "" {
			p(" unique-group=\"%s\"", esc(x.UniqueGroup))
		}
		if x.Reloadable {
			p(" reloadable=\"1\"")
		}
		short, long := x.descriptions()
		p(">\n<longdesc lang=\"en\">\n%s\n</longdesc>\n<shortdesc lang=\"en\">%s</shortdesc>\n<content type=\"%s\"", esc(long), esc(short), x.Value.Type())
		if !x.Required {
			p(" default=\"%s\"", esc(x.Default))
		}
		p("/>\n</parameter>\n")
	}
	p("</parameters>\n<actions>\n")
	for _, act := range a.actions() {
		p("<action name=\"%s\" timeout=\"%s\"", act.Name, seconds(act.Timeout))
		if act.Interval > 0 {
			p(" interval=\"%s\"", seconds(act.Interval))
		}
		if act.Name == Monitor || act.Depth > 0 {
			p(" depth=\"%d\"", act.Depth)
		}
		if act.Role != "" {
			p(" role=\"%s\"", act.Role)
		}
		p("/>\n")
	}
	p("</actions>\n</resource-agent>\n")
	return b.Flush()
}

// descriptions adds what the schema has no element for.
func (p Parameter) descriptions() (short, long string) {
	short, long = p.Short, p.Long
	if p.Deprecated != "" {
		short = "(deprecated) " + short
		long += "\n\nDeprecated: " + p.Deprecated
		if p.ReplacedBy != "" {
			long += " Use " + p.ReplacedBy + " instead."
		}
	}
	return short, long
}

func seconds(d time.Duration) string { return strconv.Itoa(int(d/time.Second)) + "s" }

func bit(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

var escapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;")

func esc(s string) string { return escapes.Replace(s) }

// MarshalJSON is the declaration for tools: what the meta-data says, and which
// parameters are secret or deprecated.
func (a Agent) MarshalJSON() ([]byte, error) {
	type param struct {
		Name        string `json:"name"`
		Type        string `json:"type"`
		Default     string `json:"default,omitempty"`
		Required    bool   `json:"required,omitempty"`
		UniqueGroup string `json:"unique_group,omitempty"`
		Reloadable  bool   `json:"reloadable,omitempty"`
		Secret      bool   `json:"secret,omitempty"`
		Deprecated  string `json:"deprecated,omitempty"`
		ReplacedBy  string `json:"replaced_by,omitempty"`
		Short       string `json:"short"`
		Long        string `json:"long"`
	}
	type action struct {
		Name     string `json:"name"`
		Timeout  string `json:"timeout"`
		Interval string `json:"interval,omitempty"`
		Depth    int    `json:"depth,omitempty"`
		Role     string `json:"role,omitempty"`
	}
	v := struct {
		Name       string   `json:"name"`
		Version    string   `json:"version"`
		Short      string   `json:"short"`
		Long       string   `json:"long"`
		Parameters []param  `json:"parameters"`
		Actions    []action `json:"actions"`
	}{Name: a.Name, Version: a.Version, Short: a.Short, Long: a.Long}
	for _, p := range a.Parameters {
		v.Parameters = append(v.Parameters, param{
			p.Name, p.Value.Type(), p.Default, p.Required, p.UniqueGroup, p.Reloadable,
			p.Secret, p.Deprecated, p.ReplacedBy, p.Short, p.Long,
		})
	}
	for _, x := range a.actions() {
		act := action{Name: x.Name, Timeout: seconds(x.Timeout), Depth: x.Depth, Role: x.Role}
		if x.Interval > 0 {
			act.Interval = seconds(x.Interval)
		}
		v.Actions = append(v.Actions, act)
	}
	return json.Marshal(v)
}
