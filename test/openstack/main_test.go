package openstack

import (
	"testing"

	"github.com/openstack-ocf/agents/test/box"
)

func TestMain(m *testing.M) { box.Main(m) }
