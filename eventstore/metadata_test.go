package eventstore_test

import (
	"encoding/json"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"docket/eventstore"
)

func TestMetadataRoundTrip(t *testing.T) {
	key := uuid.New()
	want := eventstore.Metadata{
		Tenant: uuid.New(), Actor: uuid.New(), APIKey: &key, Command: "reporting.create-task", CommandID: uuid.New(),
		Causation: uuid.New(), Correlation: uuid.New(), Traceparent: "00-1-2-01", Dialect: "qlik", Schema: 2, Index: 1, Count: 3,
		Audit: json.RawMessage(`{"reason":"x"}`),
	}
	raw, err := json.Marshal(want)
	require.NoError(t, err)
	got, err := eventstore.DecodeMetadata(raw)
	require.NoError(t, err)
	require.Equal(t, want, got)

	var names map[string]any
	require.NoError(t, json.Unmarshal(raw, &names))
	require.Equal(t, want.Causation.String(), names["$causationId"], "the names EventStoreDB's tools know")
	require.Equal(t, want.Correlation.String(), names["$correlationId"])
}

func TestMetadataOfOthers(t *testing.T) {
	for raw, want := range map[string]eventstore.Metadata{
		"":                                 {},
		"{}":                               {},
		"null":                             {},
		`{"schema":3}`:                     {Schema: 3},
		`{"unknown":{"a":[1]},"schema":1}`: {Schema: 1},
		`{"apiKey":null}`:                  {},
	} {
		got, err := eventstore.DecodeMetadata([]byte(raw))
		require.NoError(t, err, raw)
		require.Equal(t, want, got, raw)
	}
	for _, raw := range []string{"{", `"text"`, `[]`, `{"schema":"three"}`, `{"tenant":"not an id"}`} {
		_, err := eventstore.DecodeMetadata([]byte(raw))
		require.Error(t, err, raw)
	}
}
