package commands_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"docket/commands"
	"docket/domain"
	"docket/eventstore"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// personal is an event with personal data in both forms that there are.
type personal struct {
	ID    domain.ID `json:"id"`
	Name  string    `json:"name" pii:"ID"`
	Email *string   `json:"email" pii:"ID"`
	Empty string    `json:"empty" pii:"ID"`
}

func (personal) EventType() string { return "test.personal" }

// person calls its members otherwise than the events do.
type person struct {
	Called string
	Mail   string
}

func (p person) Apply(e domain.Event) person {
	if e, ok := e.(personal); ok {
		p.Called = strings.ToUpper(e.Name)
		if e.Email != nil {
			p.Mail = *e.Email
		}
		p.Mail += e.Empty
	}
	return p
}
func (p person) Exists() bool             { return p.Called != "" }
func (person) Keys() []domain.Key         { return nil }
func (person) Organizations() []domain.ID { return nil }

func historyOf(t *testing.T, b *commands.Bus, stream, mask string, first ...eventstore.Revision) []commands.Step {
	t.Helper()
	var steps []commands.Step
	require.NoError(t, b.History(t.Context(), stream, first, mask, func(s commands.Step) error {
		steps = append(steps, s)
		return nil
	}))
	return steps
}

func TestHistory(t *testing.T) {
	w := newWorld(t)
	b := w.bus()
	w.must(b, create("1", thingMade{Name: "a", Orgs: []domain.ID{orgA}}))
	w.must(b, on("1", "test.both", func(thing) []domain.Event { return []domain.Event{thingNamed{"b"}, thingMoved{[]domain.ID{orgB}}} }))
	w.must(b, grow("1"))
	w.must(b, grow("1"))
	w.must(b, end("1"))

	all := historyOf(t, b, "thing-1", "", 0, 1, 3, 4, 5)
	require.Len(t, all, 5)
	require.False(t, all[0].Before.Exists)
	require.Empty(t, all[0].Before.State)
	require.Len(t, all[1].Events, 2)
	require.Equal(t, []domain.ID{orgA}, all[1].Before.Organizations)
	require.Equal(t, []domain.ID{orgB}, all[1].After.Organizations)
	require.Contains(t, string(all[1].After.State), `"Name":"b"`)
	require.Len(t, all[2].Events, 1, "another command of the same name")
	require.Contains(t, string(all[3].After.State), `"Size":2`)
	require.True(t, all[4].Before.Exists)
	require.False(t, all[4].After.Exists)
	for i := range all[1:] {
		require.Equal(t, all[i].After, all[i+1].Before)
	}
	require.Equal(t, all[2:4], historyOf(t, b, "thing-1", "", 3, 4), "of those that were asked for")
	require.Equal(t, all[1:2], historyOf(t, b, "thing-1", "", 1))
	require.Empty(t, historyOf(t, b, "thing-1", ""))

	require.ErrorContains(t, b.History(t.Context(), "thing-1", []eventstore.Revision{5, 6}, "", func(commands.Step) error { return nil }), "no event thing-1@6")
	stop := errors.New("enough")
	require.Equal(t, stop, b.History(t.Context(), "thing-1", []eventstore.Revision{0, 1}, "", func(commands.Step) error { return stop }))
	require.Equal(t, []string{"thing"}, b.Kinds())

	meta := []byte(`{"commandId":"` + uuid.NewString() + `","schema":1}`) // twice, and each the first of its append
	_, err := w.store.Append(context.Background(), "thing-2", eventstore.NoStream, []eventstore.Proposed{
		{ID: uuid.New(), Type: "test.thing-made", Data: []byte(`{"name":"x"}`), Meta: meta}, {ID: uuid.New(), Type: "test.thing-ended", Data: []byte(`{}`), Meta: meta}})
	require.NoError(t, err)
	require.True(t, historyOf(t, b, "thing-2", "", 0)[0].After.Exists)
}

func TestHistoryWithoutPersonalData(t *testing.T) {
	w := newWorld(t)
	b := newBus(w.store, func(c *commands.Config) { c.Codec = eventstore.NewCodec(personal{}) })
	commands.Register[person](b, "person")
	data := `{"id":"` + uuid.NewString() + `","name":"ada","email":"a@example.com","empty":""}`
	_, err := w.store.Append(context.Background(), "person-1", eventstore.NoStream, []eventstore.Proposed{{ID: uuid.New(), Type: "test.personal", Data: []byte(data)}})
	require.NoError(t, err)
	step := historyOf(t, b, "person-1", "***", 0)[0]
	require.JSONEq(t, `{"Called":"ADA","Mail":"a@example.com"}`, string(step.After.State))
	require.JSONEq(t, `{"Called":"***","Mail":"***"}`, string(step.After.Shown))
	step = historyOf(t, b, "person-1", "", 0)[0]
	require.Equal(t, step.After.State, step.After.Shown)
}
