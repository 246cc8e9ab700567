package query

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"docket/domain"
)

const hexDigits = "0123456789abcdef"

// AppendJSONString appends s as a JSON string, byte for byte as encoding/json
// does with HTML escaping off.
func AppendJSONString[S []byte | string](dst []byte, s S) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= 0x20 && c != '"' && c != '\\' {
				i++
				continue
			}
			dst = append(dst, s[start:i]...)
			dst = appendEscape(dst, c)
			i++
			start = i
			continue
		}
		end := min(i+utf8.UTFMax, len(s))
		r, size := utf8.DecodeRuneInString(string(s[i:end]))
		switch {
		case r == utf8.RuneError && size == 1:
			dst = append(dst, s[start:i]...)
			dst = append(dst, `\ufffd`...)
			start = i + size
		case r == '\u2028' || r == '\u2029':
			dst = append(dst, s[start:i]...)
			dst = append(dst, `\u202`...)
			dst = append(dst, hexDigits[r&0xF])
			start = i + size
		}
		i += size
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\b':
		return append(dst, `\b`...)
	case '\f':
		return append(dst, `\f`...)
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\t':
		return append(dst, `\t`...)
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xF])
}

// Postgres counts microseconds from 2000-01-01 UTC.
const postgresEpoch = 946684800 * 1_000_000

// rawTime reads a binary timestamp. The infinities and broken values are not
// ok.
func rawTime(raw []byte) (t time.Time, ok bool) {
	if len(raw) != 8 {
		return time.Time{}, false
	}
	us := int64(binary.BigEndian.Uint64(raw))
	if us == math.MaxInt64 || us == math.MinInt64 {
		return time.Time{}, false
	}
	return time.UnixMicro(us + postgresEpoch).UTC(), true
}

func rawInt(raw []byte) int64 {
	switch len(raw) {
	case 2:
		return int64(int16(binary.BigEndian.Uint16(raw)))
	case 4:
		return int64(int32(binary.BigEndian.Uint32(raw)))
	case 8:
		return int64(binary.BigEndian.Uint64(raw))
	}
	return 0
}

func rawFloat(raw []byte) float64 {
	switch len(raw) {
	case 4:
		return float64(math.Float32frombits(binary.BigEndian.Uint32(raw)))
	case 8:
		return math.Float64frombits(binary.BigEndian.Uint64(raw))
	}
	return 0
}

func rawUUID(raw []byte) (id uuid.UUID) {
	copy(id[:], raw)
	return id
}

func appendUUID(dst, raw []byte) []byte {
	var b [36]byte
	if len(raw) != 16 {
		return append(dst, "null"...)
	}
	hex.Encode(b[0:8], raw[0:4])
	b[8] = '-'
	hex.Encode(b[9:13], raw[4:6])
	b[13] = '-'
	hex.Encode(b[14:18], raw[6:8])
	b[18] = '-'
	hex.Encode(b[19:23], raw[8:10])
	b[23] = '-'
	hex.Encode(b[24:36], raw[10:16])
	dst = append(dst, '"')
	dst = append(dst, b[:]...)
	return append(dst, '"')
}

func appendShortID(dst, raw []byte) []byte {
	dst = append(dst, '"')
	dst = append(dst, domain.ShortID(rawUUID(raw))...)
	return append(dst, '"')
}

// appendTime appends RFC 3339 in UTC, with as many sub-second digits as there
// are.
func appendTime(dst, raw []byte) []byte {
	t, ok := rawTime(raw)
	if !ok {
		return append(dst, "null"...)
	}
	dst = append(dst, '"')
	dst = t.AppendFormat(dst, time.RFC3339Nano)
	return append(dst, '"')
}

func appendTimeSeconds(dst, raw []byte) []byte {
	t, ok := rawTime(raw)
	if !ok {
		return append(dst, "null"...)
	}
	dst = append(dst, '"')
	dst = t.AppendFormat(dst, "2006-01-02T15:04:05Z")
	return append(dst, '"')
}

func appendBool(dst, raw []byte) []byte {
	return strconv.AppendBool(dst, len(raw) == 1 && raw[0] == 1)
}

func appendInt(dst, raw []byte) []byte { return strconv.AppendInt(dst, rawInt(raw), 10) }

// appendFloat writes numbers as encoding/json does; JSON has no infinities.
func appendFloat(dst, raw []byte) []byte {
	f := rawFloat(raw)
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(dst, "null"...)
	}
	bits := 8 * len(raw)
	format := byte('f')
	if a := math.Abs(f); a != 0 && (bits == 64 && (a < 1e-6 || a >= 1e21) || bits == 32 && (float32(a) < 1e-6 || float32(a) >= 1e21)) {
		format = 'e'
	}
	dst = strconv.AppendFloat(dst, f, format, -1, bits)
	if n := len(dst); format == 'e' && n >= 4 && dst[n-4] == 'e' && dst[n-3] == '-' && dst[n-2] == '0' {
		dst[n-2] = dst[n-1]
		dst = dst[:n-1]
	}
	return dst
}

func appendText(dst, raw []byte) []byte { return AppendJSONString(dst, raw) }

// appendJSONB copies a json or jsonb value; the binary form of jsonb is its
// text behind a version byte.
func appendJSONB(dst, raw []byte) []byte { return append(dst, jsonText(raw)...) }

func jsonText(raw []byte) []byte {
	if len(raw) > 0 && raw[0] == 1 {
		return raw[1:]
	}
	return raw
}

// appendArray appends a one-dimensional array with the encoder of its
// elements.
func appendArray(element appender) appender {
	return func(dst, raw []byte) []byte {
		dst = append(dst, '[')
		first := true
		eachElement(raw, func(e []byte) {
			if !first {
				dst = append(dst, ',')
			}
			first = false
			if e == nil {
				dst = append(dst, "null"...)
			} else {
				dst = element(dst, e)
			}
		})
		return append(dst, ']')
	}
}

// eachElement walks the binary form of a one-dimensional array: dimensions,
// flags, element type, then per dimension length and lower bound, then the
// elements with their lengths (-1 is NULL).
func eachElement(raw []byte, f func([]byte)) {
	if len(raw) < 20 || binary.BigEndian.Uint32(raw) != 1 {
		return
	}
	n := int(binary.BigEndian.Uint32(raw[12:]))
	raw = raw[20:]
	for ; n > 0 && len(raw) >= 4; n-- {
		size := int(int32(binary.BigEndian.Uint32(raw)))
		raw = raw[4:]
		if size < 0 {
			f(nil)
			continue
		}
		if size > len(raw) {
			return
		}
		f(raw[:size])
		raw = raw[size:]
	}
}
