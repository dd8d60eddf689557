package qmf

import (
	"math"

	amqp "github.com/Azure/go-amqp"
)

// normal turns binary and symbols into strings and any map with keys of those
// kinds into map[string]any, all the way down: qpidd sends most strings as
// binary.
func normal(v any) any {
	switch v := v.(type) {
	case []byte:
		return string(v)
	case amqp.Symbol:
		return string(v)
	case []any:
		for i := range v {
			v[i] = normal(v[i])
		}
		return v
	case map[string]any:
		for k := range v {
			v[k] = normal(v[k])
		}
		return v
	case map[any]any:
		m := make(map[string]any, len(v))
		for k, x := range v {
			if k, ok := normal(k).(string); ok {
				m[k] = normal(x)
			}
		}
		return m
	}
	return v
}

func str(v any) string {
	s, _ := normal(v).(string)
	return s
}

func boolean(v any) bool {
	b, _ := v.(bool)
	return b
}

// integer reads any AMQP integer; what does not fit is the largest that does.
func integer(v any) int64 {
	switch v := v.(type) {
	case uint8:
		return int64(v)
	case uint16:
		return int64(v)
	case uint32:
		return int64(v)
	case uint64:
		return int64(min(v, math.MaxInt64))
	case int8:
		return int64(v)
	case int16:
		return int64(v)
	case int32:
		return int64(v)
	case int64:
		return v
	case int:
		return int64(v)
	}
	return 0
}
