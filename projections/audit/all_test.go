package audit

import (
	"testing"

	"docket/domain"
	"docket/eventstore"
	"docket/projections"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func TestEntry(t *testing.T) {
	a, b := domain.WellKnownID(1), domain.WellKnownID(2)
	rec := func(stream, kind, data string, index, count int) EntryRow {
		return entry(projections.Rec{Recorded: eventstore.Recorded{Stream: stream, Revision: 4, Type: kind, Data: []byte(data)},
			Meta: eventstore.Metadata{CommandID: uuid.New(), Index: index, Count: count}})
	}
	one := rec("task-"+a.String(), "x.y", `{"organizationId":"`+b.String()+`","name":3}`, 0, 3)
	require.Equal(t, []any{"task", true, int64(6), []domain.ID{b}, b}, []any{one.Kind, one.Change, one.LastRevision, one.BelongsTo, one.Home})
	require.Equal(t, []domain.ID{b, a}, rec("user-1", "x.y", `{"organizations":["`+b.String()+`","`+a.String()+`"]}`, 0, 1).BelongsTo)
	require.Equal(t, []domain.ID{a}, rec("organization-"+a.String(), "x.y", `{"name":"n"}`, 0, 1).BelongsTo)
	for _, data := range []string{``, `{`, `[]`, `null`, `{"organizationId":3,"organizations":{}}`, `{"organizationId":"x"}`, `{"organizations":null}`, `{"organizationId":"` + uuid.Nil.String() + `"}`} {
		require.Empty(t, rec("task-1", "x.y", data, 0, 1).BelongsTo, data)
		require.Equal(t, uuid.Nil, rec("task-1", "x.y", data, 0, 1).Home)
	}
	require.Empty(t, rec("organization-x", "x.y", `{}`, 0, 1).BelongsTo)

	require.False(t, rec("task-1", "x.y", ``, 1, 2).Change, "goes with the one before it")
	require.True(t, rec("task-1", "x.y", ``, 2, 2).Change, "claims to go with one that cannot be")
	require.False(t, rec("claim-1", "kernel.claim-taken", ``, 0, 1).Change)
	foreign := entry(projections.Rec{Recorded: eventstore.Recorded{Stream: "task-1"}, Meta: eventstore.Metadata{Index: 1, Count: 2}})
	require.True(t, foreign.Change, "without a command it is a change of its own")
	require.Zero(t, foreign.LastRevision)
}
