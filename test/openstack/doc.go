// Package openstack starts real OpenStack services on a real message bus and
// database, out of Debian's packages, for tests: RabbitMQ, MariaDB, nova's
// scheduler and conductor, a nova-consoleauth of our own on nova's service
// class, neutron's server and Open vSwitch agent with a switch in user space.
//
// Everything listens on loopback, is a child of the test and ends with it.
// What is not installed skips the test with "SKIP: needs ...".
package openstack
