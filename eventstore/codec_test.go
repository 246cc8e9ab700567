package eventstore_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"docket/domain"
	"docket/eventstore"
)

type renamed struct {
	ID   domain.ID `json:"id"`
	Name string    `json:"name"`
	Tags []string  `json:"tags,omitempty"`
}

func (renamed) EventType() string { return "thing.renamed" }

type removed struct{}

func (removed) EventType() string { return "thing.removed" }

// impostor stores itself under a name that is taken.
type impostor struct{}

func (impostor) EventType() string { return "thing.renamed" }

// unencodable holds what JSON cannot.
type unencodable struct{ C chan int }

func (unencodable) EventType() string { return "thing.unencodable" }

func TestCodecRoundTrip(t *testing.T) {
	c := eventstore.NewCodec(renamed{}, removed{})
	for _, e := range []domain.Event{
		renamed{ID: domain.WellKnownID(7), Name: "Größe <b>&</b> 日本語 \u2028", Tags: []string{"a", ""}},
		renamed{},
		removed{},
	} {
		data, err := c.Encode(e)
		require.NoError(t, err)
		require.True(t, json.Valid(data))
		back, err := c.Decode(e.EventType(), 1, data)
		require.NoError(t, err)
		require.Equal(t, e, back)
	}
	data, err := c.Encode(renamed{Name: "<&>"})
	require.NoError(t, err)
	require.Contains(t, string(data), `"<&>"`, "HTML is not escaped")
	require.NotContains(t, string(data), "\n")
}

func TestCodecKnowsItsTypes(t *testing.T) {
	c := eventstore.NewCodec(renamed{}, removed{})
	require.Equal(t, []string{"thing.removed", "thing.renamed"}, c.Types())
	require.True(t, c.Knows("thing.removed"))
	require.False(t, c.Knows("thing.unknown"))
	require.Equal(t, renamed{}, c.Zero("thing.renamed"))
	require.Nil(t, c.Zero("thing.unknown"))
	require.Equal(t, 1, c.Schema("thing.renamed"))
}

func TestCodecRefuses(t *testing.T) {
	c := eventstore.NewCodec(removed{}, unencodable{})
	_, err := c.Encode(renamed{})
	require.ErrorContains(t, err, "thing.renamed is not registered")
	_, err = c.Decode("thing.renamed", 1, []byte(`{}`))
	require.ErrorContains(t, err, "thing.renamed is not registered")
	_, err = c.Encode(unencodable{C: make(chan int)})
	require.Error(t, err)
	_, err = c.Decode("thing.removed", 1, []byte(`{"id":`))
	require.ErrorContains(t, err, "decode thing.removed")
	_, err = c.Decode("thing.removed", 1, nil)
	require.Error(t, err)

	require.PanicsWithValue(t, "event type registered twice: thing.renamed", func() {
		eventstore.NewCodec(renamed{}, removed{}, impostor{})
	})
	require.PanicsWithValue(t, "upcasting of unknown event type thing.unknown", func() {
		c.Upcasting("thing.unknown", func(old []byte) ([]byte, error) { return old, nil })
	})
}

func TestUpcastingChain(t *testing.T) {
	c := eventstore.NewCodec(renamed{}, removed{})
	broken := errors.New("no title")
	c.Upcasting("thing.renamed",
		func(old []byte) ([]byte, error) { // 1 to 2: title became label
			if !bytes.Contains(old, []byte(`"title"`)) {
				return nil, broken
			}
			return bytes.Replace(old, []byte(`"title"`), []byte(`"label"`), 1), nil
		},
		func(old []byte) ([]byte, error) { // 2 to 3: label became name
			return bytes.Replace(old, []byte(`"label"`), []byte(`"name"`), 1), nil
		})
	require.Equal(t, 3, c.Schema("thing.renamed"))
	require.Equal(t, 1, c.Schema("thing.removed"))

	for schema, data := range map[int]string{
		0: `{"title":"x"}`, // written before versions were
		1: `{"title":"x"}`,
		2: `{"label":"x"}`,
		3: `{"name":"x"}`,
		4: `{"name":"x"}`, // written by a newer Docket
	} {
		e, err := c.Decode("thing.renamed", schema, []byte(data))
		require.NoError(t, err, "version %d", schema)
		require.Equal(t, renamed{Name: "x"}, e, "version %d", schema)
	}

	_, err := c.Decode("thing.renamed", 1, []byte(`{}`))
	require.ErrorIs(t, err, broken)
	require.ErrorContains(t, err, "upcast thing.renamed from version 1")
}

func TestDecodeRecorded(t *testing.T) {
	c := eventstore.NewCodec(renamed{})
	c.Upcasting("thing.renamed", func([]byte) ([]byte, error) { return []byte(`{"name":"upcast"}`), nil })
	r := eventstore.Recorded{Stream: "thing-1", Revision: 4, Type: "thing.renamed", Data: []byte(`{"name":"x"}`), Meta: []byte(`{"schema":2,"command":"thing.rename"}`)}
	e, m, err := c.DecodeRecorded(r)
	require.NoError(t, err)
	require.Equal(t, renamed{Name: "x"}, e)
	require.Equal(t, "thing.rename", m.Command)

	r.Meta = []byte(`{"schema":1}`)
	e, _, err = c.DecodeRecorded(r)
	require.NoError(t, err)
	require.Equal(t, renamed{Name: "upcast"}, e, "the version comes from the metadata")

	r.Meta = []byte(`[1]`)
	_, _, err = c.DecodeRecorded(r)
	require.ErrorContains(t, err, "metadata of thing-1@4")

	r.Meta, r.Type = nil, "thing.unknown"
	_, _, err = c.DecodeRecorded(r)
	require.ErrorContains(t, err, "thing-1@4")
}
