package openstack

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/openstack-ocf/agents/lib/oslo"
	"github.com/openstack-ocf/agents/lib/service"
	"github.com/openstack-ocf/agents/lib/sqlping"
	"github.com/openstack-ocf/agents/ocf"
)

// Row is the kind of a service's heartbeat row; "" if it has none.
type Row string

// The tables that services report to.
const (
	NovaRow    Row = "nova"
	CinderRow  Row = "cinder"
	NeutronRow Row = "neutron"
	HeatRow    Row = "heat"
)

// reading says how a kind is read, after how long without a report the project
// itself calls a service down, and how often it reports. Of several queries the
// first that suits the database's version counts.
type reading struct {
	queries     []string
	down, every func(*oslo.Config) (time.Duration, error)
	writer      string // who writes the row in the service's place
}

func rows() map[Row]reading {
	return map[Row]reading{
		NovaRow:    {[]string{oslo.NovaServices, oslo.NovaServicesHavana}, (*oslo.Config).ServiceDownTime, (*oslo.Config).ReportInterval, ""},
		CinderRow:  {[]string{oslo.CinderServices}, (*oslo.Config).ServiceDownTime, (*oslo.Config).ReportInterval, ""},
		NeutronRow: {[]string{oslo.NeutronAgents}, (*oslo.Config).AgentDownTime, (*oslo.Config).AgentReportInterval, "neutron-server"},
		HeatRow:    {[]string{oslo.HeatServices}, heatInterval, heatInterval, ""}, // down after two without a report
	}
}

func heatInterval(c *oslo.Config) (time.Duration, error) {
	return c.Seconds(time.Minute, "DEFAULT.periodic_interval")
}

const unknownColumn = 1054 // ER_BAD_FIELD_ERROR

// resolution is that of the ages in rows.
const resolution = time.Second

// slowStart is what a service may take to its first report on a busy node, however
// impatient its configuration is.
const slowStart = time.Minute

// reported tells whether the process has reported since it was started, and
// lately: nil; ocf.Degraded if the database does not tell; errNoWitness if
// there is no row that could; else what is wrong with the row. young is a process that need
// not have reported yet. It needs no memory of the count before the start: a
// report that is younger than the process is its own.
func (c *conversation) reported(ctx context.Context) (late error, young bool) {
	kind, ok := rows()[c.decl.Row]
	if !ok {
		return errNoWitness, false
	}
	target, err := Database(c.conf.cfg)
	if err != nil {
		return err, false
	}
	down, err1 := kind.down(c.conf.cfg)
	every, err2 := kind.every(c.conf.cfg)
	if err := errors.Join(err1, err2); err != nil {
		return ocf.Errorf(ocf.Degraded, "%w", err), false
	}
	down += every // a database that was away has the report before its outage until the next one comes
	young = c.age < max(down, slowStart)
	c.r.Step("reading the heartbeat of %s on %s at the database %s", c.prog, c.host, target)
	beat, err := readBeat(ctx, target, kind.queries, c.host, c.prog)
	since := beat.Age + resolution
	switch {
	case errors.Is(err, oslo.ErrNoRow):
		return fmt.Errorf("has no row in the database %s for host %s: restart it when convenient, it makes the row only then", target, c.host), young
	case err != nil && refused(err):
		return ocf.Errorf(ocf.Degraded, "its database refuses its login: %w", err), young
	case err != nil:
		return ocf.Errorf(ocf.Degraded, "its database does not answer: %w", away{err}), young
	case beat.Age < 0 || since > c.age:
		return fmt.Errorf("has not reported%s to the database %s as host %s since its start %s ago", through(kind.writer), target, c.host, c.age.Round(time.Second)), young
	case beat.Age > down:
		return fmt.Errorf("last reported%s to the database %s as host %s %s ago (down from %s)", through(kind.writer), target, c.host, beat.Age, down), false
	}
	return nil, young
}

func through(writer string) string {
	if writer == "" {
		return ""
	}
	return " through " + writer
}

// refused tells an answer that stays what it is: a login or a query that is not allowed, a certificate that is not trusted.
func refused(err error) bool {
	var e *sqlping.Error
	passing := []uint16{1040, 1053, 1203, 1205, 1213, 1927, 1969} // too busy, or shutting down
	return sqlping.StateOf(err) == sqlping.Degraded && !(errors.As(err, &e) && slices.Contains(passing, e.Code))
}

// patienceSQL is how long the database may take for one row. A group waits for the starts and the first monitors in it, and while it
// does, Pacemaker does nothing for a database of its own that hangs.
const patienceSQL = 5 * time.Second

func readBeat(ctx context.Context, t sqlping.Target, queries []string, host, binary string) (oslo.Beat, error) {
	ctx, cancel := context.WithTimeout(ctx, min(patienceSQL, service.Remaining(ctx)*3/4))
	defer cancel()
	conn, err := sqlping.Open(ctx, t)
	if err != nil {
		return oslo.Beat{}, err
	}
	defer conn.Close()
	for _, query := range queries {
		answer, qerr := conn.Query(ctx, "read the heartbeat", query, host, binary)
		if qerr == nil {
			return oslo.ParseBeat(answer)
		}
		var e *sqlping.Error
		if err = qerr; !errors.As(err, &e) || e.Code != unknownColumn {
			break
		}
	}
	return oslo.Beat{}, err
}

// Database is where the service's rows are. The error is errNoWitness for a
// service that has no database, or one that is not MySQL's.
func Database(cfg *oslo.Config) (sqlping.Target, error) {
	d, err := cfg.Database()
	switch {
	case errors.Is(err, oslo.ErrNotSet):
		return sqlping.Target{}, errNoWitness
	case err != nil:
		return sqlping.Target{}, ocf.Errorf(ocf.Degraded, "%w", err)
	case d.Dialect != "mysql" && d.Dialect != "mariadb":
		return sqlping.Target{}, errNoWitness
	}
	t := sqlping.Target{
		Socket: d.Socket, Address: d.Address(), User: d.User, Password: latin1(d.Password.Reveal()), Database: d.Name,
		TLSOptional: true, Source: d.Source,
	}
	if d.TLS != nil {
		if t.TLS, err = d.TLS.Config(d.Host); err != nil {
			return t, ocf.Errorf(ocf.Degraded, "its database cannot be asked as it asks: %w (%s)", err, d.Where)
		}
	}
	return t, nil
}

// latin1 is a password as PyMySQL sends it.
func latin1(text string) string {
	b := make([]byte, 0, len(text))
	for _, r := range text {
		if r > 0xff {
			return text // on which PyMySQL fails
		}
		b = append(b, byte(r))
	}
	return string(b)
}
