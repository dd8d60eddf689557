package oslo

import (
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Queries for the row in which a service proves that it lives, each with two
// arguments, host and binary (of nova and cinder "nova-scheduler", of neutron
// "neutron-openvswitch-agent"), each giving the columns that ParseBeat reads
// and at most one row. Ages are taken by the database's own clock: those of
// the nodes may differ. MySQL's dialect.
const (
	// NovaServices is nova's table since Liberty (12.0).
	NovaServices = "SELECT report_count, COALESCE(disabled, 0), COALESCE(forced_down, 0)," +
		" COALESCE(TIMESTAMPDIFF(SECOND, COALESCE(last_seen_up, created_at), UTC_TIMESTAMP()), -1)" +
		" FROM services WHERE deleted = 0 AND host = ? AND `binary` = ?"
	// NovaServicesHavana is nova's table up to Kilo, which NovaServices fails
	// on with error 1054. An admin's `disable` makes its age look young.
	NovaServicesHavana = "SELECT report_count, COALESCE(disabled, 0), 0," +
		" COALESCE(TIMESTAMPDIFF(SECOND, COALESCE(updated_at, created_at), UTC_TIMESTAMP()), -1)" +
		" FROM services WHERE deleted = 0 AND host = ? AND `binary` = ?"
	// CinderServices is cinder's table, in all its versions the old way.
	CinderServices = NovaServicesHavana
	// NeutronAgents is neutron's table. neutron-server writes it, not the
	// agent: while the server is down every agent looks stale.
	NeutronAgents = "SELECT TIMESTAMPDIFF(SECOND, '1970-01-01', heartbeat_timestamp), NOT admin_state_up, 0," +
		" TIMESTAMPDIFF(SECOND, heartbeat_timestamp, UTC_TIMESTAMP())" +
		" FROM agents WHERE host = ? AND `binary` = ?"
	// HeatServices is heat's table: of the engine's workers the youngest row.
	HeatServices = "SELECT TIMESTAMPDIFF(SECOND, '1970-01-01', updated_at), 0, 0," +
		" TIMESTAMPDIFF(SECOND, updated_at, UTC_TIMESTAMP())" +
		" FROM service WHERE deleted_at IS NULL AND updated_at IS NOT NULL AND host = ? AND `binary` = ?" +
		" ORDER BY updated_at DESC LIMIT 1"
)

// Beat is a heartbeat row.
type Beat struct {
	// Mark grows with each report (a count, or the time of the last one in
	// seconds); only that it grew since a start proves anything.
	Mark int64
	// Disabled by the admin: no failure.
	Disabled bool
	// ForcedDown by the admin or an evacuation.
	ForcedDown bool
	// Age of the last report; negative when there is none.
	Age time.Duration
}

// ErrNoRow: the service has no row. It makes it when it starts, and not again.
var ErrNoRow = errors.New("there is no heartbeat row")

// ParseBeat reads what one of the queries above gave, its values as text.
func ParseBeat(rows [][]sql.NullString) (Beat, error) {
	if len(rows) == 0 {
		return Beat{}, ErrNoRow
	}
	var n [4]int64
	if len(rows[0]) != len(n) {
		return Beat{}, fmt.Errorf("a heartbeat row of %d columns, want %d", len(rows[0]), len(n))
	}
	for i, column := range rows[0] {
		if !column.Valid {
			continue
		}
		var err error
		if n[i], err = strconv.ParseInt(column.String, 10, 64); err != nil {
			return Beat{}, fmt.Errorf("column %d of the heartbeat row: %w", i+1, err)
		}
	}
	return Beat{Mark: n[0], Disabled: n[1] != 0, ForcedDown: n[2] != 0, Age: time.Duration(n[3]) * time.Second}, nil
}
