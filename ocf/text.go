package ocf

import (
	"fmt"
	"strings"
)

// Usage is the short help that the actions usage and help print.
func (a Agent) Usage() string {
	var b strings.Builder
	fmt.Fprintf(&b, "usage: %s {%s}\n\n%s (version %s).\n", a.Name, strings.Join(a.actionNames(), "|"), a.Short, a.Version)
	b.WriteString("The cluster calls it; by hand: give parameters as OCF_RESKEY_NAME=VALUE in the environment.\n\nParameters:\n")
	for _, p := range a.Parameters {
		short, _ := p.descriptions()
		fmt.Fprintf(&b, "  %-24s %s%s\n", p.Name, short, p.defaultNote())
	}
	return b.String()
}

func (p Parameter) defaultNote() string {
	switch {
	case p.Required:
		return " (required)"
	case p.Default != "":
		return " (default: " + p.Default + ")"
	}
	return ""
}

// Man is the agent's manual page, section 7, in man(7) macros. provider is the
// name after `ocf:` that the agent is installed under.
func (a Agent) Man(provider string) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	full := "ocf:" + provider + ":" + a.Name
	// The full name would run into the head line's other parts at 80 columns.
	p(".TH %s 7 \"\" \"%s %s\" \"OCF resource agents\"\n.ad l\n", roff(a.Name), roff(provider), roff(a.Version))
	p(".SH NAME\n%s \\- %s\n.SH SYNOPSIS\n.nf\n", roff("ocf_"+provider+"_"+a.Name), roff(a.Short))
	p("pcs resource create NAME %s [parameter=value ...]\n.fi\n.SH DESCRIPTION\n%s\n.SH PARAMETERS\n", roff(full), roffText(a.Long))
	for _, x := range a.Parameters {
		_, long := x.descriptions()
		p(".TP\n.B %s\n%s\n.br\n(%s%s%s%s)\n", roff(x.Name), roffText(long), x.Value.Type(), roff(strings.TrimSuffix(strings.Replace(x.defaultNote(), " (", ", ", 1), ")")),
			note(x.UniqueGroup != "", ", unique: "+roff(x.UniqueGroup)), note(x.Reloadable, ", reloadable"))
	}
	p(".SH ACTIONS\n")
	for _, x := range a.actions() {
		p(".TP\n.B %s\ntimeout %s%s%s%s\n", roff(x.Name), seconds(x.Timeout),
			note(x.Interval > 0, ", interval "+seconds(x.Interval)), note(x.Name == Monitor, fmt.Sprintf(", check level %d", x.Depth)), note(x.Role != "", ", role "+x.Role))
	}
	p(".SH EXIT STATUS\nEvery exit other than 0 says why in one line, which crm_mon(8) shows.\n")
	for _, c := range []Code{OK, Generic, BadArgument, Unimplemented, Permission, NotInstalled, NotConfigured, NotRunning, RunningPromoted, FailedPromoted, Degraded, DegradedPromoted} {
		p(".TP\n.B %d\n%s\n", int(c), roff(c.String()))
	}
	p(".SH SEE ALSO\n.BR pcs (8),\n.BR crm_mon (8),\n.BR crm_resource (8),\n.BR ocf\\-tester (8)\n")
	return b.String()
}

func note(show bool, s string) string {
	if show {
		return s
	}
	return ""
}

var roffEscapes = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", "\\(ga")

func roff(s string) string { return roffEscapes.Replace(s) }

// roffText escapes prose; an empty line is a new paragraph.
func roffText(s string) string {
	paras := strings.Split(strings.TrimSpace(s), "\n\n")
	for i, p := range paras {
		lines := strings.Split(strings.TrimSpace(p), "\n")
		for j, l := range lines {
			l = roff(strings.TrimSpace(l))
			if strings.HasPrefix(l, ".") {
				l = `\&` + l
			}
			lines[j] = l
		}
		paras[i] = strings.Join(lines, "\n")
	}
	return strings.Join(paras, "\n.sp\n")
}

// BashCompletion is a bash script that completes the agent's actions when it is
// called by hand.
func (a Agent) BashCompletion() string {
	return fmt.Sprintf("complete -W %q %s\n", strings.Join(a.actionNames(), " "), a.Name)
}
