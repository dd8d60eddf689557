package neighbour

import (
	"encoding/hex"
	"net"
	"net/netip"
	"testing"
)

var (
	mac = net.HardwareAddr{2, 0, 0, 0, 0, 1}
	ip4 = netip.MustParseAddr("192.0.2.10")
	ip6 = netip.MustParseAddr("2001:db8::10")
)

func TestARP(t *testing.T) {
	for operation, want := range map[uint16]string{
		arpRequest: "0001080006040001" + "020000000001" + "c000020a" + "000000000000" + "c000020a",
		arpReply:   "0001080006040002" + "020000000001" + "c000020a" + "020000000001" + "c000020a",
	} {
		if got := hex.EncodeToString(arp(operation, mac, ip4, ip4)); got != want {
			t.Errorf("%d: %s, want %s", operation, got, want)
		}
	}
	for _, c := range []struct {
		packet []byte
		has    bool
	}{
		{arp(arpReply, mac, ip4, netip.MustParseAddr("192.0.2.1")), true},
		{arp(arpRequest, mac, ip4, ip4), true},
		{arp(arpRequest, mac, netip.IPv4Unspecified(), ip4), false}, // it only asks
		{arp(arpReply, mac, netip.MustParseAddr("192.0.2.1"), ip4), false},
		{arp(arpReply, mac, ip4, ip4)[:27], false},
		{nil, false},
	} {
		if got, has := arpSays(c.packet, nil, ip4); has != c.has || has && got.String() != mac.String() {
			t.Errorf("%x: %v, %v", c.packet, got, has)
		}
	}
}

// The kernel drops a packet whose checksum is wrong: test/floatingip has it answered.
func TestNeighbourDiscovery(t *testing.T) {
	if got := solicited(ip6).String(); got != "ff02::1:ff00:10" {
		t.Error(got)
	}
	if got := solicitedMAC(ip6); hex.EncodeToString(got[:6]) != "3333ff000010" {
		t.Errorf("%x", got)
	}
	b := solicitation(ip6)
	pseudo := append(append([]byte(nil), b[8:40]...), 0, 0, 0, 24, 0, 0, 0, 58)
	if len(b) != 64 || checksum(append(pseudo, b[40:]...)) != 0 {
		t.Errorf("%x: the checksum is wrong", b)
	}
	advertisement := append([]byte(nil), b...)
	advertisement[40] = neighborAdvertisement
	for _, c := range []struct {
		packet []byte
		addr   netip.Addr
		has    bool
	}{{advertisement, ip6, true}, {b, ip6, false}, {advertisement, netip.MustParseAddr("2001:db8::11"), false}, {advertisement[:63], ip6, false}} {
		if from, has := advertisementSays(c.packet, mac, c.addr); has != c.has || has && from.String() != mac.String() {
			t.Errorf("%x: %v", c.packet, has)
		}
	}
}
