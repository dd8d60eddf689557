package alert

import (
	"bytes"
	"encoding/binary"
	"log/syslog"
	"net"
	"strconv"
	"strings"
)

// journal is systemd-journald's socket (systemd.io/JOURNAL_NATIVE_PROTOCOL).
const journal = "/run/systemd/journal/socket"

const name = "openstack-ocf-alert"

// Log writes the alert to the journal, with its parts as fields (OCF_RESOURCE, OCF_NODE, OCF_ACTION, OCF_CODE,
// OCF_STATE, OCF_REASON); where there is no journal, to syslog.
func (a *Alert) Log() error {
	conn, err := net.Dial("unixgram", journal)
	if err != nil {
		return a.syslog()
	}
	defer conn.Close()
	_, err = conn.Write(a.fields())
	return err
}

func (a *Alert) fields() []byte {
	priority := "5" // notice
	if a.Urgent() {
		priority = "3" // err
	}
	var b bytes.Buffer
	for _, f := range [][2]string{
		{"MESSAGE", a.Text},
		{"PRIORITY", priority},
		{"SYSLOG_IDENTIFIER", name},
		{"OCF_KIND", a.Kind},
		{"OCF_STATE", a.State},
		{"OCF_RESOURCE", a.Resource},
		{"OCF_NODE", a.Node},
		{"OCF_ACTION", a.Action},
		{"OCF_CODE", strconv.Itoa(a.Code)},
		{"OCF_REASON", a.Reason},
	} {
		switch {
		case f[1] == "":
		case strings.Contains(f[1], "\n"):
			b.WriteString(f[0] + "\n")
			_ = binary.Write(&b, binary.LittleEndian, uint64(len(f[1])))
			b.WriteString(f[1] + "\n")
		default:
			b.WriteString(f[0] + "=" + f[1] + "\n")
		}
	}
	return b.Bytes()
}

func (a *Alert) syslog() error {
	priority := syslog.LOG_NOTICE
	if a.Urgent() {
		priority = syslog.LOG_ERR
	}
	w, err := syslog.New(priority|syslog.LOG_DAEMON, name)
	if err != nil {
		return err
	}
	defer w.Close()
	_, err = w.Write([]byte(a.Text))
	return err
}
