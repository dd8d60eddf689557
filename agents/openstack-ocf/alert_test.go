package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
)

// A webhook's URL may be a password, and is read from a file then.
func TestAlertToFile(t *testing.T) {
	told := 0
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.URL.Path == "/T0/B0" {
			told++
		}
	}))
	defer hook.Close()
	file := filepath.Join(t.TempDir(), "webhook")
	if err := os.WriteFile(file, []byte(hook.URL+"/T0/B0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"version": "2.1.5", "kind": "node", "node": "node1", "desc": "lost", "recipient": file} {
		t.Setenv("CRM_alert_"+name, value)
	}
	if err := tellAlert(t.Context()); err != nil || told != 1 {
		t.Errorf("told %d times: %v", told, err)
	}
}
