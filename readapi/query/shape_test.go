package query

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"docket/domain"
)

func TestStringsAreEscapedAsEncodingJSONDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
			rapid.StringOf(rapid.SampledFrom([]rune{'"', '\\', '\n', '\b', '\f', '\r', '\t', 0, 0x1f, 0x7f, '\u2027', '\u2028', '\u2029', '<', '&', 'ü', '😀', '\ufffd'}))).Draw(t, "text")
		var want bytes.Buffer
		encoder := json.NewEncoder(&want)
		encoder.SetEscapeHTML(false)
		require.NoError(t, encoder.Encode(s))
		require.Equal(t, want.String(), string(AppendJSONString(nil, s))+"\n")
		require.Equal(t, want.String(), string(AppendJSONString([]byte("x"), []byte(s)))[1:]+"\n")
	})
}

type everything struct {
	embedded
	Text     string          `json:"text" col:"a_text"`
	TextN    *string         `json:"textN" col:"n_text"`
	Small    int16           `json:"small" col:"a_int2"`
	Int      int32           `json:"int" col:"a_int4"`
	Big      int64           `json:"big" col:"a_int8"`
	BigN     *int            `json:"bigN,omitempty" col:"n_int8"`
	Real     float32         `json:"real" col:"a_float4"`
	Double   float64         `json:"double" col:"a_float8"`
	Bool     bool            `json:"bool,omitempty" col:"a_bool"`
	At       time.Time       `json:"at" col:"a_time"`
	AtN      *time.Time      `json:"atN" col:"n_time"`
	Ref      *uuid.UUID      `json:"ref" col:"n_uuid"`
	Texts    []string        `json:"texts" col:"a_texts"`
	Refs     []uuid.UUID     `json:"refs" col:"a_uuids"`
	Numbers  []int32         `json:"numbers,omitempty" col:"a_ints"`
	Document json.RawMessage `json:"document" col:"a_jsonb,json"`
	Old      json.RawMessage `json:"old" col:"a_json,json"`
	Object   *struct {
		A int `json:"a"`
	} `json:"object" col:"n_jsonb,json"`
	Inner struct {
		Text  string `json:"text" col:"a_text"`
		Inner struct {
			N *string `json:"n,omitempty" col:"n_text"`
		} `json:"inner"`
	} `json:"inner"`
	Maybe *struct {
		ID   uuid.UUID `json:"id" col:"n_uuid"`
		Text string    `json:"text" col:"a_text"`
	} `json:"maybe"`
	Absent *struct {
		ID uuid.UUID `json:"id" col:"n_uuid"`
	} `json:"absent,omitempty"`
	Ignored string `json:"-"`
}

type embedded struct {
	ID uuid.UUID `json:"id" col:"id"`
}

var allTypes = MustDefine(Resource{Name: "row", Table: "s.all_types", Unscoped: true})

const allTypesSchema = `create schema s; create table s.all_types (
	id uuid primary key, a_text text not null, n_text text, a_int2 int2, a_int4 int4, a_int8 int8, n_int8 int8,
	a_float4 float4, a_float8 float8, a_bool bool, a_time timestamptz, n_time timestamptz, n_uuid uuid,
	a_texts text[], a_uuids uuid[], a_ints int4[], a_jsonb jsonb, a_json json, n_jsonb jsonb)`

func drawOptional[T any](t *rapid.T, g *rapid.Generator[T], name string) *T {
	if rapid.Bool().Draw(t, name+" is null") {
		return nil
	}
	v := g.Draw(t, name)
	return &v
}

