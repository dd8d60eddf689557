package qmf

import (
	"math"
	"reflect"
	"testing"

	amqp "github.com/Azure/go-amqp"
)

func TestNormal(t *testing.T) {
	for _, tc := range []struct{ in, want any }{
		{[]byte("a"), "a"},
		{amqp.Symbol("a"), "a"},
		{uint32(1), uint32(1)},
		{nil, nil},
		{[]any{[]byte("a"), []any{amqp.Symbol("b")}}, []any{"a", []any{"b"}}},
		{map[string]any{"k": []byte("v")}, map[string]any{"k": "v"}},
		{map[any]any{}, map[string]any{}},
		{map[any]any{amqp.Symbol("a"): []byte("b"), "c": map[any]any{"d": []byte("e")}, 7: "dropped"}, map[string]any{"a": "b", "c": map[string]any{"d": "e"}}},
	} {
		if got := normal(tc.in); !reflect.DeepEqual(got, tc.want) {
			t.Errorf("normal(%#v) = %#v, want %#v", tc.in, got, tc.want)
		}
	}
}

func TestInteger(t *testing.T) {
	for _, tc := range []struct {
		in   any
		want int64
	}{
		{uint8(1), 1},
		{uint16(2), 2},
		{uint32(3), 3},
		{uint64(4), 4},
		{uint64(math.MaxUint64), math.MaxInt64},
		{int8(-1), -1},
		{int16(-2), -2},
		{int32(-3), -3},
		{int64(-4), -4},
		{-5, -5},
		{"6", 0},
		{nil, 0},
	} {
		if got := integer(tc.in); got != tc.want {
			t.Errorf("integer(%#v) = %d, want %d", tc.in, got, tc.want)
		}
	}
}

// What a peer may send instead of an object makes no panic.
func FuzzObject(f *testing.F) {
	m := &amqp.Message{Value: []any{map[string]any{"_object_id": map[string]any{"_object_name": []byte("n")}, "_values": map[string]any{"status": []byte("ready")}}}}
	seed, err := m.MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, data []byte) {
		var m amqp.Message
		if m.UnmarshalBinary(data) != nil {
			return
		}
		body := normal(m.Value)
		if err := exception(body); err == nil {
			t.Error("an exception that is no error")
		}
		list, _ := body.([]any)
		for _, item := range list {
			if item, ok := item.(map[string]any); ok {
				_ = object(item)
			}
		}
	})
}
