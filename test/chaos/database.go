package chaos

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/openstack-ocf/agents/test/chaos/check"
	"github.com/openstack-ocf/agents/test/scenario"
)

// tooManyConnections is the server's ER_CON_COUNT_ERROR.
const tooManyConnections = 1040

// What somebody who may connect to the database does to all others.
var databaseFaults = []fault{
	{"use up the connections", 3, func(s *scene, rng *rand.Rand, at where) act {
		long := between(rng, 3*time.Second, 15*time.Second)
		a := act{Fault: check.Fault{
			Kind: "use up the connections", Target: "db", Node: at.active, Handicapped: s.services, Bound: long + check.Spared, Words: []string{`connections`},
		}}
		a.do = func(ctx context.Context) error {
			db, err := scenario.OpenSQL(s.cluster.Dial, sqlAddress, patience, patience)
			if err != nil {
				return err
			}
			defer db.Close()
			var held []*sql.Conn
			defer func() { // db's Close leaves them to who has them
				for _, conn := range held {
					conn.Close()
				}
			}()
			const most = 1000
			for range most {
				conn, err := db.Conn(ctx)
				if err == nil {
					held = append(held, conn)
				}
				var told *mysql.MySQLError
				if errors.As(err, &told) && told.Number == tooManyConnections {
					sleep(ctx, long)
					return nil
				}
				if err != nil {
					return err
				}
			}
			return fmt.Errorf("%d connections are not too many", most)
		}
		return a
	}},
	{"lock all tables", 2, func(s *scene, rng *rand.Rand, at where) act {
		return s.asking(rng, at, "lock all tables", "FLUSH TABLES WITH READ LOCK", "UNLOCK TABLES") // as a backup does
	}},
	{"no writes", 1, func(s *scene, rng *rand.Rand, at where) act {
		return s.asking(rng, at, "no writes", "SET GLOBAL read_only = ON", "SET GLOBAL read_only = OFF", `read.only`)
	}},
	// What comes next finds the server amid it: a stop, and the start after a crash.
	{"a long transaction", 2, func(s *scene, rng *rand.Rand, at where) act {
		const fill, change = "INSERT INTO t SELECT seq, REPEAT(CHAR(97), 200) FROM seq_1_to_50000", "UPDATE t SET text = REPEAT(CHAR(98), 200)"
		return s.working(rng, at, "a long transaction", "BEGIN; "+fill+"; "+change+"; SELECT SLEEP(%d); ROLLBACK")
	}},
	{"alter a table", 2, func(s *scene, rng *rand.Rand, at where) act {
		const fill, alter = "INSERT INTO t SELECT seq, REPEAT(CHAR(97), 200) FROM seq_1_to_50000", "FOR i IN 1..%d DO ALTER TABLE t FORCE; ALTER TABLE t ADD KEY (text(20)), ALGORITHM=COPY; ALTER TABLE t DROP KEY text; END FOR"
		return s.working(rng, at, "alter a table", fill+"; "+alter)
	}},
}

// working is a big piece of work in a table that no client of the campaign knows: SQL, with a number of seconds or rounds.
func (s *scene) working(rng *rand.Rand, at where, kind, sql string) act {
	long := 1 + rng.IntN(12)
	a := act{Fault: check.Fault{Kind: kind, Target: "db", Node: at.active, Bound: check.Spared}}
	a.do = func(ctx context.Context) error {
		return s.shell(ctx, at.active, "timeout 15 mariadb <<'END'\nCREATE DATABASE IF NOT EXISTS work;\nUSE work;\nCREATE OR REPLACE TABLE t (n INT PRIMARY KEY, text VARCHAR(250));\nDELIMITER ;;\n"+fmt.Sprintf(sql, long)+";;\nEND")
	}
	return a
}

// asking is a statement that keeps others from writing for a while, and the one that ends that, by somebody at the server's own
// socket. The server is as it should be.
func (s *scene) asking(rng *rand.Rand, at where, kind, begin, end string, words ...string) act {
	long := between(rng, 2*time.Second, 15*time.Second)
	a := act{Fault: check.Fault{Kind: kind, Target: "db", Node: at.active, Handicapped: s.services, Bound: long + check.Spared, Words: words}}
	a.do = func(ctx context.Context) error {
		return s.shell(ctx, at.active, fmt.Sprintf("mariadb --execute '%s; SELECT SLEEP(%.1f); %s'", begin, long.Seconds(), end))
	}
	return a
}
