// Package status tests the operator's eyes, `openstack-ocf status` and doctor: on terminals, on a live cluster whose daemons
// are frozen one by one, and as the guide has a newcomer see a degraded service in Prometheus.
package status