// What a shape writes is what encoding/json writes for the values it scans,
// and those are the values stored.
func TestShapesWriteWhatTheyRead(t *testing.T) {
	pool := listPool(t)
	execute(t, pool, allTypesSchema)
	reader := NewReader(pool, Options{})
	shape := MustShape[everything](allTypes)
	ctx := context.Background()
	text := rapid.StringOf(rapid.Rune().Filter(func(r rune) bool { return r != 0 }))
	moment := rapid.Custom(func(t *rapid.T) time.Time {
		return time.UnixMicro(rapid.Int64Range(-60_000_000_000_000_000, 200_000_000_000_000_000).Draw(t, "us")).UTC()
	})
	id := rapid.Custom(func(t *rapid.T) uuid.UUID { return uuid.UUID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id")) })
	finite := rapid.Float64().Filter(func(f float64) bool { return !math.IsInf(f, 0) })
	finite32 := rapid.Float32().Filter(func(f float32) bool { return !math.IsInf(float64(f), 0) })
	rapid.Check(t, func(t *rapid.T) {
		want := everything{embedded: embedded{id.Draw(t, "id")}}
		want.Text, want.TextN = text.Draw(t, "text"), drawOptional(t, text, "textN")
		want.Small, want.Int, want.Big = rapid.Int16().Draw(t, "int2"), rapid.Int32().Draw(t, "int4"), rapid.Int64().Draw(t, "int8")
		want.BigN = drawOptional(t, rapid.Int(), "bigN")
		want.Real, want.Double = finite32.Draw(t, "real"), finite.Draw(t, "double")
		want.Bool = rapid.Bool().Draw(t, "bool")
		want.At, want.AtN = moment.Draw(t, "at"), drawOptional(t, moment, "atN")
		want.Ref = drawOptional(t, id, "ref")
		want.Texts = append([]string{}, rapid.SliceOfN(text, 0, 3).Draw(t, "texts")...)
		want.Refs = append([]uuid.UUID{}, rapid.SliceOfN(id, 0, 3).Draw(t, "refs")...)
		want.Numbers = append([]int32{}, rapid.SliceOfN(rapid.Int32(), 0, 3).Draw(t, "numbers")...)
		want.Document, want.Old = json.RawMessage(`{"a": [1, "x"]}`), json.RawMessage(`[ 1]`)
		if rapid.Bool().Draw(t, "object") {
			want.Object = &struct {
				A int `json:"a"`
			}{7}
		}
		want.Inner.Text, want.Inner.Inner.N = want.Text, want.TextN
		if want.Ref != nil {
			want.Maybe = &struct {
				ID   uuid.UUID `json:"id" col:"n_uuid"`
				Text string    `json:"text" col:"a_text"`
			}{*want.Ref, want.Text}
			want.Absent = &struct {
				ID uuid.UUID `json:"id" col:"n_uuid"`
			}{*want.Ref}
		}
		var ref any
		if want.Ref != nil {
			ref = [16]byte(*want.Ref)
		}
		_, err := pool.Exec(ctx, `insert into s.all_types values ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17::jsonb,$18::json,$19)
			on conflict (id) do nothing`, [16]byte(want.ID), want.Text, want.TextN, want.Small, want.Int, want.Big, want.BigN,
			want.Real, want.Double, want.Bool, want.At, want.AtN, ref, want.Texts, rawIDs(want.Refs), want.Numbers,
			string(want.Document), string(want.Old), want.Object)
		require.NoError(t, err)
		defer pool.Exec(ctx, "delete from s.all_types")

		req := Request{Shape: shape, Scope: Everything()}
		got, err := FetchOne(ctx, reader, shape, req, want.ID)
		require.NoError(t, err)
		require.Equal(t, want, got)
		written, err := reader.Get(ctx, req, want.ID)
		require.NoError(t, err)
		var expected bytes.Buffer
		encoder := json.NewEncoder(&expected)
		encoder.SetEscapeHTML(false)
		require.NoError(t, encoder.Encode(want))
		require.JSONEq(t, expected.String(), string(written))
	})
}

func TestFloatsAreWrittenAsEncodingJSONDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{0, 1e-6, 9e-7, 1e21, 1e20, 1e-9, 123456789})).Draw(t, "f")
		want, err := json.Marshal(f)
		if err != nil {
			want = []byte("null")
		}
		bits := math.Float64bits(f)
		raw := make([]byte, 8)
		for i := range raw {
			raw[i] = byte(bits >> (56 - 8*i))
		}
		require.Equal(t, string(want), string(appendFloat(nil, raw)))
	})
}

func TestFormatsComputedAndVirtualColumns(t *testing.T) {
	pool := listPool(t)
	execute(t, pool, allTypesSchema)
	id := domain.NewID(time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC), 42)
	execute(t, pool, `insert into s.all_types (id, a_text, a_uuids, a_time, a_bool) values ($1, 'four', $2, '2024-05-06 07:08:09.987654+02', true)`,
		[16]byte(id), [][16]byte{id})
	shape := MustShape[struct {
		Short   uuid.UUID   `json:"id" col:"id,short"`
		Shorts  []uuid.UUID `json:"refs" col:"a_uuids,short"`
		Seconds time.Time   `json:"at" col:"a_time,seconds"`
		Status  string      `json:"status"`
		Links   struct {
			Self struct {
				Href string `json:"href"`
			} `json:"self"`
		} `json:"links"`
		Length int     `json:"length" col:"length"`
		Null   string  `json:"null" col:"n_text"`
		Zero   float64 `json:"zero" col:"a_float8"`
	}](allTypes,
		Virtual("length", "length(t.a_text)"),
		Computed("status", func(dst []byte, row RawRow) []byte {
			if row.Bool(1) && !row.Null(1) {
				return AppendJSONString(dst, "active "+row.Text(0))
			}
			return append(dst, "null"...)
		}, "a_text", "a_bool"),
		Computed("links.self.href", func(dst []byte, row RawRow) []byte {
			return AppendJSONString(dst, row.Env.(string)+domain.ShortID(row.UUID(0)))
		}, "id"),
	)
	written, err := NewReader(pool, Options{}).Get(context.Background(), Request{Shape: shape, Scope: Everything(), Env: "https://x/"}, id)
	require.NoError(t, err)
	short := domain.ShortID(id)
	require.Equal(t, fmt.Sprintf(`{"id":"%s","refs":["%s"],"at":"2024-05-06T05:08:09Z","status":"active four","links":{"self":{"href":"https://x/%s"}},"length":4,"null":"","zero":0}`,
		short, short, short), string(written))
}

func TestMistakesInShapes(t *testing.T) {
	mistake := func(_ any, err error, text string) {
		t.Helper()
		require.ErrorContains(t, err, text)
	}
	s1, err := NewShape[struct {
		A string `json:"a"`
	}](allTypes)
	mistake(s1, err, "neither a col tag nor an encoder")
	s2, err := NewShape[struct {
		A string `json:"a" col:"a,seconds"`
	}](allTypes)
	mistake(s2, err, "does not fit")
	s3, err := NewShape[struct {
		A chan int `json:"a" col:"a"`
	}](allTypes)
	mistake(s3, err, "no encoding")
	s4, err := NewShape[struct {
		A string `json:"a" col:"nowhere.a"`
	}](allTypes)
	mistake(s4, err, "unknown join")
	s5, err := NewShape[struct {
		A string `json:"a" col:"a; drop table x"`
	}](allTypes)
	mistake(s5, err, "bad column name")
	s6, err := NewShape[struct {
		A string `json:"a" col:"a"`
	}](allTypes, Computed("b", nil))
	mistake(s6, err, `no field "b"`)
	s7, err := NewShape[int](allTypes)
	mistake(s7, err, "no struct")
	s8, err := NewShape[struct {
		A *struct{} `json:"a"`
	}](allTypes)
	mistake(s8, err, "needs a column")
	require.Panics(t, func() { MustShape[int](allTypes) })
}
