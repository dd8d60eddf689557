package rtnl

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The package net asks the kernel in its own way.
func TestAsNetSaysIt(t *testing.T) {
	k, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	want, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	got, err := k.Links()
	if err != nil || len(got) != len(want) {
		t.Fatalf("%v, %v; want %v", got, err, want)
	}
	found := 0
	for _, w := range want {
		l, err := k.LinkByName(w.Name)
		byIndex, err2 := k.LinkByIndex(w.Index)
		if err != nil || err2 != nil || l.Index != w.Index || byIndex.Name != w.Name || l.Up() != (w.Flags&net.FlagUp != 0) || l.MAC.String() != w.HardwareAddr.String() && w.HardwareAddr != nil {
			t.Errorf("%+v, %v, %v; want %+v", l, err, err2, w)
		}
		addresses, err := w.Addrs()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
			all, err := k.Addresses(family)
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range all {
				for _, b := range addresses {
					if p, err := netip.ParsePrefix(b.String()); err == nil && p == a.Prefix && a.Index == w.Index {
						found++
					}
				}
			}
		}
		found -= len(addresses)
	}
	if found != 0 {
		t.Errorf("%d addresses more than the package net finds", found)
	}
}

func TestWhatIsNotThere(t *testing.T) {
	k, err := Open(unix.RTNLGRP_LINK)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	for _, name := range []string{"no-such-if", "a-name-of-more-than-15-characters", ""} {
		if l, err := k.LinkByName(name); !errors.Is(err, unix.ENODEV) {
			t.Errorf("%q: %+v, %v", name, l, err)
		}
	}
	if _, err := k.LinkByIndex(1 << 30); !errors.Is(err, unix.ENODEV) {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := k.Wait(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if err := Enter("no such namespace"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// What the kernel would never send is no panic.
func FuzzParse(f *testing.F) {
	f.Add(addressAsSent())
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = parseAddress(data)
		_, _ = parseRoute(data)
		_, _ = parseLink(data)
	})
}

func addressAsSent() []byte {
	m := newMessage(unix.RTM_NEWADDR, 0, unix.AF_INET, 24, 0, 0, 1, 0, 0, 0).attr(unix.IFA_LOCAL, []byte{192, 0, 2, 1}).attr(unix.IFA_LABEL, []byte("eth0:x\x00"))
	return m[unix.SizeofNlMsghdr:]
}

func TestParse(t *testing.T) {
	a, err := parseAddress(addressAsSent())
	if err != nil || a.Prefix.String() != "192.0.2.1/24" || a.Label != "eth0:x" || a.Index != 1 {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := parseAddress([]byte{unix.AF_INET, 24}); err == nil {
		t.Error("half a message is taken")
	}
}
