package words

import "testing"

func TestSecret(t *testing.T) {
	for _, c := range []struct {
		name, value string
		want        bool
	}{
		{"token", "x", true},
		{"community", "public", true},
		{"auth_key", "x", true},
		{"pwd", "x", true},
		{"pass", "x", true},
		{"api_key", "x", true},
		{"access_key", "x", true},
		{"connection", "mysql://nova:x@db/nova", true},
		{"rabbit_pass", "x", true},
		{"PASSWORD", "x", true},
		{"Test_Passwd", "x", true},
		{"os-password", "x", true},
		{"snmp_priv_passwd", "x", true},
		{"admin_secret", "x", true},
		{"secret_key", "x", true},
		{"test_passwd", "", true},
		{"passwd", "/d6Qx", true},
		// In the value.
		{"url", "http://admin:x@api:5000/v3", true},
		{"transport_url", "rabbit://nova:x@h:5672,u:p@h2/", true},
		{"additional_parameters", "--user=a --password=x", true},
		{"options", "-v --auth-key x", true},
		{"cmdline_options", "PASSWORD=x run", true},
		{"extra", "db_pass: x", true},
		// Not.
		{"password_script", "/etc/cluster/bmc1", false},
		{"password_script", "", false},
		{"passwd_file", "", false},
		{"test_defaults_file", "/root/.my.cnf", false},
		{"replication_master_ssl_key", "/etc/ssl/k.pem", false},
		{"degraded_connections_percent", "90", false},
		{"url", "http://api:5000/v3", false},
		{"url", "http://[2001:db8::1]:5000/v3?a=b@c", false},
		{"additional_parameters", "--skip-name-resolve --port=3307", false},
		{"additional_parameters", "--passive --token-bucket=off", false},
		{"datadir", "/var/lib/mysql", false},
		{"ip", "192.0.2.1", false},
		{"pcmk_host_map", "node1:1;node2:2", false},
		{"keepalive", "1", false},
	} {
		if Secret(c.name, c.value) != c.want {
			t.Errorf("%s=%q: %v", c.name, c.value, !c.want)
		}
	}
}

func TestMasked(t *testing.T) {
	for text, want := range map[string]string{
		"mysql://u:pw@h/db refuses; passwd=x y":            "mysql://(secret)@h/db refuses; passwd=(secret) y",
		"fence --auth-key abc --port 5 --password-file /p": "fence --auth-key (secret) --port 5 --password-file /p",
		"correct user or password; the password is wrong":  "correct user or password; the password is wrong",
		"http://h/ at 85%": "http://h/ at 85%",
	} {
		if got := Masked(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
